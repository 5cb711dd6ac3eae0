"""Computes numbers and constant shapes at compile time."""

from onnx import numpy_helper

from onnxlrp.graph.fold import folded
from onnxlrp.graph.graph import Node, Value
from onnxlrp.graph.proto import to_proto
from onnxlrp.optimize.sweep import Sweep

__all__ = ["fold"]

SMALL = 64
"""Most elements of what is computed here."""

SHAPES = frozenset({"Shape", "Size"})


def fold(s: Sweep, node: Node) -> Value | None:
    """f(constants)  =>  a constant; Shape of a value of known shape  =>  a constant.

    Derived weights and biases are left to the runtime.
    """
    if node.domain or node.captured or not node.inputs:
        return None
    if not all(_known(node, value) for value in node.inputs):
        return None
    found = folded(to_proto(node), node.inputs, s.t.graph.opset)
    if len(found) != 1 or found[0] is None:
        return None
    array = numpy_helper.to_array(found[0])
    few = array.ndim == 0 or (array.dtype.kind in "ib" and array.size <= SMALL)
    return s.t.constant(array) if few else None


def _known(node: Node, value: Value | None) -> bool:
    if value is None:
        return True
    if node.op in SHAPES and value.shape is not None:
        return True
    return not value.variable and value.tensor is not None and (value.size or 0) <= SMALL
