"""Removes emitted nodes that nothing reads."""

from collections.abc import Iterable

from onnxlrp.graph.graph import Graph, Value

__all__ = ["remove_dead"]


def remove_dead(graph: Graph, outputs: Iterable[Value]) -> int:
    """Remove every emitted node from which no output is reached; return their number."""
    wanted = set(outputs)
    removed = 0
    for node in reversed(graph.nodes):
        if node.deployed or any(value in wanted for value in node.results):
            wanted.update(node.sources)
        else:
            graph.remove(node)
            removed += 1
    return removed
