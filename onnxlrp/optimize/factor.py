"""Cancels R = x c against s = R / z, and takes common factors out of sums."""

from dataclasses import dataclass

from onnxlrp.graph.graph import Node, Value
from onnxlrp.optimize.sweep import Sweep

__all__ = ["cancel", "collect", "halve"]

DEPTH = 3
"""Number of nested products in which a factor is looked for."""


@dataclass(frozen=True)
class Stabilised:
    """A denominator z + size sign(z)."""

    z: Value
    size: Value


def cancel(s: Sweep, node: Node) -> Value | None:
    """(z c) / (z + e sign z)  =>  c (|z| / (|z| + e)): no comparison is left."""
    if node.op != "Div" or node.inputs[0] is None or node.inputs[1] is None:
        return None
    found = _stabilised(s, node.inputs[1])
    if found is None:
        return None
    rest = _without(s, node.inputs[0], found.z, DEPTH)
    if rest is None:
        return None
    size = s.t.op("Abs", found.z)
    share = s.t.op("Div", size, s.t.op("Add", size, found.size))
    return s.t.op("Mul", rest, share)


def halve(s: Sweep, node: Node) -> Value | None:
    """Where(z > 0, z c, 0)  =>  max(z, 0) c, and with < for the minimum; z c sign(z)  =>  |z| c."""
    if node.op == "Mul":
        return _unsigned(s, node)
    if node.op != "Where":
        return None
    test, kept, other = node.inputs
    side = None if test is None else s.producer(test, "Greater", "Less")
    if side is None or kept is None or other is None or not other.is_zero:
        return None
    z, zero = side.inputs
    rest = None if z is None or zero is None or not zero.is_zero else _without(s, kept, z, DEPTH)
    if z is None or rest is None:
        return None
    half = s.t.op("Relu", z) if side.op == "Greater" else s.t.op("Min", z, 0.0)
    return s.t.op("Mul", half, rest)


def _unsigned(s: Sweep, node: Node) -> Value | None:
    product, sign = node.inputs
    found = None if sign is None else s.producer(sign, "Sign")
    z = None if found is None else found.inputs[0]
    rest = None if z is None or product is None else _without(s, product, z, DEPTH)
    return None if z is None or rest is None else s.t.op("Mul", rest, s.t.op("Abs", z))


def collect(s: Sweep, node: Node) -> Value | None:
    """X a + x b  =>  x (a + b), where nothing else reads the products."""
    if node.op != "Add" or node.inputs[0] is None or node.inputs[1] is None:
        return None
    products = [s.own(value, "Mul") for value in node.inputs if value is not None]
    if products[0] is None or products[1] is None:
        return None
    for index, value in enumerate(products[0].inputs):
        for place, other in enumerate(products[1].inputs):
            if value is other and value is not None and value.variable:
                rest = s.t.op("Add", products[0].inputs[1 - index], products[1].inputs[1 - place])
                return s.t.op("Mul", value, rest)
    return None


def _stabilised(s: Sweep, value: Value) -> Stabilised | None:
    """Z and e of z + Where(z < 0, -e, e)."""
    total = s.producer(value, "Add")
    if total is None or total.deployed:
        return None
    z, signed = total.inputs
    choice = None if signed is None else s.producer(signed, "Where")
    if z is None or choice is None or choice.deployed:
        return None
    test, low, high = choice.inputs
    less = None if test is None else s.producer(test, "Less")
    negative = None if low is None else s.producer(low, "Neg")
    if less is None or negative is None or high is None or negative.inputs[0] is not high:
        return None
    if less.inputs[0] is not z or less.inputs[1] is None or not less.inputs[1].is_zero:
        return None
    return Stabilised(z, high)


def _without(s: Sweep, product: Value, factor: Value, depth: int) -> Value | None:
    """A product without one of its factors, or None where it has no such factor."""
    node = s.producer(product, "Mul")
    if node is None or node.deployed or depth == 0:
        return None
    for index, value in enumerate(node.inputs):
        other = node.inputs[1 - index]
        if value is factor:
            return other
    for index, value in enumerate(node.inputs):
        other = node.inputs[1 - index]
        rest = None if value is None else _without(s, value, factor, depth - 1)
        if rest is not None:
            return s.t.op("Mul", rest, other)
    return None
