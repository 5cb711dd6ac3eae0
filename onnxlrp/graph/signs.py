"""Proves what is known about the sign of a value."""

from collections.abc import Callable, Mapping

import numpy as np

from onnxlrp.graph.fold import is_small
from onnxlrp.graph.graph import Graph, Node, Value

__all__ = ["STEEP", "Signs"]

STEEP = 1e30
"""Slope of a HardSigmoid that takes every normal number to 0 or 1, by its sign."""

ALWAYS = frozenset({
    "Abs", "Exp", "GlobalLpPool", "HardSigmoid", "LpPool", "ReduceL1", "ReduceL2",
    "ReduceSumSquare", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt",
})  # fmt: skip
"""Operators whose output is never negative."""

FIRST = frozenset({
    "AveragePool", "Cast", "Ceil", "DepthToSpace", "Dropout", "Elu", "Expand", "Flatten", "Floor",
    "Gather", "GlobalAveragePool", "GlobalMaxPool", "Identity", "LRN", "LeakyRelu", "MaxPool",
    "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Reshape", "Round", "Sign", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators that keep the sign of their first input."""

ALL = frozenset({"Add", "Concat", "Div", "Mean", "Min", "Mul", "Sum"})
"""Operators that are non-negative if all their inputs are."""


class Signs:
    """Answers whether a value is known to be >= 0 for every input of the model.

    `outer` knows the values that a body reads from the graph around it.
    """

    def __init__(self, graph: Graph, outer: "Signs | None" = None) -> None:
        self._graph = graph
        self._outer = outer
        self._known: dict[Value, bool] = {}
        for node in graph.nodes:
            for value in node.results:
                self.nonnegative(value)

    def nonnegative(self, value: Value) -> bool:
        """Whether no element can be negative."""
        if value not in self._known:
            self._known[value] = self._prove(value)
        return self._known[value]

    def _prove(self, value: Value) -> bool:
        if value.tensor is not None:
            return is_small(value) and value.constant is not None and _not_negative(value.constant)
        node = self._graph.producer(value)
        if node is None:
            return self._outer is not None and self._outer.knows(value)
        return node.domain == "" and self._from(node)

    def knows(self, value: Value) -> bool:
        """Whether a value is among those that are proven, without looking further."""
        return self._known.get(value, False)

    def same(self, value: Value, as_: Value) -> None:
        """State that a value equals another one."""
        self._known[value] = self.nonnegative(as_)

    def _from(self, node: Node) -> bool:
        inputs = [item for item in node.inputs if item is not None]
        if node.op in ALWAYS:
            return True
        if node.op in FIRST:
            return self.nonnegative(inputs[0])
        if node.op in ALL:
            return all(self.nonnegative(item) for item in inputs)
        special: Mapping[str, Callable[[Node], bool]] = {
            "Max": lambda n: any(self.nonnegative(item) for item in n.sources),
            "Clip": self._clip,
            "ThresholdedRelu": self._threshold,
            "Pad": self._pad,
            "Resize": self._resize,
        }
        return node.op in special and special[node.op](node)

    def _clip(self, node: Node) -> bool:
        known = [item is None or self.nonnegative(item) for item in (*node.inputs, None, None)]
        lowest = node.inputs[1] if len(node.inputs) > 1 else None
        return known[2] and (known[0] or (lowest is not None and known[1]))

    def _threshold(self, node: Node) -> bool:
        alpha = node.attributes.get("alpha", 1.0)
        return isinstance(alpha, float) and alpha >= 0

    def _pad(self, node: Node) -> bool:
        fill = node.inputs[2] if len(node.inputs) > 2 else None
        first = node.inputs[0]
        return (
            first is not None
            and self.nonnegative(first)
            and (fill is None or self.nonnegative(fill))
        )

    def _resize(self, node: Node) -> bool:
        first = node.inputs[0]
        return (
            node.attributes.get("mode") != "cubic" and first is not None and self.nonnegative(first)
        )


def _not_negative(array: np.ndarray) -> bool:
    return array.dtype.kind in "iufb" and bool(np.all(array >= 0))
