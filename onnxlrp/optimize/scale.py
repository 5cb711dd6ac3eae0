"""Moves constant factors of relevance into derived weights, where they are folded at load."""

from onnxlrp.graph.graph import Node, Value
from onnxlrp.optimize.sweep import Sweep

__all__ = ["sink"]

PRODUCTS = frozenset({"Conv", "Gemm", "MatMul"})


def sink(s: Sweep, node: Node) -> Value | None:
    """Conv(k r / z, w)  =>  Conv(r / z, k w), where w is derived and nothing else reads it."""
    if node.op not in PRODUCTS or node.inputs[0] is None or node.inputs[1] is None:
        return None
    x, w, *rest = node.inputs
    quotient = None if x is None else s.own(x, "Div")
    if w is None or w.variable or quotient is None or s.own(w, "Transpose", "Max", "Min") is None:
        return None
    scaled, z = quotient.inputs
    product = None if scaled is None else s.own(scaled, "Mul")
    if product is None or rest:
        return None
    r, factor = product.inputs
    if factor is None or factor.constant is None or factor.shape != ():
        return None
    weight = s.t.op("Mul", w, factor)
    return s.t.op(node.op, s.t.op("Div", r, z), weight, **node.attributes)
