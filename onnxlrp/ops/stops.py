"""The closed list of operators through which no relevance flows."""

from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Stop
from onnxlrp.ops.registry import op

STOPS = (
    "And", "ArgMax", "ArgMin", "BitCast", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr",
    "BitwiseXor", "Ceil", "ConstantOfShape", "Equal", "EyeLike", "Floor", "Greater",
    "GreaterOrEqual", "Hardmax", "IsInf", "IsNaN", "Less", "LessOrEqual", "NonMaxSuppression",
    "NonZero", "Not", "OptionalHasElement", "Or", "RegexFullMatch", "Round", "Shape", "Sign",
    "Size", "StringConcat", "StringNormalizer", "StringSplit", "Xor",
)  # fmt: skip
"""Integer, boolean, text or piecewise constant outputs: their derivative is zero almost
everywhere."""

SIZED = ("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix")
"""Tables of a size; the edges of the mel scale are rounded to whole frequencies."""

RANDOM = ("Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike")
"""Generators: what they read sets a shape or a probability, and the numbers drawn do not move."""

LEARNED = ("Binarizer", "CategoryMapper", "LabelEncoder", "ZipMap")
"""Operators of `ai.onnx.ml` with labels, maps or piecewise constant numbers as outputs."""


@op(*STOPS)
def stop(site: Site) -> Stop:
    """Forward: an integer, boolean, text or piecewise constant function of the input."""
    return Stop(output=site.output)


@op(*SIZED)
def sized(site: Site) -> Stop:
    """Forward: a table that follows from whole numbers."""
    return Stop(output=site.output)


@op(*RANDOM)
def random(site: Site) -> Stop:
    """Forward: random numbers; their derivative is zero."""
    return Stop(output=site.output)


@op(*(f"ai.onnx.ml.{name}" for name in LEARNED))
def learned(site: Site) -> Stop:
    """Forward: a label, a map from labels, or a piecewise constant number."""
    return Stop(output=site.output)
