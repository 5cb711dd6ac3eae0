"""Convolutions."""

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import LinearMap, Maybe, Thunk
from onnxlrp.ops.registry import op
from onnxlrp.ops.strided import Layer, adjoint
from onnxlrp.ops.windows import Window, crop, stated, window_of


@op("Conv")
def conv(site: Site) -> LinearMap:
    """Convolution with a weight that does not depend on the input.

    Forward: y = W x + b.
    Adjoint: W^T r, as convolutions or as `ConvTranspose`, by cost (`ops/strided.py`).
    """
    x, w = _operands(site)
    window = window_of(site, kernel_of(site, w))
    layer = Layer(x, w, window, site.integer("group", 1))

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        return t.op("Conv", x, w, **stated(site.attributes))

    def backward(t: Tape, r: Value, w: Maybe) -> Value:
        assert w is not None
        return adjoint(t, layer, r, w)

    return LinearMap(
        operands=(x,),
        samplewise=True,
        output=site.output,
        weight=lambda t: w,
        bias=channel_bias(site, window.rank),
        forward=forward,
        adjoint=backward,
    )


@op("ConvTranspose")
def conv_transpose(site: Site) -> LinearMap:
    """Transposed convolution.

    Forward: y = W^T x + b, with the weight `[C, M/group, ...]` of the convolution that it undoes.
    Adjoint: that convolution, cut to the size of x.
    """
    x, w = _operands(site)
    window = _transposed_window(site, window_of(site, kernel_of(site, w)))
    group = site.integer("group", 1)

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        return t.op("ConvTranspose", x, w, **stated(site.attributes))

    def backward(t: Tape, r: Value, w: Maybe) -> Value:
        pads = list(window.pads or ())
        full = t.op("Conv", r, w, group=group, pads=pads, **window.attributes)
        extra = site.integers("output_padding", [0] * window.rank)
        if all(pad < stride for pad, stride in zip(extra, window.strides, strict=True)):
            return full
        return crop(t, full, [0] * window.rank, x, window.rank)

    return LinearMap(
        operands=(x,),
        samplewise=True,
        output=site.output,
        weight=lambda t: w,
        bias=channel_bias(site, window.rank),
        forward=forward,
        adjoint=backward,
    )


def channel_bias(site: Site, rank: int, index: int = 2) -> Thunk | None:
    """The bias `[C]` as `[C, 1, ...]`; None where it is absent or zero."""
    bias = site.input(index)
    if bias is None:
        return None
    if site.is_live(index):
        raise UnsupportedOp("its bias depends on the input")
    if bias.is_zero:
        return None
    return lambda t: t.op("Reshape", bias, [-1] + [1] * rank)


def _operands(site: Site) -> tuple[Value, Value]:
    if not site.is_live(0) or site.is_live(1):
        raise UnsupportedOp("its weight depends on the input")
    return site.required(0), site.required(1)


def kernel_of(site: Site, w: Value) -> list[int]:
    """The sizes of the kernel, stated or those of the weight."""
    stated = site.integers("kernel_shape")
    if stated:
        return stated
    dims = [dim for dim in (w.shape or ())[2:] if isinstance(dim, int)]
    if not dims or len(dims) + 2 != len(w.shape or ()):
        raise UnsupportedOp("the size of its kernel is not known")
    return dims


def _transposed_window(site: Site, window: Window) -> Window:
    """Resolve `output_shape` and `auto_pad`, which state the size of y instead of the pads."""
    extra = site.integers("output_padding", [0] * window.rank)
    shape = site.integers("output_shape")
    if not shape and not window.same:
        return window
    begins, ends = [], []
    dims = (site.required(0).shape or ())[2:]
    for axis in range(window.rank):
        stride, reach = window.strides[axis], window.reach[axis]
        total = extra[axis] + reach + 1 - stride
        if shape:
            dim = dims[axis]
            if not isinstance(dim, int):
                raise UnsupportedOp("output_shape with a symbolic input size")
            total = stride * (dim - 1) + extra[axis] + reach + 1 - shape[axis]
        total = max(total, 0)
        small, large = total // 2, total - total // 2
        begins.append(small if window.same == "SAME_UPPER" else large)
        ends.append(large if window.same == "SAME_UPPER" else small)
    pads = (*begins, *ends)
    return Window(window.kernel, window.strides, window.dilations, pads)
