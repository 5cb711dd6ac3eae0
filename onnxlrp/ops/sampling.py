"""Sampling at points of a grid."""

import numpy as np

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Stop
from onnxlrp.ops.registry import op
from onnxlrp.ops.taps import INT, Taps, cell, joined, linear, per_seed, size_of

SHARPNESS = -0.75
"""The parameter of the cubic kernel of GridSample."""


@op("GridSample")
def grid_sample(site: Site) -> Kind:
    """Interpolation of x at the points of a grid; the grid is a stop.

    Forward: y_p = sum_k w_pk x[i_pk] with 1, 2^d or 4^d neighbours of each point.
    Adjoint: w_pk r_p added at i_pk; neighbours outside have no weight, or those inside in their
    place.
    """
    x, grid = site.required(0), site.required(1)
    if not site.is_live(0):
        return Stop(output=site.output)
    if x.rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    rank = x.rank - 2

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        return t.op("GridSample", x, per_seed(t, grid, rank + 2), **site.attributes)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        shape = t.shape(x)
        area = t.op("ReduceProd", t.op("Slice", shape, [2], [rank + 2]), keepdims=1)
        sizes = t.op("Concat", t.op("Slice", shape, [0], [2]), area, axis=0)
        taps = _taps(t, site, x, grid, rank).per_seed(t)
        return t.op("Reshape", taps.adjoint(t, t.op("Reshape", r, [0, 0, -1]), sizes), shape)

    return LinearMap(
        operands=(x,),
        output=site.output,
        forward=forward,
        adjoint=adjoint,
        positive=site.text("mode", "linear") not in {"cubic", "bicubic"},
    )


def _taps(t: Tape, site: Site, x: Value, grid: Value, rank: int) -> Taps:
    """The neighbours of every point of the grid, whose last axis holds x before y before z."""
    points = t.op("Reshape", grid, [0, 1, -1, rank])
    index = weight = None
    for axis in range(rank):
        size = size_of(t, x, axis + 2)
        column = t.op("Slice", points, [rank - 1 - axis], [rank - axis], [3])
        places, weights = _neighbours(t, site, column, size)
        index = places if index is None else joined(t, index, places, size)
        weight = weights if weight is None else joined(t, weight, weights)
    assert index is not None
    assert weight is not None
    return Taps(index, weight)


def _neighbours(t: Tape, site: Site, column: Value, size: Value) -> tuple[Value, Value]:
    """Places and weights on one axis for coordinates between -1 and 1, `[N, 1, P, 1]`."""
    corners, mode = bool(site.integer("align_corners")), site.text("mode", "linear")
    shifted = t.op("Mul", t.op("Add", column, 1.0), 0.5)
    if corners:
        at = t.op("Mul", shifted, t.op("Sub", size, 1.0))
    else:
        at = t.op("Sub", t.op("Mul", shifted, size), 0.5)
    if mode == "nearest":
        places = t.op("Round", at)
        weights = t.op("Expand", 1.0, t.op("Shape", places))
    elif mode in {"linear", "bilinear"}:
        places, weights = linear(t, at)
    else:
        places, weights = _cubic(t, at)
    padding = site.text("padding_mode", "zeros")
    if padding == "reflection":
        return _reflected(t, places, size, corners=corners), weights
    inside, kept = cell(t, places, weights, size)
    return inside, (kept if padding == "zeros" else weights)


def _cubic(t: Tape, at: Value) -> tuple[Value, Value]:
    """The four places around a coordinate, with the weights of cubic convolution."""
    low = t.op("Floor", at)
    places = t.op("Add", low, np.array([-1, 0, 1, 2], np.float32))
    far = t.op("Abs", t.op("Sub", at, places))
    a = SHARPNESS
    near = _polynomial(t, far, (a + 2, -(a + 3), 0, 1))
    outer = _polynomial(t, far, (a, -5 * a, 8 * a, -4 * a))
    middle = np.array([False, True, True, False])
    return places, t.op("Where", middle, near, outer)


def _polynomial(t: Tape, x: Value, factors: tuple[float, ...]) -> Value:
    """Horner's form, highest power first."""
    result = t.op("Mul", x, factors[0])
    for factor in factors[1:-1]:
        result = t.op("Mul", t.op("Add", result, factor), x)
    return t.op("Add", result, factors[-1])


def _reflected(t: Tape, places: Value, size: Value, *, corners: bool) -> Value:
    """Mirror places at the centres of the outer elements (`corners`) or at their borders."""
    count = t.op("Cast", size, to=INT)
    period = t.op("Mul", count, [2])
    if corners:
        period = t.op("Max", t.op("Sub", period, [2]), [1])
    turn = t.op("Mod", t.op("Cast", places, to=INT), period)
    back = t.op("Sub", period, turn if corners else t.op("Add", turn, [1]))
    return t.op("Min", t.op("Min", turn, back), t.op("Sub", count, [1]))


@op("AffineGrid")
def affine_grid(site: Site) -> LinearMap:
    """The points of a grid, moved by an affine map per sample; the size is a stop.

    Forward: y_p = theta (p, 1) for every point p of the grid that the identity makes.
    Adjoint: sum_p r_p (p, 1)^T.
    """
    theta, size = site.required(0), site.required(1)
    if not site.is_live(0):
        raise UnsupportedOp("its size depends on the input")
    dims = theta.shape or ()
    if len(dims) != 3 or not isinstance(dims[1], int):
        raise UnsupportedOp("the shape of theta is not known")
    rank = dims[1]

    def points(t: Tape) -> Value:
        """`[P, rank + 1]`."""
        eye = np.eye(rank, rank + 1, dtype=np.float32)[None]
        one = t.op("Concat", [1], t.op("Slice", size, [1], [rank + 2]), axis=0)
        grid = t.op("AffineGrid", eye, one, **site.attributes)
        flat = t.op("Reshape", grid, [-1, rank])
        return t.op("Pad", flat, [0, 0, 0, 1], 1.0)

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        rows = t.op("Concat", t.op("Shape", x, end=1), t.op("Slice", size, [1], [rank + 2]), axis=0)
        return t.op("AffineGrid", x, rows, **site.attributes)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        rows = t.op("Transpose", t.op("Reshape", r, [0, -1, rank]), perm=[0, 2, 1])
        return t.op("MatMul", rows, points(t))

    return LinearMap(
        operands=(theta,), output=site.output, forward=forward, adjoint=adjoint, positive=False
    )
