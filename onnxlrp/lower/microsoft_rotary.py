"""Rotated positions and GroupQueryAttention of `com.microsoft`."""

from dataclasses import dataclass

from onnx import TensorProto

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site
from onnxlrp.lower.microsoft_attention import (
    Score,
    as_heads,
    attend,
    extent,
    known_dim,
    let_through,
    merged,
    numbers,
)
from onnxlrp.lower.microsoft_norm import root_mean_square
from onnxlrp.lower.registry import lower
from onnxlrp.lower.sketch import Seen, Sketch

__all__: list[str] = []


@dataclass(frozen=True)
class Turn:
    """An angle for each place and each pair of elements.

    Attributes:
        cos: Cosines, broadcast to the values that are turned.
        sin: Sines.
        pairs: Number of pairs.
        interleaved: Whether the elements of a pair are neighbours, else halves apart.
    """

    cos: Value
    sin: Value
    pairs: int
    interleaved: bool


def _angles(
    sketch: Sketch, site: Site, tables: tuple[Value, Value], places: Value, axis: int
) -> Turn:
    """The rows of two tables at places `[B, S]`, with an axis for the heads."""
    name = "interleaved" if "interleaved" in site.attributes else "rotary_interleaved"
    cos, sin = (
        sketch.op("Unsqueeze", sketch.op("Gather", table, places, axis=0), [axis])
        for table in tables
    )
    return Turn(cos, sin, known_dim(tables[0], -1), bool(site.integer(name)))


def _turned(sketch: Sketch, x: Value, turn: Turn) -> Value:
    """(a, b) -> (a cos - b sin, a sin + b cos) for each pair of the last axis."""
    size, used = known_dim(x, -1), 2 * turn.pairs
    rest: tuple[Value, ...] = ()
    if used < size:
        x, *others = sketch.ops("Split", x, [used, size - used], outputs=2, axis=-1)
        rest = tuple(others)
    if turn.interleaved:
        x = sketch.op("Reshape", x, [0, 0, 0, turn.pairs, 2])
        a, b = sketch.ops("Split", x, outputs=2, axis=-1, num_outputs=2)
        a, b = (sketch.op("Squeeze", part, [-1]) for part in (a, b))
    else:
        a, b = sketch.ops("Split", x, outputs=2, axis=-1, num_outputs=2)
    real = sketch.op("Sub", sketch.op("Mul", a, turn.cos), sketch.op("Mul", b, turn.sin))
    other = sketch.op("Add", sketch.op("Mul", a, turn.sin), sketch.op("Mul", b, turn.cos))
    if not turn.interleaved:
        return sketch.op("Concat", real, other, *rest, axis=-1)
    real, other = (sketch.op("Unsqueeze", part, [-1]) for part in (real, other))
    pairs = sketch.op("Concat", real, other, axis=-1)
    result = sketch.op("Reshape", pairs, [0, 0, 0, used])
    return sketch.op("Concat", result, *rest, axis=-1) if rest else result


