"""Reductions over axes."""

import numpy as np

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Norm, Relevance, Select
from onnxlrp.ops.registry import op


def spread(t: Tape, r: Value, x: Value) -> Value:
    """Copy r, reduced with kept axes, to every position of x."""
    return t.op("Expand", r, t.shape(x))


Axes = list[int] | Value


def _axes(site: Site) -> Axes:
    """The reduced axes, counted from the front, or the value that holds them at run time."""
    x, given = site.required(0), site.input(1)
    if given is not None and given.constant is None:
        return given
    if x.rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    axes = [] if given is None or given.constant is None else given.constant.reshape(-1).tolist()
    if not axes and not site.integer("noop_with_empty_axes"):
        axes = list(range(x.rank))
    return sorted(int(axis) % x.rank for axis in axes)


def _kept(t: Tape, r: Value, site: Site, axes: Axes) -> Value:
    """R with the reduced axes as axes of size 1."""
    return r if site.integer("keepdims", 1) or axes == [] else t.op("Unsqueeze", r, axes)


def _again(t: Tape, op: str, value: Value, site: Site, **changed: int) -> Value:
    """A reduction over the same axes."""
    return t.op(op, value, *site.inputs[1:], **{**site.attributes, **changed})


@op("ReduceSum", "ReduceMean")
def reduce_sum(site: Site) -> LinearMap:
    """Forward: y = sum or mean over axes. Adjoint: r, or r / n, to each element."""
    x, axes = site.required(0), _axes(site)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        kept = _kept(t, r, site, axes)
        if site.op == "ReduceMean":
            kept = t.op("Div", kept, _count(t, site, axes))
        return spread(t, kept, x)

    return LinearMap(
        operands=(x,),
        output=site.output,
        forward=lambda t, x, w: _again(t, site.op, x, site),
        adjoint=adjoint,
    )


def _count(t: Tape, site: Site, axes: Axes) -> Value:
    """How many elements of the input make one of the output."""
    x = site.required(0)
    if isinstance(axes, Value):
        all_of_it, kept = (t.op("Cast", t.op("Size", value), to=1) for value in (x, site.output))
        return t.op("Div", all_of_it, kept)
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

    def winner(t: Tape, r: Value) -> Relevance:
        kept = _kept(t, r, site, axes)
        if isinstance(axes, Value):
            return (_first_equal(t, kept, site),)
        return (winner_over(t, kept, x, axes, choose),)

    return Select(operands=(x,), output=site.output, winner=winner)


def _first_equal(t: Tape, r: Value, site: Site) -> Value:
    """Give r, with kept axes, to the first element of x that is the extreme one."""
    x = site.required(0)
    extreme = _again(t, site.op, t.at(x), site, keepdims=1)
    shape = t.shape(x)
    count = t.op("ReduceProd", shape, keepdims=0)
    places = t.op("Reshape", t.op("Range", t.constant_int(0), count, t.constant_int(1)), shape)
    held = t.op("Where", t.op("Equal", t.at(x), extreme), places, count)
    first = _again(t, "ReduceMin", held, site, keepdims=1)
    return t.op("Where", t.op("Equal", held, first), r, 0.0)


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


@op("ReduceSumSquare")
def reduce_sum_square(site: Site) -> Norm:
    """Forward: y = sum x^2 over axes. Derivative: 2 x r; with one x held fixed x r."""
    x, axes = site.required(0), _axes(site)

    def frozen(t: Tape, r: Value) -> Value:
        return t.op("Mul", t.at(x), spread(t, _kept(t, r, site, axes), x))

    return Norm(
        operands=(x,),
        output=site.output,
        frozen=frozen,
        derivative=lambda t, r: t.op("Mul", frozen(t, r), 2.0),
    )


@op("ReduceLogSum")
def reduce_log_sum(site: Site) -> Norm:
    """Forward: y = log of the sum of x over axes. Derivative: r / sum x.

    Under LRP the logarithm passes r on, and the sum shares it in proportion: x r / sum x.
    """
    x, axes = site.required(0), _axes(site)

    def derivative(t: Tape, r: Value) -> Value:
        total = t.op("Exp", t.at(site.output))
        return spread(t, _kept(t, t.op("Div", r, total), site, axes), x)

    return Norm(
        operands=(x,),
        output=site.output,
        frozen=lambda t, r: derivative(t, t.op("Mul", r, t.at(site.output))),
        derivative=derivative,
    )


@op("ReduceLogSumExp")
def reduce_log_sum_exp(site: Site) -> Select:
    """Forward: y = log of the sum of e^x over axes, a soft maximum. Derivative: r e^(x - y).

    The shares e^(x - y) sum to 1: relevance is shared in proportion to them.
    """
    x, axes = site.required(0), _axes(site)

    def winner(t: Tape, r: Value) -> Relevance:
        y = _kept(t, t.at(site.output), site, axes)
        shares = t.op("Exp", t.op("Sub", t.at(x), y))
        return (t.op("Mul", shares, _kept(t, r, site, axes)),)

    return Select(operands=(x,), output=site.output, winner=winner)


@op("ReduceProd")
def reduce_prod(site: Site) -> Norm:
    """Forward: y = product of x over axes. Derivative: r times the product of the other x.

    Under LRP each of the n factors takes r / n (uniform rule); without any factor y = 1 is a bias.
    """
    x, axes = site.required(0), _axes(site)

    def derivative(t: Tape, r: Value) -> Value:
        empty = t.op("Equal", t.at(x), 0.0)
        safe = t.op("Where", empty, 1.0, t.at(x))
        zeros = _again(t, "ReduceSum", t.op("Cast", empty, to=1), site, keepdims=1)
        product = _again(t, "ReduceProd", safe, site, keepdims=1)
        alone = t.op("Where", t.op("Equal", zeros, 1.0), product, 0.0)
        others = t.op("Where", t.op("Equal", zeros, 0.0), t.op("Div", product, safe), 0.0)
        return t.op("Mul", _kept(t, r, site, axes), t.op("Where", empty, alone, others))

    return Norm(
        operands=(x,),
        output=site.output,
        frozen=lambda t, r: t.op("Div", derivative(t, r), _count(t, site, axes)),
        derivative=derivative,
        offset=(lambda t: t.at(site.output)) if x.size == 0 else None,
    )
