"""Pools over regions of interest, and the inverse of a maximum over windows."""

import numpy as np

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Move, Norm, Relevance, Select, Stop, some
from onnxlrp.ops.registry import op
from onnxlrp.ops.taps import FLOAT, INT, Taps, joined, per_seed, range_to, size_of
from onnxlrp.ops.windows import spatial

LOWEST = float(np.finfo(np.float32).min)


@op("RoiAlign")
def roi_align(site: Site) -> Kind:
    """Mean or maximum of interpolated samples in each bin of each region; regions are stops.

    Forward: y = mean_k w_k x[i_k] over the neighbours of the samples of a bin; in mode `max` the
    greatest of the products w_k x[i_k].
    Adjoint: w_k r at i_k; in mode `max` at the first greatest product, where the map is
    homogeneous, so the frozen map is the derivative.
    """
    x, y = site.required(0), site.output
    if not site.is_live(0):
        return Stop(output=y)
    chosen = site.text("mode", "avg") == "max"

    def adjoint(t: Tape, r: Value) -> Value:
        taps = _bilinear(t, site, x)
        if chosen:
            taps = _greatest(t, x, site.required(2), taps)
        return _given(t, r, x, site.required(2), taps)

    if chosen:
        return Norm(operands=(x,), output=y, frozen=adjoint, derivative=adjoint)

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        rois = site.required(1)
        rois = rois if t.targets == 1 else t.op("Tile", rois, [t.targets, 1])
        rows = _rows(t, site.required(0), site.required(2))
        return t.op("RoiAlign", x, rois, rows, **site.attributes)

    return LinearMap(
        operands=(x,), output=y, forward=forward, adjoint=lambda t, r, w: adjoint(t, r)
    )


def _rows(t: Tape, x: Value, batch: Value) -> Value:
    """The row of x of each region, for each seed."""
    if t.targets == 1:
        return batch
    step = t.op("Shape", x, end=1)
    seeds = t.op("Mul", np.arange(t.targets, dtype=np.int64)[:, None], step)
    return t.op("Reshape", t.op("Add", seeds, batch), [-1])


def _given(t: Tape, r: Value, x: Value, batch: Value, taps: Taps) -> Value:
    """The adjoint of taps of regions `[R, C, ...]` in the shape of x."""
    shape = t.shape(x)
    sizes = t.op("Concat", t.op("Slice", shape, [0], [2]), _area(t, x), axis=0)
    flat = t.op("Reshape", r, [0, 0, -1])
    rows = _rows(t, x, batch)
    return t.op("Reshape", taps.per_seed(t).adjoint(t, flat, sizes, rows), shape)


def _area(t: Tape, x: Value) -> Value:
    return t.op("ReduceProd", spatial(t, x), keepdims=1)


def _bilinear(t: Tape, site: Site, x: Value) -> Taps:
    """The neighbours of every sample of every bin, `[R, 1, P, K]`."""
    index, weight = [], []
    for axis, name in enumerate(("output_height", "output_width")):
        places, weights = _samples(t, site, axis, site.integer(name, 1), size_of(t, x, 2 + axis))
        index.append(t.op("Unsqueeze", places, [2 - axis]))
        weight.append(t.op("Unsqueeze", weights, [2 - axis]))
    merged = [0, 1, site.integer("output_height", 1) * site.integer("output_width", 1), -1]
    size = size_of(t, x, 3)
    return Taps(
        t.op("Reshape", joined(t, index[0], index[1], size), merged),
        t.op("Reshape", joined(t, weight[0], weight[1]), merged),
    )


def _samples(t: Tape, site: Site, axis: int, bins: int, size: Value) -> tuple[Value, Value]:
    """Places and weights of the samples on one axis, `[R, bins, 2 * samples]`."""
    start, length = _extent(t, site, axis)
    step = t.op("Div", length, float(bins))
    count, most = _count(t, site, step)
    steps = t.op("Cast", range_to(t, most), to=FLOAT)
    part = t.op("Div", t.op("Add", steps, 0.5), t.op("Max", count, 1.0))
    bin_of = np.arange(bins, dtype=np.float32)[:, None]
    at = t.op("Add", start, t.op("Mul", t.op("Add", part, bin_of), step))
    places, weights = _beside(t, t.op("Unsqueeze", at, [3]), size)
    if site.integer("sampling_ratio") == 0:
        taken = t.op("Unsqueeze", t.op("Less", steps, count), [3])
        weights = t.op("Where", taken, weights, float("nan"))
    if site.text("mode", "avg") != "max":
        weights = t.op("Where", t.op("IsNaN", weights), 0.0, weights)
        weights = t.op("Div", weights, t.op("Unsqueeze", t.op("Max", count, 1.0), [3]))
    return t.op("Reshape", places, [0, bins, -1]), t.op("Reshape", weights, [0, bins, -1])


