"""Merges moves that follow one another."""

from onnxlrp.graph.graph import Node, Value
from onnxlrp.optimize.sweep import Sweep

__all__ = ["merge"]


def merge(s: Sweep, node: Node) -> Value | None:
    """Transpose of Transpose and Reshape of Reshape  =>  one of them, or none."""
    x = node.inputs[0] if node.inputs else None
    if x is None or node.op not in {"Reshape", "Transpose"}:
        return None
    before = s.producer(x, node.op)
    if before is None or before.deployed or before.inputs[0] is None:
        return None
    return _transposed(s, before, node) if node.op == "Transpose" else _reshaped(s, before, node)


def _transposed(s: Sweep, before: Node, node: Node) -> Value | None:
    first, second = before.attributes.get("perm"), node.attributes.get("perm")
    x = before.inputs[0]
    if x is None or not isinstance(first, list) or not isinstance(second, list):
        return None
    perm = [int(first[int(axis)]) for axis in second]
    return x if perm == sorted(perm) else s.t.op("Transpose", x, perm=perm)


def _reshaped(s: Sweep, before: Node, node: Node) -> Value | None:
    """A 0 in the shape would stand for an axis of the value between them."""
    shape = node.inputs[1]
    if shape is None or shape.constant is None or not shape.constant.all():
        return None
    return s.t.op("Reshape", before.inputs[0], shape)
