"""Numbers behind quantised tensors: (q - zero point) * scale in float32, without the rounding."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site
from onnxlrp.lower.sketch import Sketch

__all__ = [
    "KEEPS",
    "RANGES",
    "centred",
    "grid",
    "marked",
    "number",
    "prepared",
    "raw",
    "reads_scales",
    "real",
    "saturate",
    "saturated",
]

RANGES: dict[int, tuple[int, int]] = {
    TensorProto.UINT8: (0, 255),
    TensorProto.INT8: (-128, 127),
    TensorProto.UINT16: (0, 65535),
    TensorProto.INT16: (-32768, 32767),
    TensorProto.UINT4: (0, 15),
    TensorProto.INT4: (-8, 7),
    TensorProto.UINT2: (0, 3),
    TensorProto.INT2: (-2, 1),
    TensorProto.FLOAT8E4M3FN: (-448, 448),
    TensorProto.FLOAT8E4M3FNUZ: (-240, 240),
    TensorProto.FLOAT8E5M2: (-57344, 57344),
    TensorProto.FLOAT8E5M2FNUZ: (-57344, 57344),
    TensorProto.FLOAT4E2M1: (-6, 6),
}
"""What the element types of quantised tensors can hold."""

FLOATING = frozenset({
    TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E4M3FNUZ, TensorProto.FLOAT8E5M2,
    TensorProto.FLOAT8E5M2FNUZ, TensorProto.FLOAT4E2M1,
})  # fmt: skip

KEEPS = frozenset({
    "Compress", "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather",
    "GatherElements", "GatherND", "GlobalMaxPool", "Identity", "MaxPool", "Pad", "ReduceMax",
    "ReduceMin", "Reshape", "Resize", "ReverseSequence", "ScatterElements", "ScatterND", "Slice",
    "SpaceToDepth", "Split", "Squeeze", "Tile", "TopK", "Transpose", "Trilu", "Unsqueeze",
    "Upsample", "Where", "com.microsoft.NhwcMaxPool",
})  # fmt: skip
"""Operators that move or choose quantised numbers: their outputs have the scale of the input."""

MIXED = frozenset({"Add", "Clip", "Div", "Max", "Min", "Mul", "Sub", "Sum"})
"""Arithmetic of accumulators, which the view holds as float32, with integer constants."""


def reads_scales(op: str) -> bool:
    """Whether an operator, written `domain.name`, is one of quantised models."""
    name = op.rsplit(".", 1)[-1]
    return (
        "uantize" in name or name.endswith("Integer") or name in {"MatMulIntegerToFloat", "QGemm"}
    ) or name.startswith(("QLinear", "QAttention", "QEmbed", "MatMulNBits", "GatherBlockQuant"))


def number(sketch: Sketch, value: Value) -> Value:
    """A scale or zero point as float32; one element becomes a scalar."""
    if value.size == 1 and value.constant is not None:
        return sketch.t.scalar(float(value.constant.reshape(-1)[0].astype(np.float32)))
    if value.dtype == TensorProto.FLOAT:
        return value
    return sketch.t.op("Cast", value, to=TensorProto.FLOAT)


def grid(
    sketch: Sketch,
    like: Value,
    scale: Value,
    zero: Value | None,
    axis: int = 1,
    block: int = 0,
) -> tuple[Value, Value]:
    """Scale and zero point as float32, in shapes that broadcast to a quantised tensor.

    Args:
        sketch: Receives the nodes.
        like: The tensor.
        scale: One number, `[D]` along an axis, or one for each block along it.
        zero: The same for the zero point; None: 0.
        axis: The axis.
        block: Length of a block; 0: no blocks.
    """
    offset = sketch.t.scalar(0.0) if zero is None else _laid(sketch, like, zero, axis, block)
    return _laid(sketch, like, scale, axis, block), offset


def _laid(sketch: Sketch, like: Value, value: Value, axis: int, block: int) -> Value:
    found = number(sketch, value)
    if found.size == 1:
        return found
    rank = like.rank
    if rank is None or found.rank is None:
        raise UnsupportedOp("the rank of its input or of its scale is not known")
    if found.rank == 0:
        return found
    axis %= max(rank, 1)
    if found.rank == 1 and not block:
        return sketch.t.op("Reshape", found, [1] * axis + [-1] + [1] * (rank - axis - 1))
    return _repeated(sketch, like, found, axis, block) if block else found


def _repeated(sketch: Sketch, like: Value, value: Value, axis: int, block: int) -> Value:
    """One number for each block along an axis -> one for each element."""
    t, rank = sketch.t, like.rank or 0
    parted = t.op("Unsqueeze", value, [axis + 1])
    wide = t.op("Tile", parted, [block if i == axis + 1 else 1 for i in range(rank + 1)])
    head, tail = t.op("Shape", value, end=axis), t.op("Shape", value, start=axis + 1)
    joined = t.op("Reshape", wide, t.op("Concat", head, [-1], tail, axis=0))
    dim = None if like.shape is None else like.shape[axis]
    length = [dim] if isinstance(dim, int) else t.op("Shape", like, start=axis, end=axis + 1)
    return t.op("Slice", joined, [0], length, [axis])


def _same(one: Value, two: Value) -> bool:
    if one is two:
        return True
    first, second = one.constant, two.constant
    return first is not None and second is not None and np.array_equal(first, second)


def raw(sketch: Sketch, value: Value) -> Value:
    """The quantised numbers themselves, as float32."""
    known = sketch.scales.get(value)
    if known is None:
        return value
    centred = sketch.op("Div", value, known[0])
    return centred if known[1].is_zero else sketch.op("Add", centred, known[1])


def centred(sketch: Sketch, value: Value, zero: Value | None, axis: int = 1) -> Value:
    """The integers less their zero point, as float32."""
    _, offset = grid(sketch, value, sketch.t.scalar(1.0), zero, axis)
    known = sketch.scales.get(value)
    if known is not None and _same(known[1], offset):
        return sketch.op("Div", value, known[0])
    return _shifted(sketch, value, offset)


def _shifted(sketch: Sketch, value: Value, offset: Value) -> Value:
    found = raw(sketch, value)
    if found.dtype != TensorProto.FLOAT:
        found = sketch.op("Cast", found, to=TensorProto.FLOAT)
    return found if offset.is_zero else sketch.op("Sub", found, offset)


def real(
    sketch: Sketch, value: Value, scale: Value, zero: Value | None, axis: int = 1, block: int = 0
) -> Value:
    """(q - zero point) * scale as float32; what already stands for it is returned as it is."""
    step, offset = grid(sketch, value, scale, zero, axis, block)
    known = sketch.scales.get(value)
    if known is not None and _same(known[0], step) and _same(known[1], offset):
        return value
    return sketch.op("Mul", _shifted(sketch, value, offset), step)


def marked(sketch: Sketch, op: str, inputs: Sequence[Value], scale: Value, zero: Value) -> Value:
    """Emit an operator whose output stands for quantised numbers of its own."""
    opset = sketch.t.graph.opset
    site = Site(sketch.t.scope, op, tuple(inputs), (), nodes=sketch.nodes, opset=opset)
    result = sketch.emit(site, [(TensorProto.FLOAT, inputs[0].shape)], {})[0]
    assert result is not None
    sketch.scales[result] = scale, zero
    return result


def saturate(sketch: Sketch, x: Value, scale: Value, zero: Value | None, dtype: int) -> Value:
    """What quantisation to an element type leaves of a value: its range; no rounding.

    A constant is rounded as well.
    """
    return saturated(sketch, x, grid(sketch, x, scale, zero), dtype)


def saturated(sketch: Sketch, x: Value, steps: tuple[Value, Value], dtype: int) -> Value:
    """The same for a scale and a zero point that broadcast to the value."""
    if dtype not in RANGES:
        raise UnsupportedOp(f"quantised numbers of type {TensorProto.DataType.Name(dtype)}")
    t, (low, high), (scale, zero) = sketch.t, RANGES[dtype], steps
    if x.variable and scale.size == 1 and zero.size == 1:
        bounds = [_scaled(sketch, end, scale, zero) for end in (low, high)]
        return marked(sketch, "Clip", [x, *bounds], scale, zero)
    found = sketch.op("Div", x, scale)
    if not x.variable:
        found = _rounded(sketch, found, dtype)
    ends = [t.op("Sub", end, zero) for end in (float(low), float(high))]
    inside = sketch.op("Min", sketch.op("Max", found, ends[0]), ends[1])
    return marked(sketch, "Mul", [inside, scale], scale, zero)


def _scaled(sketch: Sketch, end: float, scale: Value, zero: Value) -> Value:
    """(end - zero point) * scale."""
    if scale.constant is not None and zero.constant is not None:
        low, step = (float(value.reshape(-1)[0]) for value in (zero.constant, scale.constant))
        return sketch.t.scalar((end - low) * step)
    return sketch.t.op("Mul", sketch.t.op("Sub", float(end), zero), scale)


def _rounded(sketch: Sketch, steps: Value, dtype: int) -> Value:
    if dtype in FLOATING:
        return sketch.op("Cast", sketch.op("Cast", steps, to=dtype), to=TensorProto.FLOAT)
    return sketch.op("Round", steps)


def prepared(sketch: Sketch, site: Site) -> tuple[Site, tuple[Value, Value] | None]:
    """Give an operator that keeps the scale what its inputs stand for; else the raw numbers.

    Returns:
        The site, and the scale and zero point of its outputs.
    """
    known = next((sketch.scales[v] for v in site.sources if v in sketch.scales), None)
    if known is None:
        return _together(sketch, site), None
    if site.op not in KEEPS or not _agree(sketch, site, known):
        inputs = tuple(None if v is None else raw(sketch, v) for v in site.inputs)
        return _together(sketch, replace(site, inputs=inputs)), None
    inputs = tuple(
        real(sketch, v, *known) if v is not None and v.dtype in RANGES else v for v in site.inputs
    )
    if site.op == "Pad" and site.input(2) is None and not known[1].is_zero:
        floor = sketch.t.op("Mul", sketch.t.op("Sub", 0.0, known[1]), known[0])
        inputs = (*inputs[:2], floor, *inputs[3:])
    return replace(site, inputs=inputs), known


def _agree(sketch: Sketch, site: Site, known: tuple[Value, Value]) -> bool:
    """Whether all quantised inputs have one scale, which holds for all their elements."""
    every = [sketch.scales[v] for v in site.sources if v in sketch.scales]
    one = all(item.size == 1 for item in known)
    return one and all(_same(s, known[0]) and _same(z, known[1]) for s, z in every)


def _together(sketch: Sketch, site: Site) -> Site:
    """Let integer constants follow accumulators that the view holds as float32."""
    kinds = {value.dtype for value in site.sources}
    if TensorProto.FLOAT not in kinds or len(kinds) < 2 or site.op not in MIXED | KEEPS:
        return site
    few = frozenset(RANGES) | ({TensorProto.INT32} if site.op in MIXED else set())
    inputs = (number(sketch, v) if v is not None and v.dtype in few else v for v in site.inputs)
    return replace(site, inputs=tuple(inputs))
