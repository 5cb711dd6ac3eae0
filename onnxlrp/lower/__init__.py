"""Sees operators through simpler ones: float32 copies, functions, control flow, recurrence."""

from onnxlrp.lower import control, recurrent
from onnxlrp.lower.see import see

FAMILIES = (control, recurrent)
"""One module per family of lowerings; importing them declares the lowerings."""

__all__ = ["FAMILIES", "see"]
