"""Tells the skip from the branch at the Add of two live values."""

from dataclasses import dataclass

from onnxlrp.graph.graph import Graph, Value

__all__ = ["Skip", "skip_of"]

HEAVY = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
MOVES = frozenset({"Cast", "Identity", "Pad", "Reshape", "Slice", "Transpose", "AveragePool"})


@dataclass(frozen=True)
class Skip:
    """Which operand of an Add is the skip connection.

    Attributes:
        index: 0 or 1.
        identity: Whether the branch starts at that operand (through moves at most).
    """

    index: int
    identity: bool


def skip_of(graph: Graph, operands: tuple[Value, ...]) -> Skip | None:
    """Find the skip among two operands; None where neither is one.

    An identity skip is an ancestor of the other operand; of two others the one with fewer
    weighted operators between it and the nearest common ancestor is a projection skip.
    """
    if len(operands) != 2 or operands[0] is operands[1]:
        return None
    for index, operand in enumerate(operands):
        if _base(graph, operand) in _upstream(graph, operands[1 - index]):
            return Skip(index, identity=True)
    first, second = (_upstream(graph, operand) for operand in operands)
    weights = [
        sum(weight for value, weight in own.items() if value not in other)
        for own, other in ((first, second), (second, first))
    ]
    if weights[0] == weights[1]:
        return None
    return Skip(int(weights[1] < weights[0]), identity=False)


def _base(graph: Graph, value: Value) -> Value:
    node = graph.producer(value)
    while node is not None and node.op in MOVES and node.inputs[0] is not None:
        value = node.inputs[0]
        node = graph.producer(value)
    return value


def _upstream(graph: Graph, value: Value, reach: int = 400) -> dict[Value, int]:
    """The values from which a value is computed, nearest first: 1 for outputs of weighted nodes."""
    found: dict[Value, int] = {}
    queue = [value]
    for item in queue:
        node = graph.producer(item)
        if item in found or len(found) >= reach:
            continue
        found[item] = int(node is not None and node.op in HEAVY)
        if node is not None:
            queue.extend(source for source in node.sources if source.variable)
    return found
