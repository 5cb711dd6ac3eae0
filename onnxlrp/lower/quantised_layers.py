"""Quantised operators of `com.microsoft`."""

from dataclasses import replace

from onnx import TensorProto

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Attribute, Value
from onnxlrp.graph.view import Site
from onnxlrp.lower.microsoft_fused import WINDOW, kept
from onnxlrp.lower.quantised import bias_of, element_type, first_axes_last, operand
from onnxlrp.lower.quantised_values import real, saturate
from onnxlrp.lower.registry import LOWERINGS, lower
from onnxlrp.lower.sketch import Seen, Sketch

__all__: list[str] = []


def _limited(sketch: Sketch, site: Site, y: Value, index: int) -> tuple[Seen, ...]:
    """The output with scale at input `index` and zero point behind it; float without a scale."""
    scale = site.input(index)
    if scale is None:
        return (y,)
    dtype = element_type(site, index + 1, 2)
    return (saturate(sketch, y, scale, site.input(index + 1), dtype),)


@lower("com.microsoft.QLinearAdd", "com.microsoft.QLinearMul")
def arithmetic(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Clip(a + b), or the product."""
    op = site.op.removeprefix("com.microsoft.QLinear")
    y = sketch.op(op, operand(sketch, site, 0), operand(sketch, site, 3))
    return _limited(sketch, site, y, 6)


@lower("com.microsoft.QLinearSigmoid", "com.microsoft.QLinearLeakyRelu")
def activation(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Clip(f(x))."""
    op = site.op.removeprefix("com.microsoft.QLinear")
    y = sketch.op(op, operand(sketch, site, 0), **kept(site, "alpha"))
    return _limited(sketch, site, y, 3)


@lower("com.microsoft.QLinearSoftmax")
def softmax(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Clip(Softmax(x)); before opset 13 over all axes from `axis` on."""
    x, old = operand(sketch, site, 0), site.integer("opset", 13) < 13
    axis = site.integer("axis", 1 if old else -1)
    if not old or (x.rank is not None and axis % x.rank == x.rank - 1):
        return _limited(sketch, site, sketch.op("Softmax", x, axis=axis), 3)
    flat = sketch.op("Softmax", sketch.op("Flatten", x, axis=axis), axis=-1)
    y = sketch.op("Reshape", flat, sketch.op("Shape", x))
    return _limited(sketch, site, y, 3)


@lower("com.microsoft.QLinearAveragePool", "com.microsoft.QLinearGlobalAveragePool")
def average(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Clip(AveragePool(x)), or over all places."""
    last, x = site.integer("channels_last"), operand(sketch, site, 0)
    x = first_axes_last(sketch, x, back=True) if last else x
    op = site.op.removeprefix("com.microsoft.QLinear")
    y = sketch.op(op, x, **kept(site, *WINDOW, "count_include_pad"))
    y = first_axes_last(sketch, y, back=False) if last else y
    return _limited(sketch, site, y, 3)


@lower("com.microsoft.QLinearReduceMean")
def mean(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Clip(ReduceMean(x))."""
    axes = site.integers("axes") or None
    keep = site.integer("keepdims", 1)
    y = sketch.op("ReduceMean", operand(sketch, site, 0), axes, keepdims=keep)
    return _limited(sketch, site, y, 3)


@lower("com.microsoft.QLinearConcat")
def concat(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Clip(Concat(x_1, x_2, ...))."""
    parts = [operand(sketch, site, index) for index in range(2, len(site.inputs), 3)]
    y = sketch.op("Concat", *parts, axis=site.integer("axis"))
    dtype = element_type(site, 1, 2)
    return (saturate(sketch, y, site.required(0), site.input(1), dtype),)


@lower("com.microsoft.QLinearWhere")
def where(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: z = Clip(x where the condition holds, else y)."""
    parts = operand(sketch, site, 1), operand(sketch, site, 4)
    return _limited(sketch, site, sketch.op("Where", site.required(0), *parts), 7)


@lower("com.microsoft.QGemm")
def gemm(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Clip(alpha a b + c); c has the scale alpha a_scale b_scale."""
    settings: dict[str, Attribute] = kept(site, "alpha", "transA", "transB")
    b = operand(sketch, site, 3, 0 if site.integer("transB") else 1)
    c = bias_of(sketch, site.input(6), site.required(1), site.required(4))
    alpha = site.number("alpha", 1.0)
    if c is not None and alpha != 1:
        c = sketch.op("Mul", c, alpha)
    y = sketch.op("Gemm", operand(sketch, site, 0), b, c, **settings)
    return _limited(sketch, site, y, 7)


@lower("com.microsoft.DynamicQuantizeMatMul")
def dynamic_matmul(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = a b + bias; a is quantised to the range that it has."""
    b = real(sketch, site.required(1), site.required(2), site.input(3), -1)
    y = sketch.op("MatMul", site.required(0), b)
    bias = site.input(4)
    return (y if bias is None else sketch.op("Add", y, bias),)


@lower("com.microsoft.MatMulIntegerToFloat")
def matmul_to_float(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = a b + bias."""
    a = real(sketch, site.required(0), site.required(2), site.input(4), -2)
    b = real(sketch, site.required(1), site.required(3), site.input(5), -1)
    y = sketch.op("MatMul", a, b)
    bias = site.input(6)
    return (y if bias is None else sketch.op("Add", y, bias),)


@lower("com.microsoft.DynamicQuantizeLSTM")
def lstm(sketch: Sketch, site: Site) -> tuple[Seen, ...] | None:
    """Forward: LSTM with W, R `[dirs, D, 4H]` dequantised, one scale per direction or column."""
    factors = []
    for index, scale in ((1, 8), (2, 10)):
        weight = site.required(index)
        step, zero = (_columns(sketch, site.input(scale + i)) for i in range(2))
        assert step is not None
        factors.append(sketch.op("Transpose", real(sketch, weight, step, zero), perm=[0, 2, 1]))
    inputs = (site.required(0), *factors, *site.inputs[3:8])
    return _as(sketch, site, "LSTM", inputs, dict(site.attributes))


def _columns(sketch: Sketch, value: Value | None) -> Value | None:
    """`[dirs]` -> `[dirs, 1, 1]`, `[dirs, 4H]` -> `[dirs, 1, 4H]`."""
    if value is None or value.size == 1:
        return value
    if value.rank not in {1, 2}:
        raise UnsupportedOp("the rank of its scales is not known")
    return sketch.op("Unsqueeze", value, [1, 2] if value.rank == 1 else [1])


def _as(
    sketch: Sketch,
    site: Site,
    op: str,
    inputs: tuple[Value | None, ...],
    attributes: dict[str, Attribute],
) -> tuple[Seen, ...] | None:
    """Lower a site as the operator of floating-point numbers that it stands for."""
    domain = "com.microsoft" if op.startswith("com.") else ""
    if op not in LOWERINGS:
        raise UnsupportedOp(f"{op} of floating-point numbers is not described")
    return LOWERINGS[op](
        sketch, replace(site, op=op, domain=domain, inputs=inputs, attributes=attributes)
    )


@lower("com.microsoft.QAttention")
def attention(sketch: Sketch, site: Site) -> tuple[Seen, ...] | None:
    """Forward: Attention of the dequantised input and weight."""
    x = real(sketch, site.required(0), site.required(3), site.input(6))
    weight = real(sketch, site.required(1), site.required(4), site.input(7), -1)
    inputs = (x, weight, site.input(2), site.input(5), site.input(8))
    return _as(sketch, site, "com.microsoft.Attention", inputs, dict(site.attributes))


@lower("com.microsoft.QEmbedLayerNormalization")
def embedding(sketch: Sketch, site: Site) -> tuple[Seen, ...] | None:
    """Forward: EmbedLayerNormalization of the dequantised tables, gamma and beta."""
    tables: list[Value | None] = []
    for index in range(5):
        table, scale = site.input(2 + index), site.input(8 + index)
        if table is not None and scale is not None:
            table = real(sketch, table, scale, site.input(13 + index))
        tables.append(table)
    inputs = (*site.inputs[:2], *tables, site.input(7))
    attributes = kept(site, "epsilon")
    return _as(sketch, site, "com.microsoft.EmbedLayerNormalization", inputs, attributes)


def _digits(sketch: Sketch, packed: Value, bits: int) -> Value:
    """Numbers of few bits that lie in bytes, the lowest first: `[..., B]` -> `[..., B 8/bits]`."""
    rest = sketch.op("Cast", packed, to=TensorProto.FLOAT)
    if bits == 8:
        return rest
    parts: list[Value] = []
    for _ in range(8 // bits):
        high = sketch.op("Floor", sketch.op("Div", rest, float(2**bits)))
        parts.append(sketch.op("Sub", rest, sketch.op("Mul", high, float(2**bits))))
        rest = high
    columns = [sketch.op("Unsqueeze", part, [-1]) for part in parts]
    together = sketch.op("Concat", *columns, axis=-1)
    shape = sketch.op("Concat", sketch.op("Shape", packed, end=-1), [-1], axis=0)
    return sketch.op("Reshape", together, shape)


@lower("com.microsoft.MatMulNBits")
def matmul_bits(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = x W^T + b; W `[N, K]` lies in blocks along K, with a scale for each."""
    n, k, bits = site.integer("N"), site.integer("K"), site.integer("bits", 4)
    if site.input(4) is not None or bits not in {2, 4, 8} or site.integer("weight_prepacked"):
        raise UnsupportedOp("its weights are reordered, prepacked or of another number of bits")
    size = site.integer("block_size")
    blocks = -(-k // size)
    w = sketch.op("Reshape", _digits(sketch, site.required(1), bits), [n, blocks, size])
    w = sketch.op("Sub", w, _middle(sketch, site, (n, blocks), bits))
    w = sketch.op("Mul", w, sketch.op("Reshape", site.required(2), [n, blocks, 1]))
    w = sketch.op("Slice", sketch.op("Reshape", w, [n, blocks * size]), [0], [k], [1])
    y = sketch.op("MatMul", site.required(0), sketch.op("Transpose", w, perm=[1, 0]))
    bias = site.input(5)
    return (y if bias is None else sketch.op("Add", y, bias),)


def _middle(sketch: Sketch, site: Site, shape: tuple[int, int], bits: int) -> Value:
    """The zero points, `[N, blocks, 1]`; the middle of the range where there are none."""
    zero, (n, blocks) = site.input(3), shape
    if zero is None:
        return sketch.t.scalar(float(2 ** (bits - 1)))
    if zero.dtype == TensorProto.UINT8:
        rows = sketch.op("Reshape", zero, [n, -1])
        zero = sketch.op("Slice", _digits(sketch, rows, bits), [0], [blocks], [1])
    return sketch.op("Reshape", zero, [n, blocks, 1])


@lower("com.microsoft.GatherBlockQuantized")
def gather_blocks(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: rows of a table whose numbers have a scale per block along one axis."""
    data, indices, scale, zero = *site.inputs[:3], site.input(3)
    assert data is not None
    assert indices is not None
    assert scale is not None
    bits, size = site.integer("bits", 4), site.integer("block_size", 128)
    axis = site.integer("quantize_axis", 1) % (data.rank or 2)
    packed = data.dtype == TensorProto.UINT8
    if packed:
        if axis != (data.rank or 2) - 1:
            raise UnsupportedOp("its packed axis is not the last one")
        data = _digits(sketch, data, bits)
        zero = (
            sketch.t.scalar(float(2 ** (bits - 1))) if zero is None else _digits(sketch, zero, bits)
        )
    table = real(sketch, data, scale, zero, axis, size)
    return (sketch.op("Gather", table, indices, axis=site.integer("gather_axis")),)
