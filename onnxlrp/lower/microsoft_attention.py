"""Attention and MultiHeadAttention of `com.microsoft` by MatMul, masks and Softmax."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from onnx import TensorProto

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site
from onnxlrp.lower.microsoft_fused import swapped
from onnxlrp.lower.registry import lower
from onnxlrp.lower.sketch import Seen, Sketch

__all__ = ["Score", "as_heads", "attend", "extent", "known_dim", "let_through", "merged", "numbers"]

LOWEST = float(np.finfo(np.float32).min)


@dataclass(frozen=True, kw_only=True)
class Score:
    """How products of queries and keys become weights.

    Attributes:
        scale: Factor of the products.
        masks: What is added to them, `[B, N, S, T]` or broadcast to it.
        softcap: Bound that a Tanh imposes; 0 for none.
        sink: Score `[1, N, 1, 1]` of a key without a value; None for none.
    """

    scale: float
    masks: Sequence[Value] = field(default=())
    softcap: float = 0.0
    sink: Value | None = None


def attend(sketch: Sketch, q: Value, k: Value, v: Value, score: Score) -> Value:
    """Softmax(q k^T scale + masks) v; q `[B, N, S, D]`, k `[B, N, T, D]`, v `[B, N, T, E]`."""
    rank = len(k.shape or ())
    turned = swapped(sketch, k, *range(rank - 2), rank - 1, rank - 2)
    z = sketch.op("Mul", sketch.op("MatMul", q, turned), score.scale)
    if score.softcap:
        capped = sketch.op("Tanh", sketch.op("Div", z, score.softcap))
        z = sketch.op("Mul", capped, score.softcap)
    for mask in score.masks:
        z = sketch.op("Add", z, mask)
    if score.sink is None:
        return sketch.op("MatMul", sketch.op("Softmax", z, axis=-1), v)
    shape = sketch.op("Concat", sketch.op("Shape", z, start=0, end=-1), [1], axis=0)
    wide = sketch.op("Concat", z, sketch.op("Expand", score.sink, shape), axis=-1)
    weights = sketch.op("Softmax", wide, axis=-1)
    return sketch.op("MatMul", sketch.op("Slice", weights, [0], [-1], [-1]), v)


def known_dim(value: Value, axis: int) -> int:
    """A dimension that must be known at compile time."""
    dim = None if value.shape is None else value.shape[axis]
    if not isinstance(dim, int):
        raise UnsupportedOp(f"dimension {axis} of '{value.name}' is not known")
    return dim


def extent(sketch: Sketch, value: Value, axis: int) -> Value:
    """A dimension as an int64 scalar."""
    shape = sketch.op("Shape", value, start=axis, end=axis + 1)
    return sketch.op("Squeeze", shape, [0])


def numbers(sketch: Sketch, value: Value, axis: int) -> Value:
    """0, 1, ... as many as a value has places along an axis."""
    t = sketch.t
    row = sketch.op("Range", t.constant_int(0), extent(sketch, value, axis), t.constant_int(1))
    dim = None if value.shape is None else value.shape[axis]
    return sketch.typed(row, (dim,)) if isinstance(dim, str) else row


def as_heads(sketch: Sketch, x: Value, heads: int) -> Value:
    """`[B, S, N D]` -> `[B, N, S, D]`."""
    return swapped(
        sketch, sketch.op("Reshape", x, [0, 0, heads, known_dim(x, -1) // heads]), 0, 2, 1, 3
    )


def merged(sketch: Sketch, x: Value) -> Value:
    """`[B, N, S, D]` -> `[B, S, N D]`."""
    size = known_dim(x, 1) * known_dim(x, 3)
    return sketch.op("Reshape", swapped(sketch, x, 0, 2, 1, 3), [0, 0, size])


def let_through(sketch: Sketch, allowed: Value, otherwise: float = LOWEST) -> Value:
    """0 where a query may see a key, a very low number elsewhere."""
    return sketch.op("Where", allowed, 0.0, otherwise)


def _causal(sketch: Sketch, queries: Value, keys: Value) -> Value:
    """Which of T keys each of S queries may see: `[S, T]`, the last query the last key."""
    total, count = extent(sketch, keys, 2), extent(sketch, queries, 2)
    places = sketch.op("Add", numbers(sketch, queries, 2), sketch.op("Sub", total, count))
    row = sketch.op("Unsqueeze", places, [1])
    return let_through(sketch, sketch.op("LessOrEqual", numbers(sketch, keys, 2), row))


def _padding(sketch: Sketch, site: Site, mask: Value, queries: Value, keys: Value) -> Value:
    """The mask of either operator, whatever its form, as a summand of the scores."""
    otherwise = site.number("mask_filter_value", -10000.0)
    rank = mask.rank
    if rank == 1:
        return let_through(sketch, _inside(sketch, mask, queries, keys), otherwise)
    if rank == 4:
        mask = _corner(sketch, mask, queries, keys)
    elif rank in {2, 3}:
        mask = sketch.op("Unsqueeze", mask, [1, 2] if rank == 2 else [1])
    else:
        raise UnsupportedOp("the rank of its mask is not known")
    whole = sketch.op("Cast", mask, to=TensorProto.INT64)
    return let_through(sketch, sketch.op("Greater", whole, sketch.t.constant_int(0)), otherwise)


def _corner(sketch: Sketch, mask: Value, queries: Value, keys: Value) -> Value:
    """The part of a mask `[B, 1, M, M]` that speaks of the last S of T places."""
    total, count = (extent(sketch, value, 2) for value in (keys, queries))
    first = sketch.op("Sub", total, count)
    starts = sketch.op("Unsqueeze", first, [0])
    stops = sketch.op("Unsqueeze", total, [0])
    rows = sketch.op("Slice", mask, starts, stops, [2])
    return sketch.op("Slice", rows, [0], stops, [3])


def _inside(sketch: Sketch, mask: Value, queries: Value, keys: Value) -> Value:
    """Which keys lie before the ends `[B]`, and behind the starts of `[ends, starts]`."""
    batch, count = (queries.shape or (None,))[0], (mask.shape or (None,))[0]
    places = numbers(sketch, keys, 2)
    limits = sketch.op("Cast", mask, to=TensorProto.INT64)
    if batch is not None and count == batch:
        return sketch.op("Less", places, sketch.op("Unsqueeze", limits, [1, 2, 3]))
    if isinstance(batch, int) and isinstance(count, int) and count != 2 * batch:
        raise UnsupportedOp("it is not known what the entries of its mask mean")
    size = sketch.op("Shape", queries, start=0, end=1)
    padded = sketch.op("Concat", limits, sketch.op("Mul", limits, sketch.t.constant_int(0)), axis=0)
    ends = sketch.op("Slice", padded, [0], size, [0])
    starts = sketch.op("Slice", padded, size, sketch.op("Add", size, size), [0])
    starts, ends = (sketch.op("Unsqueeze", part, [1, 2, 3]) for part in (starts, ends))
    behind = sketch.op("GreaterOrEqual", places, starts)
    return sketch.op("And", behind, sketch.op("Less", places, ends))


def _score(sketch: Sketch, site: Site, q: Value, k: Value, masks: Sequence[Value | None]) -> Score:
    """The scale, the padding mask, the order of time and the bias of a site."""
    padding, bias = masks
    summands = [] if padding is None else [_padding(sketch, site, padding, q, k)]
    if site.integer("unidirectional"):
        summands.append(_causal(sketch, q, k))
    if bias is not None:
        summands.append(bias)
    scale = site.number("scale") or known_dim(q, -1) ** -0.5
    return Score(scale=scale, masks=summands)


@lower("com.microsoft.Attention")
def attention(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: q, k, v are the parts of x W + b; y = Softmax(q k^T scale + masks) v."""
    if site.integer("do_rotary") or site.integer("past_present_share_buffer"):
        raise UnsupportedOp("it rotates its keys or shares a buffer with its past")
    x = sketch.op("MatMul", site.required(0), site.required(1))
    bias = site.input(2)
    x = x if bias is None else sketch.op("Add", x, bias)
    sizes = site.integers("qkv_hidden_sizes") or [known_dim(x, -1) // 3] * 3
    heads = site.integer("num_heads")
    parts = sketch.ops("Split", x, sizes, outputs=3, axis=-1)
    q, k, v = (as_heads(sketch, part, heads) for part in parts)
    past, present = site.input(4), None
    if past is not None:
        old = sketch.ops("Split", past, outputs=2, axis=0, num_outputs=2)
        k, v = (
            sketch.op("Concat", sketch.op("Squeeze", before, [0]), new, axis=2)
            for before, new in zip(old, (k, v), strict=True)
        )
    if len(site.outputs) > 1 and site.outputs[1] is not None:
        both = [sketch.op("Unsqueeze", value, [0]) for value in (k, v)]
        present = sketch.op("Concat", *both, axis=0)
    score = _score(sketch, site, q, k, (site.input(3), site.input(5)))
    return merged(sketch, attend(sketch, q, k, v, score)), present


@lower("com.microsoft.MultiHeadAttention")
def multi_head_attention(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Softmax(q k^T scale + masks) v; queries, keys and values may be packed."""
    if site.input(8) is not None or site.input(9) is not None:
        raise UnsupportedOp("it shares a buffer with its past")
    if len(site.outputs) > 3 and site.outputs[3] is not None:
        raise UnsupportedOp("its output 3 is asked for")
    q, k, v = _parts(sketch, site)
    past = site.input(6), site.input(7)
    if past[0] is not None:
        k = sketch.op("Concat", past[0], k, axis=2)
    if past[1] is not None:
        v = sketch.op("Concat", past[1], v, axis=2)
    score = _score(sketch, site, q, k, (site.input(4), site.input(5)))
    return merged(sketch, attend(sketch, q, k, v, score)), k, v


def _parts(sketch: Sketch, site: Site) -> list[Value]:
    """Queries, keys and values, each `[B, N, S, D]`."""
    given = [value for value in site.inputs[:3] if value is not None]
    heads = site.integer("num_heads")
    bias = site.input(3)
    if bias is not None:
        given = _with_bias(sketch, given, bias)
    parts: list[Value] = []
    for value in given:
        if value.rank == 5:
            parts += _unpacked(sketch, value, 4 - len(given))
        elif value.rank == 3:
            parts.append(as_heads(sketch, value, heads))
        elif value.rank == 4:
            parts.append(value)
        else:
            raise UnsupportedOp(f"the rank of '{value.name}' is not known")
    if len(parts) != 3:
        raise UnsupportedOp("its queries, keys and values are not packed in a known way")
    return parts


def _unpacked(sketch: Sketch, x: Value, count: int) -> list[Value]:
    """`[B, S, N, count, D]` -> that many `[B, N, S, D]`."""
    parts = sketch.ops("Split", x, outputs=count, axis=3, num_outputs=count)
    return [swapped(sketch, sketch.op("Squeeze", part, [3]), 0, 2, 1, 3) for part in parts]


def _with_bias(sketch: Sketch, given: Sequence[Value], bias: Value) -> list[Value]:
    """Add the parts of a bias to queries, keys and values that are not split into heads."""
    if len(given) < 3 or any(value.rank != 3 for value in given):
        raise UnsupportedOp("its bias belongs to packed values")
    sizes = [known_dim(value, -1) for value in given]
    parts = sketch.ops("Split", bias, sizes, outputs=3, axis=0)
    return [sketch.op("Add", x, part) for x, part in zip(given, parts, strict=True)]
