"""Operators that pick elements by indices, conditions or lengths."""

from collections.abc import Callable

from onnx import TensorProto

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, Move, Relevance, Select, Stop, some
from onnxlrp.ops.positions import scatter
from onnxlrp.ops.registry import op


def _moved(site: Site, index: int, adjoint: Callable[[Tape, Value], Value]) -> Move:
    """A move of one input."""
    return Move(
        operands=(site.required(index),),
        output=site.output,
        adjoint=lambda t, r: (adjoint(t, some(r)),),
    )


@op("TopK")
def top_k(site: Site) -> Select:
    """Forward: the k largest or smallest elements along an axis, and their indices.

    Adjoint: r of the values at the indices; the indices are integers and carry nothing.
    """
    x, indices, axis = site.required(0), site.outputs[1], site.integer("axis", -1)

    def winner(t: Tape, r: Value) -> Relevance:
        return (scatter(t, r, x, lambda at: t.op("GatherElements", at, indices, axis=axis)),)

    return Select(operands=(x,), output=site.output, winner=winner)


@op("Unique")
def unique(site: Site) -> Select:
    """Forward: the different elements, or slices along an axis, and where they stand.

    Adjoint: r of each to the first of its equals.
    """
    x, axis = site.required(0), site.attributes.get("axis")

    def winner(t: Tape, r: Value) -> Relevance:
        first = t.ops("Unique", x, outputs=2, **site.attributes)[1]

        def chosen(at: Value) -> Value:
            if axis is None:
                return t.op("Gather", t.op("Reshape", at, [-1]), first)
            return t.op("Gather", at, first, axis=axis)

        return (scatter(t, r, x, chosen),)

    return Select(operands=(x,), output=site.output, winner=winner)


@op("Compress")
def compress(site: Site) -> Move:
    """Forward: the slices where a condition holds; the condition is a stop.

    Adjoint: r at the places of the slices.
    """
    x, condition = site.required(0), site.required(1)
    return _moved(
        site,
        0,
        lambda t, r: scatter(
            t, r, x, lambda at: t.op("Compress", at, condition, **site.attributes)
        ),
    )


@op("ReverseSequence")
def reverse_sequence(site: Site) -> Move:
    """Forward: the first sequence_lens elements of each sequence in reverse order.

    Adjoint: the same reversal of r.
    """
    x, lengths = site.required(0), site.required(1)

    def back(t: Tape, value: Value) -> Value:
        return t.op("ReverseSequence", value, lengths, **site.attributes)

    return _moved(
        site,
        0,
        lambda t, r: back(t, r) if t.targets == 1 else scatter(t, r, x, lambda at: back(t, at)),
    )


@op("Trilu")
def trilu(site: Site) -> Move:
    """Forward: the upper or lower triangle of matrices, zeros elsewhere.

    Adjoint: the same triangle of r; what falls on the zeros is absorbed as padding.
    """

    def adjoint(t: Tape, r: Value) -> Value:
        kept = t.op("Trilu", r, *site.inputs[1:], **site.attributes)
        t.absorb("padding", lambda: t.op("Sub", r, kept))
        return kept

    return _moved(site, 0, adjoint)


@op("OneHot")
def one_hot(site: Site) -> Kind:
    """Forward: the second of two values at the index of each position, the first elsewhere.

    Adjoint: of integer indices that depend on the input the sum of r over the new axis (relevance
    per position, as for `Gather`); through floating-point ones nothing flows. Of values that
    depend on it the sum of r over their copies.
    """
    indices, depth, values = (site.required(i) for i in range(3))
    axis = site.integer("axis", -1)
    if site.is_live(1) or (site.is_live(0) and site.is_live(2)):
        raise UnsupportedOp("more than its indices, or its depth, depends on the input")
    if site.is_live(0):
        if indices.is_float:
            return Stop(output=site.output)
        return _moved(site, 0, lambda t, r: t.op("ReduceSum", r, [axis], keepdims=0))

    def copied(t: Tape, at: Value) -> Value:
        return t.op("OneHot", _whole(t, indices), _whole(t, depth), at, axis=axis)

    return _moved(site, 2, lambda t, r: scatter(t, r, values, lambda at: copied(t, at)))


def _whole(t: Tape, value: Value) -> Value:
    """Indices as int64: the type that ONNX Runtime takes together with int64 values."""
    return value if value.dtype == TensorProto.INT64 else t.op("Cast", value, to=TensorProto.INT64)
