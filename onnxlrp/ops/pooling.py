"""Pools over sliding windows and over all positions."""

import numpy as np

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Attribute, Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import LinearMap, Maybe, Norm, Relevance, Select
from onnxlrp.ops.reduce import powers, spread, winner_over
from onnxlrp.ops.registry import op
from onnxlrp.ops.windows import (
    Window,
    crop,
    flatten_channels,
    spatial,
    static_sizes,
    sum_adjoint,
    window_of,
)
from onnxlrp.ops.winners import compares, first_maximum, pays

LOWEST = float(np.finfo(np.float32).min)


@op("AveragePool")
def average_pool(site: Site) -> LinearMap:
    """Forward: y = mean over each window.

    Adjoint: r / n to each element of the window, n its number of elements as the forward counts.
    """
    window = window_of(site, site.integers("kernel_shape"))
    return average(site, window, dict(site.attributes), site.output)


def average(
    site: Site, window: Window, attributes: dict[str, Attribute], output: Value | None = None
) -> LinearMap:
    """The average over windows of the first input; without an output a stand-in for a maximum."""
    x = site.required(0)
    padded = bool(attributes.get("count_include_pad")) and not window.ceil

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        return t.op("AveragePool", x, **attributes)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        y = forward(t, x, None) if output is None else output
        if window.even or padded:
            r = t.op("Div", r, float(np.prod(window.kernel)))
        else:
            r = t.op("Mul", r, _inverse_count(t, window, attributes, x, y))
        return sum_adjoint(t, r, window, x, y)

    return LinearMap(
        operands=(x,),
        samplewise=True,
        output=output or x,
        forward=forward,
        adjoint=adjoint,
    )


def _inverse_count(
    t: Tape, window: Window, attributes: dict[str, Attribute], x: Value, y: Value
) -> Value:
    """1 / n for each window, `[1, 1, ...]`: the mean of ones over their sum."""
    ones = t.op("Expand", 1.0, t.op("Concat", [1, 1], spatial(t, x), axis=0))
    mean = t.op("AveragePool", ones, **attributes)
    begins = window.begins(t, x)
    wide = [size + stride for size, stride in zip(window.reach, window.strides, strict=True)]
    pads = t.op("Concat", [0, 0], begins, [0, 0], t.op("Add", begins, wide), axis=0)
    kernel = np.ones((1, 1, *window.kernel), dtype=np.float32)
    total = t.op("Conv", t.op("Pad", ones, pads), kernel, **window.attributes)
    return t.op("Div", mean, crop(t, total, [0] * window.rank, y, window.rank))


@op("GlobalAveragePool")
def global_average_pool(site: Site) -> LinearMap:
    """Forward: y = mean over all positions. Adjoint: r / n to each position."""
    return _global_average(site)


def _global_average(site: Site) -> LinearMap:
    x = site.required(0)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        return spread(t, t.op("Div", r, _positions(t, x)), x)

    return LinearMap(
        operands=(x,),
        samplewise=True,
        output=site.output,
        forward=lambda t, x, w: t.op("GlobalAveragePool", x),
        adjoint=adjoint,
    )


def _positions(t: Tape, x: Value) -> Value:
    """The number of positions, float32."""
    sizes = static_sizes(x)
    if sizes is not None:
        return t.scalar(float(np.prod(sizes)))
    return t.op("Cast", t.op("ReduceProd", spatial(t, x), keepdims=0), to=1)


@op("GlobalMaxPool")
def global_max_pool(site: Site) -> Select:
    """Forward: y = max over all positions. Adjoint: r to the first maximum."""
    x = site.required(0)
    if x.rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    axes = list(range(2, x.rank))
    return Select(
        operands=(x,),
        output=site.output,
        winner=lambda t, r: (winner_over(t, r, x, axes),),
        average=_global_average(site),
    )


@op("MaxPool")
def max_pool(site: Site) -> Select:
    """Forward: y = max over each window. Adjoint: r to the first maximum of the window."""
    x = site.required(0)
    window = window_of(site, site.integers("kernel_shape"))
    attributes = {k: v for k, v in site.attributes.items() if k != "storage_order"}
    average_attributes = {**attributes, "count_include_pad": 1}

    compared = compares(window, x, site.output)

    def winner(t: Tape, r: Value) -> Relevance:
        if compared and pays(x):
            return (first_maximum(t, r, window, x, site.output),)
        return (_scattered(t, r, x, attributes),)

    def masked(t: Tape, r: Value) -> Relevance:
        give = first_maximum if compared else _masked
        return (give(t, r, window, x, site.output),)

    return Select(
        operands=(x,),
        output=site.output,
        winner=winner,
        masked=masked,
        average=average(site, window, average_attributes),
        half=_half(site, window),
    )


