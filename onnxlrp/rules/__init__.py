"""Says how relevance is shared out over one kind of map."""

from onnxlrp.rules.base import AnyRule, Rule, Stabilizer
from onnxlrp.rules.inputs import Flat, WSquare, ZBox, ZPlusFlat
from onnxlrp.rules.linear import AlphaBeta, Epsilon, Gamma
from onnxlrp.rules.passing import (
    Average,
    Deconvnet,
    Frozen,
    Gradient,
    GuidedBackprop,
    Moved,
    Pass,
    Taylor,
    WinnerTakesAll,
)
from onnxlrp.rules.splits import (
    Branch,
    Coef,
    Proportional,
    Ratio,
    SignalOnly,
    Skip,
    Symmetric,
    Uniform,
)

RULES: tuple[type[Rule], ...] = (  # type: ignore[type-arg]
    AlphaBeta,
    Average,
    Branch,
    Coef,
    Deconvnet,
    Epsilon,
    Flat,
    Frozen,
    Gamma,
    Gradient,
    GuidedBackprop,
    Moved,
    Pass,
    Proportional,
    Ratio,
    SignalOnly,
    Skip,
    Symmetric,
    Taylor,
    Uniform,
    WSquare,
    WinnerTakesAll,
    ZBox,
    ZPlusFlat,
)

__all__ = ["RULES", "AnyRule", "Rule", "Stabilizer", *(rule.__name__ for rule in RULES)]
