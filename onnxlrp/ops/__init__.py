"""Says for each operator what kind of map it is."""

from onnxlrp.ops import (
    activations,
    arithmetic,
    choice,
    conv,
    cumulative,
    dense,
    einsum,
    indexing,
    linear_models,
    ml,
    moves,
    normalization,
    pooling,
    reduce,
    refused,
    regions,
    resize,
    sampling,
    scatters,
    spectral,
    stops,
    unfold,
)
from onnxlrp.ops.live import kinds_of
from onnxlrp.ops.registry import OPS

FAMILIES = (
    activations,
    arithmetic,
    choice,
    conv,
    cumulative,
    dense,
    einsum,
    indexing,
    linear_models,
    ml,
    moves,
    normalization,
    pooling,
    reduce,
    refused,
    regions,
    resize,
    sampling,
    scatters,
    spectral,
    stops,
    unfold,
)
"""One module per family of operators; importing them declares the operators."""

__all__ = ["FAMILIES", "OPS", "kinds_of"]
