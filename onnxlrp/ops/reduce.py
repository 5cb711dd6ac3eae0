"""Reductions over axes."""

import numpy as np

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Norm, Select
from onnxlrp.ops.registry import op


def spread(t: Tape, r: Value, x: Value) -> Value:
    """Copy r, reduced with kept axes, to every position of x."""
    return t.op("Expand", r, t.shape(x))


def _axes(site: Site) -> list[int]:
    """The reduced axes, counted from the front; needs a known rank and known axes."""
    x, given = site.required(0), site.input(1)
    if x.rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    if given is not None and given.constant is None:
        raise UnsupportedOp("its axes are computed at run time")
    axes = [] if given is None or given.constant is None else given.constant.reshape(-1).tolist()
    if not axes and not site.integer("noop_with_empty_axes"):
        axes = list(range(x.rank))
    return sorted(int(axis) % x.rank for axis in axes)


def _kept(t: Tape, r: Value, site: Site, axes: list[int]) -> Value:
    """R with the reduced axes as axes of size 1."""
    return r if site.integer("keepdims", 1) or not axes else t.op("Unsqueeze", r, axes)


@op("ReduceSum", "ReduceMean")
def reduce_sum(site: Site) -> LinearMap:
    """Forward: y = sum or mean over axes. Adjoint: r, or r / n, to each element."""
    x, axes = site.required(0), _axes(site)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        kept = _kept(t, r, site, axes)
        if site.op == "ReduceMean":
            kept = t.op("Div", kept, _count(t, x, axes))
        return spread(t, kept, x)

    return LinearMap(
        operands=(x,),
        output=site.output,
        forward=lambda t, x, w: t.op(site.op, x, *site.inputs[1:], **site.attributes),
        adjoint=adjoint,
    )


def _count(t: Tape, x: Value, axes: list[int]) -> Value:
    dims = [x.shape[axis] if x.shape else None for axis in axes]
    if all(isinstance(dim, int) for dim in dims):
        return t.scalar(float(np.prod([dim for dim in dims if isinstance(dim, int)])))
    sizes = t.op("Gather", t.op("Shape", x), axes, axis=0)
    return t.op("Cast", t.op("ReduceProd", sizes, keepdims=0), to=1)


@op("ReduceMax", "ReduceMin")
def reduce_max(site: Site) -> Select:
    """Forward: y = max or min over axes. Adjoint: r to the first extreme element."""
    x, axes = site.required(0), _axes(site)
    choose = "ArgMax" if site.op == "ReduceMax" else "ArgMin"
    return Select(
        operands=(x,),
        output=site.output,
        winner=lambda t, r: (winner_over(t, _kept(t, r, site, axes), x, axes, choose),),
    )


def winner_over(t: Tape, r: Value, x: Value, axes: list[int], choose: str = "ArgMax") -> Value:
    """Give r, reduced over `axes` with kept axes, to the first extreme element of x."""
    rank = x.rank or 0
    others = [axis for axis in range(rank) if axis not in axes]
    order = [*others, *axes]
    moved = t.at(x) if order == list(range(rank)) else t.op("Transpose", t.at(x), perm=order)
    shape = t.op("Shape", moved)
    leading = t.op("Slice", shape, [0], [len(others)])
    rows = t.op("Reshape", moved, t.op("Concat", leading, [-1], axis=0))
    best = t.op(choose, rows, axis=len(others), keepdims=1)
    size = t.op("Squeeze", t.op("Shape", rows, start=len(others)))
    places = t.op("Range", t.constant_int(0), size, t.constant_int(1))
    mine = t.op("Cast", t.op("Equal", places, best), to=1)
    column = t.op("Reshape", r, t.op("Concat", leading, [1], axis=0))
    result = t.op("Reshape", t.op("Mul", mine, column), shape)
    if order == list(range(rank)):
        return result
    return t.op("Transpose", result, perm=[order.index(axis) for axis in range(rank)])


def powers(t: Tape, x: Value, y: Value, r: Value, p: int) -> tuple[Value, Value]:
    """X |x|^(p-2) and r y^(1-p), the two factors of the adjoint of an Lp norm; 0 where y is 0."""
    if p == 1:
        return t.op("Sign", x), r
    factor = x if p == 2 else t.op("Mul", x, t.op("Pow", t.op("Abs", x), float(p - 2)))
    norm = y if p == 2 else t.op("Pow", y, float(p - 1))
    empty = t.op("Equal", y, 0.0)
    share = t.op("Div", r, t.op("Where", empty, 1.0, norm))
    return factor, t.op("Where", empty, 0.0, share)


@op("ReduceL1", "ReduceL2")
def reduce_norm(site: Site) -> Kind:
    """Forward: y = (sum |x|^p)^(1/p) over axes. Derivative: x |x|^(p-2) y^(1-p)."""
    x, axes = site.required(0), _axes(site)
    p = 1 if site.op == "ReduceL1" else 2

    def adjoint(t: Tape, r: Value) -> Value:
        y = _kept(t, t.at(site.output), site, axes)
        factor, share = powers(t, t.at(x), y, _kept(t, r, site, axes), p)
        return t.op("Mul", factor, spread(t, share, x))

    return Norm(operands=(x,), output=site.output, frozen=adjoint, derivative=adjoint)
