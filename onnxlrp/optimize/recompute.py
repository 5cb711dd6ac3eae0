"""Derives weights at run time instead of at load: one copy of each stays in memory."""

from onnxlrp.graph.graph import Node, Value
from onnxlrp.graph.tape import Tape
from onnxlrp.optimize.sweep import Pass, Sweep

__all__ = ["LARGE", "recompute"]

LARGE = 4096
"""Number of elements of a weight from which its derived forms are not kept."""


def recompute(t: Tape) -> Pass:
    """A pass that hides weights from constant folding: W  =>  Reshape(W, shape + 0).

    The zero is computed from an input of the graph, so that no runtime folds what reads W.
    """
    inputs = t.graph.inputs

    def rewrite(s: Sweep, node: Node) -> Value | None:
        hidden = tuple(_hidden(s.t, value, inputs) for value in node.inputs)
        if any(value.variable for value in node.results) or hidden == node.inputs:
            return None
        return s.t.op(node.op, *hidden, **node.attributes)

    return Pass("recompute", "derives weights at run time", rewrite)


def _hidden(t: Tape, value: Value | None, inputs: tuple[Value, ...]) -> Value | None:
    if value is None or value.tensor is None or (value.size or 0) < LARGE:
        return value
    dims = [dim for dim in value.shape or () if isinstance(dim, int)]
    return t.op("Reshape", value, t.op("Add", dims, _zero(t, inputs[0])))


def _zero(t: Tape, x: Value) -> Value:
    """The number 0, int64, from the first element of an input."""
    first = t.op("Slice", t.op("Reshape", x, [-1]), [0], [1])
    positive = t.op("Cast", first, to=9)
    never = t.op("And", positive, t.op("Not", positive))
    return t.op("ReduceSum", t.op("Cast", never, to=7), keepdims=0)
