"""Sees operators through simpler ones: float32 copies, functions, control flow, recurrence."""

from onnxlrp.lower import (
    control,
    learned,
    microsoft_attention,
    microsoft_fused,
    microsoft_nchwc,
    microsoft_norm,
    microsoft_rotary,
    parameters,
    quantised,
    quantised_layers,
    recurrent,
    sequences,
)
from onnxlrp.lower.see import needs_shadow, see

FAMILIES = (
    control,
    learned,
    microsoft_attention,
    microsoft_fused,
    microsoft_nchwc,
    microsoft_norm,
    microsoft_rotary,
    parameters,
    quantised,
    quantised_layers,
    recurrent,
    sequences,
)
"""One module per family of lowerings; importing them declares the lowerings."""

__all__ = ["FAMILIES", "needs_shadow", "see"]
