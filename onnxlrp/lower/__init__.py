"""Sees operators through simpler ones: float32 copies, functions, control flow, recurrence."""

from onnxlrp.lower import (
    control,
    microsoft_attention,
    microsoft_fused,
    microsoft_norm,
    microsoft_rotary,
    parameters,
    recurrent,
)
from onnxlrp.lower.see import see

FAMILIES = (
    control,
    microsoft_attention,
    microsoft_fused,
    microsoft_norm,
    microsoft_rotary,
    parameters,
    recurrent,
)
"""One module per family of lowerings; importing them declares the lowerings."""

__all__ = ["FAMILIES", "see"]
