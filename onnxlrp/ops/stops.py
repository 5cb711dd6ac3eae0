"""The closed list of operators through which no relevance flows."""

from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Stop
from onnxlrp.ops.registry import op

STOPS = (
    "And", "ArgMax", "ArgMin", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor",
    "Ceil", "ConstantOfShape", "Equal", "EyeLike", "Floor", "Greater", "GreaterOrEqual", "IsInf",
    "IsNaN", "Less", "LessOrEqual", "NonMaxSuppression", "NonZero", "Not", "Or", "Round", "Shape",
    "Sign", "Size", "Xor",
)  # fmt: skip
"""Integer, boolean or piecewise constant outputs: their derivative is zero almost everywhere."""


@op(*STOPS)
def stop(site: Site) -> Stop:
    """Forward: an integer, boolean or piecewise constant function of the input."""
    return Stop(output=site.output)
