"""Writes signed stabilisers without a choice between two values."""

from onnxlrp.graph.graph import Node, Value
from onnxlrp.graph.signs import STEEP
from onnxlrp.optimize.sweep import Sweep

__all__ = ["unbranch"]


def unbranch(s: Sweep, node: Node) -> Value | None:
    """Where(z < 0, -e, e)  =>  HardSigmoid(z) 2 e - e; e is a number.

    The choice runs on one core in ONNX Runtime and is not vectorised.
    """
    if node.op != "Where":
        return None
    test, low, size = node.inputs
    if test is None or low is None or size is None or size.constant is None or size.shape != ():
        return None
    less, negative = s.producer(test, "Less"), s.producer(low, "Neg")
    if less is None or negative is None or negative.inputs[0] is not size:
        return None
    z, zero = less.inputs
    if z is None or zero is None or not zero.is_zero:
        return None
    step = s.t.op("HardSigmoid", z, alpha=STEEP, beta=1.0)
    return s.t.op("Sub", s.t.op("Mul", step, 2 * float(size.constant)), size)
