"""Forms of the adjoint of a convolution, and the rule that picks one."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.phases import interleave, spaced, trim
from onnxlrp.ops.windows import Window, crop, static_sizes

__all__ = ["Form", "Layer", "adjoint", "forms"]

LAST = np.iinfo(np.int64).min + 1

LANES = 16
"""Output channels that a blocked convolution computes at once: fewer cost as much."""

GEMM, COLUMN, PACKED, READ = 1.25, 25, 20, 30
"""Cost of `ConvTranspose` on a CPU in multiply-adds of a blocked convolution: of each multiply-add
of its matrix product, of each element that it scatters, of each element of the weight, which it
packs anew for every sample, and of each element of r. From `tools/bench/adjoints.py`."""

MOVED, SPREAD = 100, 60
"""The same for each element that is interleaved, and that is written between zeros."""

MOST_PHASES = 4

SYMBOLIC = 32
"""Taken for a size that is not known when costs are compared."""


@dataclass(frozen=True, eq=False)
class Layer:
    """A convolution as its adjoint sees it.

    Attributes:
        x: Input of the convolution.
        weight: Stands for the weight `[M, C/group, ...]`: its shape.
        window: Geometry.
        group: Number of groups.
    """

    x: Value
    weight: Value
    window: Window
    group: int

    @property
    def channels(self) -> tuple[int, int] | None:
        """M and C / group, or None where one is not known."""
        dims = [dim for dim in (self.weight.shape or ())[:2] if isinstance(dim, int)]
        return (dims[0], dims[1]) if len(dims) == 2 else None

    @property
    def sizes(self) -> list[int] | None:
        """The spatial sizes of x, or None where one is not known."""
        return static_sizes(self.x)

    @property
    def counts(self) -> list[int]:
        """The spatial sizes of y; a stand-in where those of x are not known."""
        return self.window.counts(self.sizes or [SYMBOLIC] * self.window.rank)

    @property
    def products(self) -> int:
        """Multiply-adds per sample."""
        return (self.weight.size or 0) * int(np.prod(self.counts))


@dataclass(frozen=True)
class Form:
    """One way to compute W^T r.

    Attributes:
        name: `flipped`, `point`, `phased`, `stuffed` or `transposed`.
        cost: In multiply-adds of a blocked convolution on a CPU.
        emit: (tape, layer, r, w) -> W^T r.
    """

    name: str
    cost: float
    emit: Callable[[Tape, Layer, Value, Value], Value]


def adjoint(t: Tape, layer: Layer, r: Value, w: Value) -> Value:
    """W^T r in the shape of x, in the form that costs least."""
    return min(forms(layer), key=lambda form: form.cost).emit(t, layer, r, w)


def forms(layer: Layer) -> list[Form]:
    """The forms that fit; the first of equal cost is the better one."""
    found = [Form("transposed", _transposed_cost(layer), _transposed)]
    if layer.channels is None or not _reaches(layer.window):
        return found
    if set(layer.window.strides) == {1}:
        return [Form("flipped", _blocked_cost(layer, 0), _flipped), *found]
    if _is_flat(layer) and layer.sizes is not None:
        if set(layer.window.kernel) == {1}:
            found.insert(0, Form("point", _blocked_cost(layer, SPREAD), _point))
        elif _has_phases(layer.window, layer.sizes):
            found.insert(0, Form("phased", _blocked_cost(layer, MOVED), _phased))
    elif _is_depthwise(layer) and _fills(layer):
        found.insert(0, Form("stuffed", 0.0, _stuffed))
    return found


def _is_flat(layer: Layer) -> bool:
    """Whether costs are compared: two spatial axes, one group."""
    return layer.group == 1 and layer.window.rank == 2


def _is_depthwise(layer: Layer) -> bool:
    return layer.window.rank == 2 and layer.channels == (layer.group, 1)


def _blocked_cost(layer: Layer, each: int) -> float:
    """Of convolutions with the multiply-adds of the forward pass, and `each` element of x."""
    if not _is_flat(layer):
        return 0.0
    _, inputs = layer.channels or (0, 1)
    lanes = -(-inputs // LANES) * LANES / inputs
    sizes = layer.sizes or [0]
    return layer.products * lanes + each * inputs * int(np.prod(sizes))


def _transposed_cost(layer: Layer) -> float:
    if not _is_flat(layer) or layer.channels is None:
        return 1.0
    outputs, inputs = layer.channels
    places = int(np.prod(layer.counts))
    columns = inputs * int(np.prod(layer.window.kernel)) * places
    weights = layer.weight.size or 0
    return GEMM * layer.products + COLUMN * columns + PACKED * weights + READ * outputs * places


def _reaches(window: Window) -> bool:
    """Whether the pads are known and none is wider than what a window covers beside one element."""
    if window.pads is None:
        return False
    return all(0 <= p <= n for p, n in zip(window.pads, window.reach * 2, strict=True))


def _fills(layer: Layer) -> bool:
    ends = _stuffed_ends(layer)
    return layer.sizes is not None and min(ends) >= 0


def _flipped(t: Tape, layer: Layer, r: Value, w: Value) -> Value:
    """Stride 1: the convolution with the flipped kernel, channels swapped."""
    window = layer.window
    begins = [n - p for n, p in zip(window.reach * 2, window.pads or (), strict=True)]
    return _conv(t, layer, r, _mirrored(t, layer, w), begins)


def _conv(t: Tape, layer: Layer, r: Value, w: Value, pads: list[int]) -> Value:
    window = replace(layer.window, strides=(1,) * layer.window.rank)
    return t.op("Conv", r, w, **_groups(layer), **window.stated(pads=pads))


def _groups(layer: Layer) -> dict[str, int]:
    return {"group": layer.group} if layer.group > 1 else {}


def _mirrored(t: Tape, layer: Layer, w: Value) -> Value:
    """The weight of the flipped convolution, `[C, M/group, ...]`."""
    rank = layer.window.rank
    if any(size > 1 for size in layer.window.kernel):
        back = [-1] * rank
        w = t.op("Slice", w, back, [LAST] * rank, list(range(2, 2 + rank)), back)
    return _swapped(t, layer, w)


def _swapped(t: Tape, layer: Layer, w: Value) -> Value:
    """`[M, C/group, ...]` -> `[C, M/group, ...]`, group by group."""
    outer, inner = layer.channels or (0, 0)
    kernel, group = list(layer.window.kernel), layer.group
    axes = list(range(2, 2 + layer.window.rank))
    if group == 1:
        return t.op("Transpose", w, perm=[1, 0, *axes])
    w = t.op("Reshape", w, [group, outer // group, inner, *kernel])
    w = t.op("Transpose", w, perm=[0, 2, 1, *(axis + 1 for axis in axes)])
    return t.op("Reshape", w, [group * inner, outer // group, *kernel])


def _point(t: Tape, layer: Layer, r: Value, w: Value) -> Value:
    """A kernel of one element: W^T r where r is, zeros between."""
    strides, sizes = layer.window.strides, layer.sizes or []
    low = _conv(t, layer, r, _swapped(t, layer, w), [0] * 2 * layer.window.rank)
    wide = spaced(t, low, layer.counts, strides)
    full = [count * stride for count, stride in zip(layer.counts, strides, strict=True)]
    return trim(t, wide, full, sizes)


def _stuffed(t: Tape, layer: Layer, r: Value, w: Value) -> Value:
    """The flipped convolution of r with zeros between its elements."""
    window = layer.window
    wide = spaced(t, r, layer.counts, window.strides)
    begins = [n - p for n, p in zip(window.reach, window.pads or (), strict=False)]
    return _conv(t, layer, wide, _mirrored(t, layer, w), [*begins, *_stuffed_ends(layer)])


def _stuffed_ends(layer: Layer) -> list[int]:
    window, sizes = layer.window, layer.sizes or []
    parts = zip(sizes, layer.counts, window.strides, window.pads or (), strict=False)
    return [size - count * stride + pad for size, count, stride, pad in parts]


@dataclass(frozen=True)
class _Phase:
    """The taps of a kernel that reach the elements first, first + stride, ... of one axis.

    `count` taps from `tap` on, a stride apart; `pads` are those of their convolution.
    """

    tap: int
    count: int
    pads: tuple[int, int]


def _phases(window: Window, sizes: list[int], axis: int) -> list[_Phase]:
    kernel, stride = window.kernel[axis], window.strides[axis]
    begin = (window.pads or ())[axis]
    missing = -(-sizes[axis] // stride) - window.counts(sizes)[axis]
    found = []
    for first in range(stride):
        shift, tap = divmod(first + begin, stride)
        count = len(range(tap, kernel, stride))
        found.append(_Phase(tap, count, (count - 1 - shift, missing + shift)))
    return found


def _has_phases(window: Window, sizes: list[int]) -> bool:
    if set(window.dilations) != {1} or np.prod(window.strides) > MOST_PHASES:
        return False
    every = [phase for axis in range(window.rank) for phase in _phases(window, sizes, axis)]
    return all(phase.count and min(phase.pads) >= 0 for phase in every)


def _phased(t: Tape, layer: Layer, r: Value, w: Value) -> Value:
    """One convolution for each phase of x, interleaved: as many multiply-adds as the forward."""
    window, sizes = layer.window, layer.sizes or []
    rank, swapped = window.rank, _swapped(t, layer, w)
    pieces = []
    for phases in product(*(_phases(window, sizes, axis) for axis in range(rank))):
        kernel = _taps(t, swapped, phases, window)
        pads = [phase.pads[side] for side in (0, 1) for phase in phases]
        pieces.append(_conv(t, layer, r, kernel, pads))
    dims = [-(-size // stride) for size, stride in zip(sizes, window.strides, strict=True)]
    for axis in reversed(range(rank)):
        stride = window.strides[axis]
        dims[axis] *= stride
        groups = [pieces[i : i + stride] for i in range(0, len(pieces), stride)]
        pieces = [interleave(t, group, axis + 2, dims) for group in groups]
    return trim(t, pieces[0], dims, sizes)


def _taps(t: Tape, w: Value, phases: tuple[_Phase, ...], window: Window) -> Value:
    """The taps of a phase from the last one to the first."""
    back = [-stride for stride in window.strides]
    pairs = list(zip(phases, window.strides, strict=True))
    starts = [phase.tap + (phase.count - 1) * stride for phase, stride in pairs]
    ends = [phase.tap - stride if phase.tap >= stride else LAST for phase, stride in pairs]
    return t.op("Slice", w, starts, ends, list(range(2, 2 + window.rank)), back)


def _transposed(t: Tape, layer: Layer, r: Value, w: Value) -> Value:
    """`ConvTranspose`, without an asymmetric pad: those that CUDA has not are cut off behind it."""
    window = layer.window
    if _is_square(layer.weight):
        r, w = t.op("Neg", r), t.op("Neg", w)
    pads, extra = _symmetric(layer)
    attributes = window.stated(output_padding=extra, pads=pads or [0])
    full = t.op("ConvTranspose", r, w, **_groups(layer), **attributes)
    if pads is not None:
        return full
    return crop(t, full, window.begins(t, layer.x), layer.x, window.rank)


def _symmetric(layer: Layer) -> tuple[list[int] | None, list[int]]:
    """Pads and output padding that give the size of x; (None, stride - 1) where it takes a cut."""
    window, sizes = layer.window, layer.sizes
    rest = [stride - 1 for stride in window.strides]
    if window.pads is None or sizes is None:
        return None, rest
    begins, ends = window.pads[: window.rank], window.pads[window.rank :]
    parts = zip(sizes, layer.counts, window.strides, window.reach, begins, strict=True)
    extra = [
        size + 2 * pad - (count - 1) * stride - reach - 1
        for size, count, stride, reach, pad in parts
    ]
    fits = all(0 <= more <= most for more, most in zip(extra, rest, strict=True))
    return (list(window.pads), extra) if begins == ends and fits else (None, rest)


def _is_square(weight: Value) -> bool:
    """Whether a weight has as many outputs as inputs: then its ConvTranspose reads -w.

    OpenVINO 2026.4 takes one packed copy of such a constant for Conv and ConvTranspose, without
    an error.
    """
    return weight.shape is not None and weight.shape[0] == weight.shape[1]
