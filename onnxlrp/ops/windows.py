"""Geometry of sliding windows, shared by convolutions and pools, for static and symbolic shapes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Attribute, Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.phases import nearest, trim

__all__ = [
    "Window",
    "crop",
    "flatten_channels",
    "spatial",
    "stated",
    "static_sizes",
    "sum_adjoint",
    "window_of",
]


DEFAULTS: dict[str, Attribute] = {
    "auto_pad": "NOTSET",
    "dilations": 1,
    "group": 1,
    "output_padding": 0,
    "pads": 0,
    "strides": 1,
}


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

    def stated(self, **others: list[int]) -> dict[str, Attribute]:
        """The same, and others, where they differ from what ONNX takes without them."""
        return stated({**self.attributes, **others})

    def counts(self, sizes: Sequence[int]) -> list[int]:
        """How many windows a convolution has along each axis, for known sizes and pads."""
        pads = self.pads or (0,) * 2 * self.rank
        ends = zip(sizes, pads[: self.rank], pads[self.rank :], strict=True)
        room = [size + begin + end - 1 for size, begin, end in ends]
        parts = zip(room, self.reach, self.strides, strict=True)
        return [(most - reach) // stride + 1 for most, reach, stride in parts]

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


def stated(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Leave out the attributes that say what ONNX takes without them."""
    return {name: value for name, value in attributes.items() if not _is_default(name, value)}


def _is_default(name: str, value: Attribute) -> bool:
    if isinstance(value, list):
        return {*value} == {DEFAULTS.get(name)}
    return name in DEFAULTS and value == DEFAULTS[name]


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


def static_sizes(x: Value) -> list[int] | None:
    """The sizes of the spatial axes of a forward value, or None where one is not known."""
    if x.shape is None:
        return None
    dims = [dim for dim in x.shape[2:] if isinstance(dim, int)]
    return dims if len(dims) == len(x.shape) - 2 else None


def spatial(t: Tape, x: Value) -> Value:
    """The sizes of the spatial axes of a forward value, int64."""
    sizes = static_sizes(x)
    if sizes is not None:
        return t.constant(np.array(sizes, dtype=np.int64))
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
    if any(size < 1 for size in window.kernel):
        raise UnsupportedOp("a window without elements")
    sizes, counts = static_sizes(x), static_sizes(y)
    if sizes is not None and counts is not None and _is_apart(window):
        full = [count * size for count, size in zip(counts, window.kernel, strict=True)]
        return trim(t, nearest(t, r, window.kernel), full, sizes)
    if _slides(window):
        return _slid(t, r, window)
    flat = flatten_channels(t, r, y)
    ones = np.ones((1, 1, *window.kernel), dtype=np.float32)
    full_sum = t.op(
        "ConvTranspose",
        flat,
        ones,
        output_padding=[stride - 1 for stride in window.strides],
        **window.attributes,
    )
    return t.reshape(crop(t, full_sum, window.begins(t, x), x, window.rank), x)


def _is_apart(window: Window) -> bool:
    """Whether the windows lie side by side from the first element on."""
    begins = (window.pads or (1,))[: window.rank]
    return not any(begins) and window.kernel == window.strides and set(window.dilations) == {1}


def _slides(window: Window) -> bool:
    """Whether the sum of windows at stride 1 is its own adjoint but for the pads."""
    pads, rank = window.pads, window.rank
    return (
        pads is not None
        and rank <= 3
        and pads[:rank] == pads[rank:]
        and all(0 <= pad < size for pad, size in zip(pads, window.kernel, strict=False))
        and {*window.strides, *window.dilations} == {1}
    )


def _slid(t: Tape, r: Value, window: Window) -> Value:
    pads = [size - 1 - pad for size, pad in zip(window.kernel * 2, window.pads or (), strict=True)]
    mean = t.op("AveragePool", r, kernel_shape=list(window.kernel), pads=pads, count_include_pad=1)
    return t.op("Mul", mean, float(np.prod(window.kernel)))
