"""Quantised operators of the standard: the same maps of the numbers behind the integers."""

from onnx import TensorProto

from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site
from onnxlrp.lower.microsoft_fused import WINDOW, kept, swapped
from onnxlrp.lower.quantised_values import centred, grid, marked, number, real, saturate, saturated
from onnxlrp.lower.registry import lower
from onnxlrp.lower.sketch import Seen, Sketch

__all__ = ["bias_of", "dynamic", "element_type", "first_axes_last", "operand"]


def element_type(site: Site, zero: int, *others: int) -> int:
    """The element type of a quantised output: that of its zero point, or as stated."""
    for index in (zero, *others):
        value = site.input(index)
        if value is not None and value.dtype != TensorProto.FLOAT:
            return value.dtype
    found = site.outputs[0].dtype if site.outputs and site.outputs[0] is not None else 0
    return site.integer("output_dtype") or found or int(TensorProto.UINT8)


@lower("QuantizeLinear", "com.microsoft.QuantizeLinear")
def quantize(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Clip(x, (q_min - zero point) scale, (q_max - zero point) scale)."""
    x, scale, zero = site.required(0), site.required(1), site.input(2)
    steps = grid(sketch, x, scale, zero, site.integer("axis", 1), site.integer("block_size"))
    return (saturated(sketch, x, steps, element_type(site, 2)),)


@lower("DequantizeLinear", "com.microsoft.DequantizeLinear")
def dequantize(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = (q - zero point) scale."""
    axis, block = site.integer("axis", 1), site.integer("block_size")
    x = real(sketch, site.required(0), site.required(1), site.input(2), axis, block)
    return (sketch.op("Identity", x) if x in sketch.scales else x,)


def dynamic(sketch: Sketch, x: Value) -> tuple[Value, Value]:
    """Scale and zero point that a tensor makes for itself; no relevance flows through them."""
    t = sketch.t
    high = t.op("Max", t.op("ReduceMax", x, keepdims=0), 0.0)
    low = t.op("Min", t.op("ReduceMin", x, keepdims=0), 0.0)
    width = t.op("Div", t.op("Sub", high, low), 255.0)
    scale = t.op("Where", t.op("Equal", width, 0.0), 1.0, width)
    zero = t.op("Clip", t.op("Round", t.op("Div", t.op("Neg", low), scale)), 0.0, 255.0)
    return scale, zero


@lower("DynamicQuantizeLinear")
def dynamic_quantize(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = x; scale and zero point cover the range of x."""
    x = site.required(0)
    scale, zero = dynamic(sketch, x)
    return marked(sketch, "Identity", [x], scale, zero), scale, zero


def operand(sketch: Sketch, site: Site, index: int, axis: int = 1) -> Value:
    """The number behind input `index`, whose scale and zero point follow it."""
    scale, zero = site.required(index + 1), site.input(index + 2)
    return real(sketch, site.required(index), scale, zero, axis)


def first_axes_last(sketch: Sketch, x: Value, *, back: bool) -> Value:
    """Channels first to channels last, or `back`."""
    rank = x.rank or 4
    return swapped(
        sketch, x, 0, *([rank - 1, *range(1, rank - 1)] if back else [*range(2, rank), 1])
    )


def bias_of(sketch: Sketch, bias: Value | None, x_scale: Value, w_scale: Value) -> Value | None:
    """An int32 bias times the scales of the factors."""
    if bias is None:
        return None
    scale = sketch.op("Mul", number(sketch, x_scale), number(sketch, w_scale))
    return sketch.op("Mul", sketch.op("Cast", bias, to=TensorProto.FLOAT), scale)


@lower("QLinearConv", "com.microsoft.QLinearConv")
def conv(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Clip(Conv(x, w) + b), with the bounds of the type of y."""
    last = site.integer("channels_last")
    x, w = operand(sketch, site, 0), operand(sketch, site, 3, 0)
    bias = bias_of(sketch, site.input(8), site.required(1), site.required(4))
    x = first_axes_last(sketch, x, back=True) if last else x
    y = sketch.op("Conv", x, w, bias, **kept(site, *WINDOW))
    y = first_axes_last(sketch, y, back=False) if last else y
    return (saturate(sketch, y, site.required(6), site.input(7), element_type(site, 7)),)


@lower("QLinearMatMul")
def matmul(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Clip(a b), with the bounds of the type of y."""
    y = sketch.op("MatMul", operand(sketch, site, 0, -2), operand(sketch, site, 3, -1))
    return (saturate(sketch, y, site.required(6), site.input(7), element_type(site, 7)),)


@lower("ConvInteger")
def conv_integer(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Conv(x - x_zero, w - w_zero)."""
    x = centred(sketch, site.required(0), site.input(2))
    w = centred(sketch, site.required(1), site.input(3), 0)
    return (sketch.op("Conv", x, w, **kept(site, *WINDOW)),)


@lower("MatMulInteger")
def matmul_integer(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = (a - a_zero) (b - b_zero)."""
    a = centred(sketch, site.required(0), site.input(2), -2)
    b = centred(sketch, site.required(1), site.input(3), -1)
    return (sketch.op("MatMul", a, b),)
