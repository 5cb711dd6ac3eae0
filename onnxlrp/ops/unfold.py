"""Sums of sliding windows into an image, and convolutions that read beside their window."""

import numpy as np

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.conv import channel_bias, kernel_of
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Stop
from onnxlrp.ops.registry import op
from onnxlrp.ops.taps import Taps, cell, joined, linear, per_seed, range_to, size_of
from onnxlrp.ops.windows import Window, spatial, window_of


@op("Col2Im")
def col2im(site: Site) -> LinearMap:
    """Sum of blocks `[N, C * K, L]` into an image `[N, C, ...]`.

    Forward: each of the K elements of each of the L blocks is added at its place.
    Adjoint: r at that place, as a convolution with one kernel per element of a block.
    """
    x, block = site.required(0), site.required(2)
    if not site.is_live(0) or any(site.live[1:]):
        raise UnsupportedOp("its shapes depend on the input")
    if block.constant is None:
        raise UnsupportedOp("its block_shape is computed at run time")
    window = window_of(site, [int(size) for size in block.constant])

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        count = int(np.prod(window.kernel))
        kernel = np.eye(count, dtype=np.float32).reshape(count, 1, *window.kernel)
        flat = t.op("Reshape", r, t.op("Concat", [-1, 1], site.required(1), axis=0))
        pads = list(window.pads or ())
        return t.reshape(t.op("Conv", flat, kernel, pads=pads, **window.attributes), x)

    return LinearMap(
        operands=(x,),
        samplewise=True,
        output=site.output,
        forward=lambda t, x, w: t.op("Col2Im", x, *site.inputs[1:], **site.attributes),
        adjoint=adjoint,
    )


@op("DeformConv")
def deform_conv(site: Site) -> Kind:
    """Convolution that reads beside its window, at offsets and times a mask that are stops.

    Forward: y = sum_k w_k m_pk x[p + k + o_pk] + b, x interpolated between its elements.
    Adjoint: the interpolation's own, of m_pk w_k^T r.
    """
    x, w = site.required(0), site.required(1)
    if site.is_live(1):
        raise UnsupportedOp("its weight depends on the input")
    if not site.is_live(0):
        return Stop(output=site.output)
    window = window_of(site, kernel_of(site, w))
    if window.rank != 2:
        raise UnsupportedOp("only two spatial axes are supported")

    def beside(t: Tape) -> list[Value | None]:
        return [None if v is None else per_seed(t, v, 4) for v in (site.input(2), site.input(4))]

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        offset, mask = beside(t)
        return t.op("DeformConv", x, w, offset, None, mask, **site.attributes)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        assert w is not None
        return _deform_adjoint(t, r, w, site, window)

    return LinearMap(
        operands=(x,),
        output=site.output,
        weight=lambda t: w,
        bias=channel_bias(site, 2, 3),
        forward=forward,
        adjoint=adjoint,
    )


def _deform_adjoint(t: Tape, r: Value, w: Value, site: Site, window: Window) -> Value:
    x, groups = site.required(0), site.integer("offset_group", 1)
    count = int(np.prod(window.kernel))
    columns = _columns(t, r, w, site.integer("group", 1))
    shape = t.shape(x)
    rows = t.op("Mul", t.op("Slice", shape, [0], [1]), [groups])
    channels = t.op("Div", t.op("Slice", shape, [1], [2]), [groups])
    area = t.op("ReduceProd", spatial(t, x), keepdims=1)
    sizes = t.op("Concat", rows, channels, area, axis=0)
    shares = t.op("Reshape", columns, t.op("Concat", rows, channels, [-1], axis=0))
    taps = _deformed(t, site, window, groups, count)
    mask = site.input(4)
    if mask is not None:
        scale = t.op("Reshape", mask, t.op("Concat", _rows(t, site, groups), [1, -1, 1], axis=0))
        taps = Taps(taps.index, t.op("Mul", taps.weight, scale))
    return t.op("Reshape", taps.per_seed(t).adjoint(t, shares, sizes), shape)


def _rows(t: Tape, site: Site, groups: int) -> Value:
    return t.op("Mul", t.op("Shape", site.required(0), end=1), [groups])


def _columns(t: Tape, r: Value, w: Value, group: int) -> Value:
    """W^T r before it is moved to its places, `[N, G, C/G * K, P]`."""
    head = t.op("Concat", t.op("Shape", r, end=1), [group, -1], axis=0)
    area = t.op("ReduceProd", t.op("Shape", r, start=2), keepdims=1)
    split = t.op("Reshape", r, t.op("Concat", head, area, axis=0))
    each = t.op(
        "Reshape", t.op("Flatten", w, axis=1), t.op("Concat", [group, -1], _row(t, w), axis=0)
    )
    return t.op("MatMul", t.op("Transpose", each, perm=[0, 2, 1]), split)


def _row(t: Tape, w: Value) -> Value:
    return t.op("ReduceProd", t.op("Shape", w, start=1), keepdims=1)


def _deformed(t: Tape, site: Site, window: Window, groups: int, count: int) -> Taps:
    """The four neighbours of every place that is read, `[N * groups, 1, K * P, 4]`."""
    rows = _rows(t, site, groups)
    shape = t.op("Concat", rows, [count, 2], spatial(t, site.output), axis=0)
    offset = t.op("Reshape", site.required(2), shape)
    index = weight = None
    for axis in range(2):
        own = t.op("Squeeze", t.op("Slice", offset, [axis], [axis + 1], [2]), [2])
        moved = t.op("Add", own, _base(t, site.output, window, axis))
        at = t.op("Reshape", moved, t.op("Concat", rows, [1, -1, 1], axis=0))
        size = size_of(t, site.required(0), 2 + axis)
        places, weights = cell(t, *linear(t, at), size)
        index = places if index is None else joined(t, index, places, size)
        weight = weights if weight is None else joined(t, weight, weights)
    assert index is not None
    assert weight is not None
    return Taps(index, weight)


def _base(t: Tape, y: Value, window: Window, axis: int) -> Value:
    """Coordinates of every element of every window on one axis, `[K, oh, 1]` or `[K, 1, ow]`."""
    inner = np.indices(window.kernel)[axis] * window.dilations[axis] - (window.pads or ())[axis]
    count = range_to(t, t.op("Shape", y, start=2 + axis, end=3 + axis))
    starts = t.op("Cast", t.op("Mul", count, [window.strides[axis]]), to=1)
    starts = t.op("Unsqueeze", starts, [1 - axis])
    return t.op("Add", starts, inner.reshape(-1, 1, 1).astype(np.float32))
