"""Computes on one copy per sample what would be computed once for each target."""

from onnxlrp.graph.graph import Node, Value
from onnxlrp.optimize.sweep import Sweep

__all__ = ["untile"]

ELEMENTWISE = frozenset({"Abs", "Add", "Div", "HardSigmoid", "Max", "Min", "Mul", "Neg", "Relu",
                         "Clip", "Sub"})  # fmt: skip


def untile(s: Sweep, node: Node) -> Value | None:
    """f(Tile(x), Tile(y), numbers)  =>  Tile(f(x, y, numbers)); a convolution by a constant too."""
    if s.t.targets == 1 or node.op not in ELEMENTWISE | {"Conv"} or None in node.inputs:
        return None
    tiled = {value: s.producer(value, "Tile") for value in node.sources}
    copies = [tile for tile in tiled.values() if tile is not None]
    if not copies or any(
        tile.deployed or tile.inputs[1] is not copies[0].inputs[1] for tile in copies
    ):
        return None
    rest = [value for value, tile in tiled.items() if tile is None]
    if not all(_shared(s, value, node) for value in rest):
        return None
    inner = [tile.inputs[0] if (tile := tiled[value]) else value for value in node.sources]
    once = s.t.op(node.op, *inner, **node.attributes)
    return s.t.op("Tile", once, copies[0].inputs[1])


def _shared(s: Sweep, value: Value, node: Node) -> bool:
    """Whether a constant is the same for each sample: a number, one per channel, or a weight."""
    return not value.variable and (node.op == "Conv" or s.per_channel(value))
