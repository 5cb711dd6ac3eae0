"""Geometry of sliding windows, shared by convolutions and pools, for static and symbolic shapes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site

__all__ = ["Window", "crop", "flatten_channels", "spatial", "sum_adjoint", "window_of"]


@dataclass(frozen=True)
class Window:
    """One window per output position; one entry per spatial axis.

    Attributes:
        kernel: Sizes.
        strides: Steps.
        dilations: Distances between the elements of a window.
        pads: First the begins, then the ends; None where `auto_pad` needs a symbolic size.
        same: `SAME_UPPER`, `SAME_LOWER` or empty.
        ceil: Whether the output size is rounded up.
    """

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[int, ...] | None
    same: str = ""
    ceil: bool = False

    @property
    def rank(self) -> int:
        """Number of spatial axes."""
        return len(self.kernel)

    @property
    def reach(self) -> tuple[int, ...]:
        """Distance from the first to the last element of a window."""
        pairs = zip(self.kernel, self.dilations, strict=True)
        return tuple((size - 1) * step for size, step in pairs)

    @property
    def attributes(self) -> dict[str, list[int]]:
        """Strides and dilations as attributes."""
        return {"strides": list(self.strides), "dilations": list(self.dilations)}

    @property
    def even(self) -> bool:
        """Whether all windows lie inside the padded input, as many real elements in each."""
        return self.pads is not None and not any(self.pads) and not self.ceil

    def begins(self, t: Tape, x: Value) -> list[int] | Value:
        """Padding before the first element of each axis."""
        if self.pads is not None:
            return list(self.pads[: self.rank])
        size = spatial(t, x)
        steps = t.op("Div", t.op("Add", size, [s - 1 for s in self.strides]), list(self.strides))
        wanted = t.op("Mul", t.op("Sub", steps, [1]), list(self.strides))
        total = t.op("Sub", t.op("Add", wanted, [n + 1 for n in self.reach]), size)
        total = t.op("Max", total, [0])
        odd = [0] if self.same == "SAME_UPPER" else [1]
        return t.op("Div", t.op("Add", total, odd), [2])


def window_of(site: Site, kernel: Sequence[int]) -> Window:
    """Read the window of a convolution or pool from its attributes."""
    n = len(kernel)
    strides = tuple(site.integers("strides", [1] * n))
    dilations = tuple(site.integers("dilations", [1] * n))
    auto = site.text("auto_pad", "NOTSET")
    same = auto if auto.startswith("SAME") else ""
    pads: tuple[int, ...] | None = tuple(site.integers("pads", [0] * 2 * n))
    if auto == "VALID":
        pads = (0,) * 2 * n
    window = Window(
        tuple(kernel), strides, dilations, pads, same, bool(site.integer("ceil_mode") and not same)
    )
    return _same(window, site.required(0)) if same else window


def _same(window: Window, x: Value) -> Window:
    """Resolve `auto_pad` for a static size; leave it open for a symbolic one."""
    dims = x.shape[2:] if x.shape is not None else ()
    if len(dims) != window.rank or not all(isinstance(dim, int) for dim in dims):
        return Window(
            window.kernel, window.strides, window.dilations, None, window.same, window.ceil
        )
    begins, ends = [], []
    for dim, stride, reach in zip(dims, window.strides, window.reach, strict=True):
        assert isinstance(dim, int)
        total = max((-(-dim // stride) - 1) * stride + reach + 1 - dim, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if window.same == "SAME_UPPER" else large)
        ends.append(large if window.same == "SAME_UPPER" else small)
    pads = (*begins, *ends)
    return Window(window.kernel, window.strides, window.dilations, pads, window.same, window.ceil)


def spatial(t: Tape, x: Value) -> Value:
    """The sizes of the spatial axes of a forward value, int64."""
    if x.shape is not None and all(isinstance(dim, int) for dim in x.shape[2:]):
        return t.constant(np.array(x.shape[2:], dtype=np.int64))
    return t.op("Shape", x, start=2)


def crop(t: Tape, full: Value, begins: list[int] | Value, x: Value, rank: int) -> Value:
    """Cut the spatial axes to `[begin, begin + size of x)`."""
    ends = t.op("Add", begins, spatial(t, x))
    return t.op("Slice", full, begins, ends, list(range(2, 2 + rank)))


def flatten_channels(t: Tape, value: Value, like: Value) -> Value:
    """`[N, C, ...]` -> `[N*C, 1, ...]`; `like` is the forward value of the same shape."""
    shape = t.op("Concat", [-1, 1], spatial(t, like), axis=0)
    return t.op("Reshape", value, shape)


def sum_adjoint(t: Tape, r: Value, window: Window, x: Value, y: Value) -> Value:
    """Give each element of a window the relevance of the window: the adjoint of a window sum."""
    if _tiles(window, x):
        return _repeat(t, r, window, x)
    if any(size < 1 for size in window.kernel):
        raise UnsupportedOp("a window without elements")
    flat = flatten_channels(t, r, y)
    ones = np.ones((1, 1, *window.kernel), dtype=np.float32)
    full = t.op(
        "ConvTranspose",
        flat,
        ones,
        output_padding=[stride - 1 for stride in window.strides],
        **window.attributes,
    )
    return t.reshape(crop(t, full, window.begins(t, x), x, window.rank), x)


def _tiles(window: Window, x: Value) -> bool:
    """Whether the windows cover a static input exactly once."""
    dims = x.shape[2:] if x.shape is not None else ()
    return (
        window.even
        and window.kernel == window.strides
        and set(window.dilations) == {1}
        and all(
            isinstance(dim, int) and dim % size == 0
            for dim, size in zip(dims, window.kernel, strict=True)
        )
    )


def _repeat(t: Tape, r: Value, window: Window, x: Value) -> Value:
    dims = [dim for dim in (x.shape or ())[2:] if isinstance(dim, int)]
    pairs = list(zip(dims, window.kernel, strict=True))
    narrow = [item for dim, size in pairs for item in (dim // size, 1)]
    wide = [item for dim, size in pairs for item in (dim // size, size)]
    split = t.op("Reshape", r, [0, 0, *narrow])
    return t.reshape(t.op("Expand", split, [1, 1, *wide]), x)
