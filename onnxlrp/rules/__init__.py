"""Says how relevance is shared out over one kind of map."""

from onnxlrp.rules.absolute import Absolute, AbsoluteBias
from onnxlrp.rules.base import AnyRule, Rule, Stabilizer
from onnxlrp.rules.gamma import Gamma
from onnxlrp.rules.inputs import Flat, WSquare, ZBox, ZPlusFlat
from onnxlrp.rules.leaky import Leaky, Scaled
from onnxlrp.rules.linear import AlphaBeta, Epsilon, MeanEpsilon
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
from onnxlrp.rules.products import SignalOnly, Uniform
from onnxlrp.rules.relative import Relative, Sizes
from onnxlrp.rules.splits import Branch, Coef, Proportional, Ratio, Skip, Symmetric
from onnxlrp.rules.totals import Rescaled

RULES: tuple[type[Rule], ...] = (  # type: ignore[type-arg]
    Absolute,
    AbsoluteBias,
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
    Leaky,
    MeanEpsilon,
    Moved,
    Pass,
    Proportional,
    Ratio,
    Relative,
    Rescaled,
    Scaled,
    SignalOnly,
    Sizes,
    Skip,
    Symmetric,
    Taylor,
    Uniform,
    WSquare,
    WinnerTakesAll,
    ZBox,
    ZPlusFlat,
)

__all__ = [
    "RULES",
    "Absolute",
    "AbsoluteBias",
    "AlphaBeta",
    "AnyRule",
    "Average",
    "Branch",
    "Coef",
    "Deconvnet",
    "Epsilon",
    "Flat",
    "Frozen",
    "Gamma",
    "Gradient",
    "GuidedBackprop",
    "Leaky",
    "MeanEpsilon",
    "Moved",
    "Pass",
    "Proportional",
    "Ratio",
    "Relative",
    "Rescaled",
    "Rule",
    "Scaled",
    "SignalOnly",
    "Sizes",
    "Skip",
    "Stabilizer",
    "Symmetric",
    "Taylor",
    "Uniform",
    "WSquare",
    "WinnerTakesAll",
    "ZBox",
    "ZPlusFlat",
]