def _extent(t: Tape, site: Site, axis: int) -> tuple[Value, Value]:
    """Start and length of every region on one axis, `[R, 1, 1]`."""
    half = site.text("coordinate_transformation_mode", "half_pixel") == "half_pixel"
    scaled = t.op("Mul", site.required(1), site.number("spatial_scale", 1.0))
    scaled = t.op("Unsqueeze", scaled, [1])
    start, end = (t.op("Slice", scaled, [i], [i + 1], [2]) for i in (1 - axis, 3 - axis))
    length = t.op("Sub", end, start)
    if half:
        return t.op("Sub", start, 0.5), length
    return start, t.op("Max", length, 1.0)


def _count(t: Tape, site: Site, step: Value) -> tuple[Value, Value]:
    """Samples per bin of each region, float32 `[R, 1, 1]`, and the most of them, int64 `[1]`."""
    ratio = site.integer("sampling_ratio")
    if ratio > 0:
        return t.op("Expand", float(ratio), [1, 1, 1]), t.constant(np.array([ratio]))
    count = t.op("Ceil", step)
    most = t.op("ReduceMax", t.op("Concat", t.op("Reshape", count, [-1]), _one(t), axis=0))
    return count, t.op("Reshape", t.op("Cast", most, to=INT), [1])


def _one(t: Tape) -> Value:
    return t.op("Reshape", 1.0, [1])


def _beside(t: Tape, at: Value, size: Value) -> tuple[Value, Value]:
    """The two places beside a coordinate; none further than 1 outside, the border up to there."""
    last = t.op("Sub", size, 1.0)
    inside = t.op("And", t.op("GreaterOrEqual", at, -1.0), t.op("LessOrEqual", at, size))
    at = t.op("Min", t.op("Max", at, 0.0), last)
    low = t.op("Floor", at)
    f = t.op("Sub", at, low)
    places = t.op("Min", t.op("Add", low, np.array([0, 1], np.float32)), last)
    weights = t.op("Concat", t.op("Sub", 1.0, f), f, axis=-1)
    return t.op("Cast", places, to=INT), t.op("Where", inside, weights, 0.0)


def _greatest(t: Tape, x: Value, batch: Value, taps: Taps) -> Taps:
    """Of all taps of a bin the first with the greatest product, `[R, C, P, 1]`."""
    rows = t.op("Gather", t.op("Reshape", x, [0, 0, -1]), batch, axis=0)
    index = t.op(
        "Expand", taps.index, t.op("Concat", [1], t.op("Shape", x, start=1, end=2), [1, 1], axis=0)
    )
    flat = t.op("Reshape", index, [0, 0, -1])
    read = t.op("Reshape", t.op("GatherElements", rows, flat, axis=2), t.op("Shape", index))
    skipped = t.op("IsNaN", taps.weight)
    products = t.op("Where", skipped, LOWEST, t.op("Mul", read, taps.weight))
    first = t.op("ArgMax", products, axis=3, keepdims=1)
    weight = t.op("Where", skipped, 0.0, taps.weight)
    wide = t.op("Expand", weight, t.op("Shape", index))
    return Taps(
        t.op("GatherElements", index, first, axis=3), t.op("GatherElements", wide, first, axis=3)
    )


@op("MaxRoiPool")
def max_roi_pool(site: Site) -> Kind:
    """Forward: y = max over each bin of each region, 0 where it is empty; regions are stops.

    Adjoint: r to the first maximum of the bin.
    """
    x = site.required(0)
    if not site.is_live(0):
        return Stop(output=site.output)

    def winner(t: Tape, r: Value) -> Relevance:
        rois = site.required(1)
        batch = t.op("Cast", t.op("Reshape", t.op("Slice", rois, [0], [1], [1]), [-1]), to=INT)
        taps, empty = _maxima(t, site, x, batch)
        t.absorb("dead", lambda: t.op("Mul", r, per_seed(t, empty, 4)))
        return (_given(t, r, x, batch, taps),)

    return Select(operands=(x,), output=site.output, winner=winner)


