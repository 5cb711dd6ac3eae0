"""Proves where relevance is zero: wherever a certain forward value is."""

from collections import defaultdict

import numpy as np

from onnxlrp.graph.graph import Graph, Node, Value

__all__ = ["Support"]

ANY = frozenset({"Mul"})
"""Operators whose output vanishes where one input does."""

FIRST = frozenset({"Div", "Identity", "Neg", "Abs", "Relu"})
"""Operators whose output vanishes where their first input does."""

EVERY = frozenset({"Add", "Sub", "Sum"})
"""Operators whose output vanishes where all inputs do."""


class Support:
    """Answers whether relevance vanishes wherever a forward value does.

    Operators tell it of themselves; what moves relevance from one shape to another is stated.

    Attributes:
        enabled: Whether `rectified` finds anything.
    """

    def __init__(self, graph: Graph) -> None:
        self.enabled = True
        self._graph = graph
        self._stated: defaultdict[Value, set[Value]] = defaultdict(set)
        self._known: dict[tuple[Value, Value], bool] = {}

    def state(self, relevance: Value, forward: Value) -> None:
        """State that relevance vanishes where a forward value of its shape does."""
        self._stated[relevance].add(forward)
        self._known.pop((relevance, forward), None)

    def vanishes(self, relevance: Value, forward: Value) -> bool:
        """Whether relevance is known to be 0 wherever a forward value is."""
        key = (relevance, forward)
        if key not in self._known:
            self._known[key] = self._prove(relevance, forward)
        return self._known[key]

    def rectified(self, relevance: Value, z: Value) -> Node | None:
        """The node y = f(z), 0 for z <= 0 and else positive, where relevance vanishes with y."""
        if not self.enabled or not z.variable or z.name not in self._graph.values:
            return None
        for node in self._graph.consumers(z):
            if _rectifies(node, z) and self.vanishes(relevance, next(node.results)):
                return node
        return None

    def _prove(self, relevance: Value, forward: Value) -> bool:
        if relevance is forward or forward in self._stated[relevance]:
            return True
        if relevance.name not in self._graph.values:
            return False
        node = self._graph.producer(relevance)
        if node is None or node.domain:
            return False
        if node.op == "Tile":
            return node.inputs[0] is forward
        inputs = list(node.sources)
        if node.op in FIRST:
            return self.vanishes(inputs[0], forward)
        test = any if node.op in ANY else all
        return node.op in ANY | EVERY and test(self.vanishes(v, forward) for v in inputs)


def _rectifies(node: Node, z: Value) -> bool:
    if node.domain or node.inputs[0] is not z:
        return False
    if node.op == "Clip":
        low = node.inputs[1] if len(node.inputs) > 1 else None
        high = node.inputs[2] if len(node.inputs) > 2 else None
        return low is not None and low.is_zero and (high is None or _is_positive(high))
    return node.op == "Relu"


def _is_positive(value: Value) -> bool:
    return value.constant is not None and bool(np.all(np.greater(value.constant, 0)))