def _scattered(t: Tape, r: Value, x: Value, attributes: dict[str, Attribute]) -> Value:
    """The winner by the second output of the pool, the index into all of x."""
    _, places = t.ops("MaxPool", x, outputs=2, **attributes)
    if t.targets > 1 and x.variable:
        t.require_batch(x)
        copies = t.op("Reshape", list(range(t.targets)), [-1, 1])
        places = t.op("Reshape", places, [1, -1])
        places = t.op("Add", places, t.op("Mul", copies, t.op("Size", x)))
    shape = t.shape(x)
    flat = t.op(
        "ScatterElements",
        t.op("Expand", 0.0, t.op("ReduceProd", shape, keepdims=1)),
        t.op("Reshape", places, [-1]),
        t.op("Reshape", r, [-1]),
        axis=0,
        reduction="add",
    )
    return t.op("Reshape", flat, shape)


def _half(site: Site, window: Window) -> LinearMap | None:
    """The average over 2 x 2, stride 2, where it has as many outputs as the pool itself."""
    two = Window((2,) * window.rank, (2,) * window.rank, (1,) * window.rank, (0,) * 2 * window.rank)
    x, y = site.required(0).shape, site.output.shape
    if x is None or y is None:
        return None
    for dim, out in zip(x[2:], y[2:], strict=True):
        if not isinstance(dim, int) or dim // 2 != out:
            return None
    attributes: dict[str, Attribute] = {
        "kernel_shape": [2] * window.rank,
        "strides": [2] * window.rank,
    }
    return average(site, two, attributes)


def _masked(t: Tape, r: Value, window: Window, x: Value, y: Value) -> Value:
    """The winner without `Indices`: compare each shifted input, let the first equal one win."""
    flat = flatten_channels(t, t.at(x), x)
    begins = window.begins(t, x)
    wide = [size + stride for size, stride in zip(window.reach, window.strides, strict=True)]
    pads = t.op("Concat", [0, 0], begins, [0, 0], t.op("Add", begins, wide), axis=0)
    padded = t.op("Pad", flat, pads, LOWEST)
    axes = list(range(2, 2 + window.rank))
    strides = list(window.strides)
    steps = t.op("Mul", spatial(t, y), strides)
    shifted = []
    for place in np.ndindex(*window.kernel):
        starts = [int(i) * d for i, d in zip(place, window.dilations, strict=True)]
        shifted.append(t.op("Slice", padded, starts, t.op("Add", steps, starts), axes, strides))
    every = t.op("Concat", *shifted, axis=1)
    first = t.op("ArgMax", every, axis=1, keepdims=1)
    count = len(shifted)
    places = t.op("Reshape", list(range(count)), [1, count] + [1] * window.rank)
    mine = t.op("Cast", t.op("Equal", places, first), to=1)
    share = t.op("Mul", mine, flatten_channels(t, r, y))
    kernel = np.eye(count, dtype=np.float32).reshape(count, 1, *window.kernel)
    extra = [stride - 1 for stride in strides]
    full = t.op("ConvTranspose", share, kernel, output_padding=extra, **window.attributes)
    return t.reshape(crop(t, full, begins, x, window.rank), x)


@op("LpPool", "GlobalLpPool")
def lp_pool(site: Site) -> Norm:
    """Forward: y = (sum over each window of |x|^p)^(1/p).

    Derivative: x |x|^(p-2) y^(1-p); it is homogeneous, so the frozen map is the derivative.
    """
    x, y, p = site.required(0), site.output, site.integer("p", 2)
    every = site.op == "GlobalLpPool"

    def adjoint(t: Tape, r: Value) -> Value:
        factor, share = powers(t, t.at(x), t.at(y), r, p)
        if every:
            return t.op("Mul", factor, spread(t, share, x))
        window = window_of(site, site.integers("kernel_shape"))
        return t.op("Mul", factor, sum_adjoint(t, share, window, x, y))

    return Norm(operands=(x,), output=y, frozen=adjoint, derivative=adjoint)
