"""Moves constant summands, epsilon among them, into the bias of an emitted convolution."""

from onnxlrp.graph.graph import Node, Value
from onnxlrp.optimize.sweep import Sweep

__all__ = ["absorb"]


def absorb(s: Sweep, node: Node) -> Value | None:
    """Conv(x, w, b) + k  =>  Conv(x, w, b + k), k one number per channel.

    (y + Conv(x, w, b)) + e  =>  y + Conv(x, w, b + e).
    Relu(Conv(x, w, b)) + e  =>  Clip(Conv(x, w, b + e), e): one fused node in ONNX Runtime.
    """
    if node.op != "Add" or node.inputs[0] is None or node.inputs[1] is None:
        return None
    for value, constant in (node.inputs, node.inputs[::-1]):
        if value is None or constant is None or constant.variable:
            continue
        if s.own(value, "Conv") is not None:
            return _moved(s, value, constant)
        total = s.own(value, "Add")
        if total is not None and constant.shape == ():
            return _inside(s, total, constant)
        relu = s.own(value, "Relu")
        inner = None if relu is None else relu.inputs[0]
        if inner is not None and constant.shape == () and s.own(inner, "Conv") is not None:
            moved = _moved(s, inner, constant)
            return None if moved is None else s.t.op("Clip", moved, constant)
    return None


def _inside(s: Sweep, total: Node, constant: Value) -> Value | None:
    """The sum with the number added to a convolution among its terms."""
    for index, term in enumerate(total.inputs):
        if term is not None and s.own(term, "Conv") is not None:
            moved, other = _moved(s, term, constant), total.inputs[1 - index]
            return None if moved is None else s.t.op("Add", other, moved)
    return None


def _moved(s: Sweep, value: Value, constant: Value) -> Value | None:
    """The convolution with a constant added to its bias."""
    conv = s.producer(value, "Conv")
    assert conv is not None
    if not s.per_channel(constant):
        return None
    bias = conv.inputs[2] if len(conv.inputs) > 2 else None
    x, w = conv.inputs[:2]
    assert w is not None
    one = constant.shape == ()
    if bias is None and one:
        total = s.t.op("Expand", constant, s.t.op("Shape", w, end=1))
    else:
        flat = constant if one else s.t.op("Reshape", constant, [-1])
        total = flat if bias is None else s.t.op("Add", bias, flat)
    return s.t.op("Conv", x, w, total, **conv.attributes)