@lower("com.microsoft.RotaryEmbedding")
def rotary_embedding(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: every pair (a, b) of elements is turned by the angle of its place.

    x is `[B, S, N D]` or `[B, N, S, D]`.
    """
    x, places = site.required(0), site.required(1)
    if site.integer("is_packed_batching") or site.number("scale", 1.0) != 1.0:
        raise UnsupportedOp("it scales, or its batch is packed")
    flat = x.rank == 3
    if places.rank == 1:
        steps = numbers(sketch, x, 1 if flat else 2)
        places = sketch.op("Unsqueeze", sketch.op("Add", steps, places), [0])
    tables = site.required(2), site.required(3)
    turn = _angles(sketch, site, tables, places, 2 if flat else 1)
    if not flat:
        return (_turned(sketch, x, turn),)
    width = known_dim(x, -1)
    size = 2 * turn.pairs
    if site.integer("rotary_embedding_dim"):
        size = width // site.integer("num_heads")
    heads = sketch.op("Reshape", x, [0, 0, width // size, size])
    return (sketch.op("Reshape", _turned(sketch, heads, turn), [0, 0, width]),)


@dataclass(frozen=True)
class Places:
    """Where queries and keys stand.

    Attributes:
        ends: Number of tokens with the new ones, `[B, 1]`.
        queries: Places of the queries, `[B, S]`.
        keys: Places of old and new keys, `[B, T]`.
        real: Whether an old key is one, `[B, T]`; None where there are no old keys.
    """

    ends: Value
    queries: Value
    keys: Value
    real: Value | None


def _places(sketch: Sketch, site: Site, q: Value) -> Places:
    """Old keys stand first in a buffer that may be longer than what was seen."""
    count = extent(sketch, q, 2)
    total = sketch.op("Cast", site.required(6), to=TensorProto.INT64)
    last = sketch.op("Cast", site.required(5), to=TensorProto.INT64)
    ends = sketch.op("Add", sketch.op("Unsqueeze", last, [1]), sketch.t.constant_int(1))
    first = sketch.op("Equal", sketch.op("Reshape", total, [1, 1]), count)
    zero = sketch.t.constant_int(0)
    before = sketch.op("Where", first, zero, sketch.op("Sub", ends, count))
    queries = sketch.op("Add", numbers(sketch, q, 2), before)
    past = site.input(3)
    if past is None:
        return Places(ends, queries, queries, None)
    old = sketch.op("Add", numbers(sketch, past, 2), sketch.op("Mul", before, zero))
    keys = sketch.op("Concat", old, queries, axis=1)
    new = sketch.op("GreaterOrEqual", queries, before)
    real = sketch.op("Concat", sketch.op("Less", old, before), new, axis=1)
    return Places(ends, queries, keys, real)


def _visible(sketch: Sketch, site: Site, places: Places) -> Value:
    """Which keys each query may see, `[B, 1, S, T]`."""
    queries = sketch.op("Unsqueeze", places.queries, [1, 3])
    keys = sketch.op("Unsqueeze", places.keys, [1, 2])
    ends = sketch.op("Unsqueeze", places.ends, [2, 3])
    allowed = sketch.op(
        "And", sketch.op("LessOrEqual", keys, queries), sketch.op("Less", keys, ends)
    )
    window = site.integer("local_window_size", -1)
    if window > 0:
        near = sketch.op("Greater", keys, sketch.op("Sub", queries, sketch.t.constant_int(window)))
        allowed = sketch.op("And", allowed, near)
    if places.real is not None:
        allowed = sketch.op("And", allowed, sketch.op("Unsqueeze", places.real, [1, 2]))
    return let_through(sketch, allowed)


@lower("com.microsoft.GroupQueryAttention")
def group_query_attention(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Softmax(q k^T scale + masks) v, where groups of queries share keys and values.

    The mask lets each token see itself and those before; old keys and values come first.
    """
    _check(site)
    heads, shared = site.integer("num_heads"), site.integer("kv_num_heads")
    q, k, v = _three(sketch, site, heads, shared)
    places = _places(sketch, site, q)
    if site.integer("do_rotary"):
        at = site.input(9) or places.queries
        turn = _angles(sketch, site, (site.required(7), site.required(8)), at, 1)
        q, k = _turned(sketch, q, turn), _turned(sketch, k, turn)
    past = site.input(3), site.input(4)
    if past[0] is not None and past[1] is not None:
        k = sketch.op("Concat", past[0], k, axis=2)
        v = sketch.op("Concat", past[1], v, axis=2)
    bias = site.input(10)
    masks = [_visible(sketch, site, places), *([] if bias is None else [bias])]
    score = Score(
        scale=site.number("scale") or known_dim(q, -1) ** -0.5,
        masks=masks,
        softcap=site.number("softcap"),
        sink=_sink(sketch, site, heads),
    )
    group = heads // shared
    if group > 1:
        k, v = (_repeated(sketch, value, group) for value in (k, v))
    return merged(sketch, attend(sketch, q, k, v, score)), None, None


def _check(site: Site) -> None:
    """Refuse what is not described."""
    past, bias = site.input(3), site.input(10)
    if not site.integer("causal", 1) or site.integer("sliding_window_cache"):
        raise UnsupportedOp("it sees tokens that come later, or drops old keys")
    if past is not None and not past.is_float:
        raise UnsupportedOp("its past is quantised")
    if bias is not None and past is not None and known_dim(past, 2):
        raise UnsupportedOp("its bias speaks of old keys")
    if len(site.outputs) > 3 and site.outputs[3] is not None:
        raise UnsupportedOp("its output 3 is asked for")


def _three(sketch: Sketch, site: Site, heads: int, shared: int) -> list[Value]:
    """Queries, keys and values, each `[B, N, S, D]`."""
    q, k, v = site.required(0), site.input(1), site.input(2)
    if k is None or v is None:
        size = known_dim(q, -1) // (heads + 2 * shared)
        sizes = [heads * size, shared * size, shared * size]
        q, k, v = sketch.ops("Split", q, sizes, outputs=3, axis=-1)
    values = [as_heads(sketch, x, n) for x, n in ((q, heads), (k, shared), (v, shared))]
    epsilon = site.number("qk_norm_epsilon", 1e-6)
    for index, gamma in enumerate((site.input(14), site.input(15))):
        if gamma is not None:
            values[index] = root_mean_square(sketch, values[index], gamma, epsilon)
    return values


def _repeated(sketch: Sketch, x: Value, group: int) -> Value:
    """Every head as often as queries share it: `[B, K, T, D]` -> `[B, K group, T, D]`."""
    heads, size = known_dim(x, 1), known_dim(x, 3)
    wide = sketch.op("Expand", sketch.op("Unsqueeze", x, [2]), [1, 1, group, 1, 1])
    flat = sketch.op("Reshape", wide, [0, heads * group, -1, size])
    assert x.shape is not None
    return sketch.typed(flat, (x.shape[0], heads * group, x.shape[2], size))


def _sink(sketch: Sketch, site: Site, heads: int) -> Value | None:
    """The score of a key without a value: learned for each head, or zero."""
    learned = site.input(11)
    if learned is not None:
        return sketch.op("Reshape", learned, [1, heads, 1, 1])
    return sketch.t.scalar(0.0) if site.integer("smooth_softmax") == 1 else None
