"""Says for each operator what kind of map it is."""

from onnxlrp.ops import (
    activations,
    arithmetic,
    choice,
    conv,
    dense,
    moves,
    normalization,
    pooling,
    reduce,
    resize,
    stops,
)
from onnxlrp.ops.live import kinds_of
from onnxlrp.ops.registry import OPS

FAMILIES = (
    activations,
    arithmetic,
    choice,
    conv,
    dense,
    moves,
    normalization,
    pooling,
    reduce,
    resize,
    stops,
)
"""One module per family of operators; importing them declares the operators."""

__all__ = ["FAMILIES", "OPS", "kinds_of"]
