"""Normalisations that ONNX Runtime writes, with what it fuses into them."""

from onnx import TensorProto

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site
from onnxlrp.lower.registry import lower
from onnxlrp.lower.sketch import Seen, Sketch

__all__ = ["root_mean_square"]


def root_mean_square(
    sketch: Sketch, x: Value, gamma: Value | None, epsilon: float, axis: int = -1
) -> Value:
    """Return x / Sqrt(mean(x^2) + epsilon) * gamma, over the axes from `axis` on."""
    rank = x.rank
    if rank is None and axis != -1:
        raise UnsupportedOp("its input has no known rank")
    axes = [-1] if rank is None else list(range(axis % rank, rank))
    square = sketch.op("ReduceMean", sketch.op("Mul", x, x), axes, keepdims=1)
    root = sketch.op("Sqrt", sketch.op("Add", square, epsilon))
    y = sketch.op("Div", x, root)
    return y if gamma is None else sketch.op("Mul", y, gamma)


@lower("SimplifiedLayerNormalization", "com.microsoft.SimplifiedLayerNormalization")
def simplified(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = x / Sqrt(mean(x^2) + epsilon) * gamma."""
    _only(site, {0})
    axis = site.integer("axis", -1)
    epsilon = site.number("epsilon", 1e-5)
    return (root_mean_square(sketch, site.required(0), site.input(1), epsilon, axis),)


@lower("com.microsoft.LayerNormalization")
def layer_normalization(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: the standard LayerNormalization."""
    _only(site, {0})
    epsilon = site.number("epsilon", 1e-5)
    axis = site.integer("axis", -1)
    return (sketch.op("LayerNormalization", *site.inputs, axis=axis, epsilon=epsilon),)


@lower("com.microsoft.SkipLayerNormalization")
def skip(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: s = x + skip + bias; y = LayerNormalization(s)."""
    _only(site, {0, 3})
    total = _summed(sketch, site, 4)
    epsilon = site.number("epsilon", 1e-12)
    y = sketch.op(
        "LayerNormalization", total, site.input(2), site.input(3), axis=-1, epsilon=epsilon
    )
    return y, None, None, total


@lower("com.microsoft.SkipSimplifiedLayerNormalization")
def skip_simplified(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: s = x + skip + bias; y = s / Sqrt(mean(s^2) + epsilon) * gamma."""
    _only(site, {0, 3})
    total = _summed(sketch, site, 3)
    y = root_mean_square(sketch, total, site.input(2), site.number("epsilon", 1e-12))
    return y, None, None, total


def _summed(sketch: Sketch, site: Site, index: int) -> Value:
    """The two branches, and the bias behind the one that ends with a map."""
    branches = [site.required(0), site.required(1)]
    bias = site.input(index)
    if bias is not None:
        maps = [_is_map(sketch, value) for value in branches]
        chosen = int(maps[1] and not maps[0])
        branches[chosen] = sketch.op("Add", branches[chosen], bias)
    return sketch.op("Add", *branches)


def _is_map(sketch: Sketch, value: Value) -> bool:
    site = sketch.view.producer(value)
    return site is not None and site.op in {"Gemm", "MatMul"}


@lower("com.microsoft.EmbedLayerNormalization")
def embed(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: s = word[ids] + segment[segments] + position[positions]; y = LN(s).

    The second output counts the tokens that the mask lets through.
    """
    ids, segments, mask, positions = (site.input(index) for index in (0, 1, 7, 8))
    assert ids is not None
    total = sketch.op("Gather", site.required(2), ids, axis=0)
    if segments is not None:
        total = sketch.op("Add", total, sketch.op("Gather", site.required(4), segments, axis=0))
    table = site.required(3)
    if positions is None:
        place = _first_rows(sketch, table, ids)
    else:
        place = sketch.op("Gather", table, positions, axis=0)
    total = sketch.op("Add", total, place)
    epsilon = site.number("epsilon", 1e-12)
    y = sketch.op(
        "LayerNormalization", total, site.required(5), site.required(6), axis=-1, epsilon=epsilon
    )
    return y, _count(sketch, ids, mask), total


def _first_rows(sketch: Sketch, table: Value, ids: Value) -> Value:
    """As many rows of a table as there are tokens."""
    rows = sketch.op("Slice", table, [0], sketch.op("Shape", ids, start=1, end=2), [0])
    if ids.shape is None or table.shape is None or not rows.variable:
        return rows
    return sketch.typed(rows, (ids.shape[1], table.shape[1]))


def _count(sketch: Sketch, ids: Value, mask: Value | None) -> Value:
    """Number `[B]` of tokens; zero where there is no mask."""
    if mask is not None:
        whole = sketch.op("Cast", mask, to=TensorProto.INT32)
        return sketch.op("ReduceSum", whole, [1], keepdims=0)
    empty = sketch.op("Cast", 0.0, to=TensorProto.INT32)
    return sketch.op("Expand", empty, sketch.op("Shape", ids, start=0, end=1))


def _only(site: Site, known: set[int]) -> None:
    """Refuse a model that reads the mean or the deviation, which inference need not compute."""
    for index, value in enumerate(site.outputs):
        if value is not None and index not in known:
            raise UnsupportedOp(f"its output {index} is asked for")