def _maxima(t: Tape, site: Site, x: Value, batch: Value) -> tuple[Taps, Value]:
    """The first maximum of every bin, `[R, C, P, 1]`, and 1 for empty bins, `[R, 1, ph, pw]`."""
    height, width = site.integers("pooled_shape")
    high = _inside(t, site, 0, height, size_of(t, x, 2))
    wide = _inside(t, site, 1, width, size_of(t, x, 3))
    rows = t.op("Unsqueeze", t.op("Gather", x, batch, axis=0), [3])
    across = t.op("Where", t.op("Unsqueeze", wide, [1, 2]), rows, LOWEST)
    column = t.op("ArgMax", across, axis=4, keepdims=0)
    best = t.op("Transpose", t.op("ReduceMax", across, [4], keepdims=0), perm=[0, 1, 3, 2])
    down = t.op("Where", t.op("Unsqueeze", high, [1, 3]), t.op("Unsqueeze", best, [2]), LOWEST)
    row = t.op("ArgMax", down, axis=4, keepdims=0)
    column = t.op("GatherElements", column, row, axis=2)
    index = t.op("Add", t.op("Mul", row, t.op("Shape", x, start=3, end=4)), column)
    any_high, any_wide = (
        t.op("ReduceMax", t.op("Cast", mask, to=FLOAT), [2], keepdims=0) for mask in (high, wide)
    )
    full = t.op("Mul", t.op("Unsqueeze", any_high, [1, 3]), t.op("Unsqueeze", any_wide, [1, 2]))
    merged = [0, 0, height * width, 1]
    taps = Taps(t.op("Reshape", index, merged), t.op("Reshape", full, merged))
    return taps, t.op("Sub", 1.0, full)


def _inside(t: Tape, site: Site, axis: int, bins: int, size: Value) -> Value:
    """Whether each place of an axis lies in each bin of each region, `[R, bins, size]`."""
    scaled = t.op("Mul", site.required(1), site.number("spatial_scale", 1.0))
    whole = t.op("Floor", t.op("Add", scaled, 0.5))
    start, end = (t.op("Slice", whole, [i], [i + 1], [1]) for i in (2 - axis, 4 - axis))
    step = t.op("Div", t.op("Max", t.op("Add", t.op("Sub", end, start), 1.0), 1.0), float(bins))
    first = np.arange(bins, dtype=np.float32)
    begin = t.op("Add", t.op("Floor", t.op("Mul", step, first)), start)
    stop = t.op("Add", t.op("Ceil", t.op("Mul", step, first + 1)), start)
    place = t.op("Cast", range_to(t, t.op("Cast", size, to=INT)), to=FLOAT)
    after = t.op("GreaterOrEqual", place, t.op("Unsqueeze", begin, [2]))
    return t.op("And", after, t.op("Less", place, t.op("Unsqueeze", stop, [2])))


@op("MaxUnpool")
def max_unpool(site: Site) -> Move:
    """Forward: y[i_k] = x_k at places counted over all of y, else 0; of equals the last one.

    Adjoint: r[i_k]; what falls on the other places is absorbed as padding.
    """
    x, indices = site.required(0), site.required(1)

    def adjoint(t: Tape, r: Relevance) -> Relevance:
        flat = t.op("Reshape", indices, [-1])
        own = range_to(t, t.op("Shape", flat))
        none = t.op("Expand", t.constant_int(-1), t.op("Reshape", t.op("Size", site.output), [1]))
        last = t.op("ScatterElements", none, flat, own, axis=0, reduction="max")
        rows = t.op("Reshape", some(r), [t.targets, -1])
        t.absorb("padding", lambda: _unowned(t, some(r), last))
        mine = t.op("Equal", t.op("Gather", last, flat, axis=0), own)
        return (t.reshape(t.op("Where", mine, t.op("Gather", rows, flat, axis=1), 0.0), x),)

    return Move(operands=(x,), output=site.output, adjoint=adjoint)


def _unowned(t: Tape, r: Value, last: Value) -> Value:
    """Relevance of the places to which nothing was written."""
    rows = t.op("Reshape", r, [t.targets, -1])
    left = t.op("Where", t.op("Less", last, t.constant_int(0)), rows, 0.0)
    return t.op("Reshape", left, t.op("Shape", r))
