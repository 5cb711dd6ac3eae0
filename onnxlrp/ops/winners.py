"""The first maximum of each window of a pool by comparisons, for known sizes.

The first of equals in row-major order: first the row, then the element of the row. So relevance is
spread axis by axis, outermost first; between two axes stands the pool over the axes inside.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.phases import interleave, trim
from onnxlrp.ops.windows import Window, static_sizes

__all__ = ["compares", "first_maximum", "pays"]

MOST_TAPS = 32

SMALL = 1 << 14
"""Elements of a sample, from `tools/bench/adjoints.py`."""

LOWEST = float(np.finfo(np.float32).min)
"""What some pools of ONNX Runtime make of -inf, and others do not."""


def compares(window: Window, x: Value, y: Value) -> bool:
    """Whether the sizes are known, every element has a window and windows are not large."""
    if window.pads is None or static_sizes(x) is None or static_sizes(y) is None:
        return False
    geometry = zip(window.kernel, window.strides, window.dilations, strict=True)
    reached = all(len({k * d % s for k in range(n)}) == s for n, s, d in geometry)
    return reached and sum(window.kernel) <= MOST_TAPS


def pays(x: Value) -> bool:
    """Whether a sample is so large that comparisons take less time than indices, in more nodes."""
    dims = [dim for dim in (x.shape or ())[1:] if isinstance(dim, int)]
    return int(np.prod(dims)) > SMALL


def first_maximum(t: Tape, r: Value, window: Window, x: Value, y: Value) -> Value:
    """Give r `[T*N, C, ...]` of each window to the first of its greatest elements.

    What is compared has no copies for several targets: r becomes `[T, N*C, ...]`.
    """
    pools = _Pools(window, x, y)
    dims = static_sizes(y) or []
    if t.targets > 1:
        if x.variable:
            t.require_batch(x)
        r = t.op("Reshape", r, [t.targets, -1, *dims])
    for axis in range(window.rank):
        r = _along(t, r, pools, axis, dims)
        dims[axis] = pools.sizes[axis]
    return r if t.targets == 1 else t.reshape(r, x)


@dataclass(frozen=True, eq=False)
class _Pools:
    """The pools over some of the axes of x, with y as the one over all."""

    window: Window
    x: Value
    y: Value

    @property
    def sizes(self) -> list[int]:
        return static_sizes(self.x) or []

    def inside(self, t: Tape, axis: int, stride: int = 1) -> Value:
        """The pool over the axes behind `axis`; every stride-th of it along that axis."""
        if axis < 0:
            return self.y
        whole, rank = self.window, self.window.rank
        if axis == rank - 1 and stride == 1:
            return self.x
        kept = (1,) * axis
        inner = Window(
            (*kept, 1, *whole.kernel[axis + 1 :]),
            (*kept, stride, *whole.strides[axis + 1 :]),
            (*kept, 1, *whole.dilations[axis + 1 :]),
            None,
        )
        ends = enumerate(cast(tuple[int, ...], whole.pads))
        pads = [0 if i % rank <= axis else pad for i, pad in ends]
        rounding = {"ceil_mode": 1} if whole.ceil else {}
        kernel = list(inner.kernel)
        return t.op("MaxPool", self.x, kernel_shape=kernel, **inner.stated(pads=pads), **rounding)


@dataclass(frozen=True)
class _Tap:
    """Element q * stride + offset of each window q of one axis; inside for low <= q < high."""

    offset: int
    low: int
    high: int


def _taps(window: Window, axis: int, size: int, count: int) -> list[_Tap]:
    """The elements of a window that any of `count` windows has."""
    stride, found = window.strides[axis], []
    for place in range(window.kernel[axis]):
        offset = place * window.dilations[axis] - cast(tuple[int, ...], window.pads)[axis]
        low, high = max(-(offset // stride), 0), min((size - 1 - offset) // stride + 1, count)
        if low < high:
            found.append(_Tap(offset, low, high))
    return found


def _along(t: Tape, r: Value, pools: _Pools, axis: int, dims: list[int]) -> Value:
    """Spread the relevance of each window along one axis: its length becomes that of x."""
    stride, size, count = pools.window.strides[axis], pools.sizes[axis], dims[axis]
    length = -(-size // stride)
    taps = _taps(pools.window, axis, size, count)
    parts: list[list[Value]] = [[] for _ in range(stride)]
    for tap in taps:
        part = r
        if tap is not taps[-1]:
            part = t.op("Mul", r, _won(t, pools, axis, tap, dims))
            r = t.op("Sub", r, part)
        shift, phase = tap.offset // stride, tap.offset % stride
        before, behind = tap.low + shift, length - tap.high - shift
        cut = _cut(t, part, axis, (tap.low, tap.high), count)
        parts[phase].append(_padded(t, cut, axis, (before, behind), 0.0, len(dims)))
    whole = list(dims)
    whole[axis] = length * stride
    wanted = list(dims)
    wanted[axis] = size
    joined = interleave(t, [t.total(part) for part in parts], axis + 2, whole)
    return trim(t, joined, whole, wanted)


def _won(t: Tape, pools: _Pools, axis: int, tap: _Tap, dims: list[int]) -> Value:
    """1 where the tap is the maximum over the axis, else 0; no padding is."""
    stride, count = pools.window.strides[axis], dims[axis]
    every, greatest = pools.inside(t, axis), pools.inside(t, axis - 1)
    if tap.offset == 0 and -(-pools.sizes[axis] // stride) == count and not pools.window.ceil:
        every = values = pools.inside(t, axis, stride)
    else:
        first, last = tap.low * stride + tap.offset, (tap.high - 1) * stride + tap.offset
        values = t.op("Slice", every, [first], [last + 1], [axis + 2], [stride])
    if every is pools.x and not t.signs.nonnegative(every):
        values, greatest = t.op("Max", values, LOWEST), t.op("Max", greatest, LOWEST)
    values = _padded(t, values, axis, (tap.low, count - tap.high), float("nan"), len(dims))
    won = t.op("Cast", t.op("Equal", values, greatest), to=1)
    return won if t.targets == 1 else t.op("Reshape", won, [-1, *dims])


def _cut(t: Tape, value: Value, axis: int, part: tuple[int, int], size: int) -> Value:
    if part == (0, size):
        return value
    return t.op("Slice", value, [part[0]], [part[1]], [axis + 2])


def _padded(
    t: Tape, value: Value, axis: int, ends: tuple[int, int], fill: float, rank: int
) -> Value:
    if not any(ends):
        return value
    pads = [0] * 2 * (rank + 2)
    pads[axis + 2], pads[rank + 4 + axis] = ends
    return t.op("Pad", value, pads, fill)
