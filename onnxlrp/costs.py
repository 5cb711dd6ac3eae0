"""Counts what relevance costs: multiply-adds beside those of the forward pass, derived weights."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Final

from onnx import (
    GraphProto,
    ModelProto,
    NodeProto,
    TensorProto,
    helper,
    numpy_helper,
    shape_inference,
)

from onnxlrp.graph.graph import Value
from onnxlrp.graph.load import build
from onnxlrp.graph.weights import bare
from onnxlrp.metadata import SCOPE

__all__ = ["Cost", "Derived", "count", "multiply_adds"]

Shape = tuple[int, ...]

_LINEAR: Final[Mapping[str, Callable[[Shape, Shape, Shape], int]]] = {
    "Conv": lambda _, w, y: math.prod(y) * math.prod(w[1:]),
    "ConvTranspose": lambda x, w, _: math.prod(x) * math.prod(w[1:]),
    "Gemm": lambda x, _, y: math.prod(x) * y[-1],
    "MatMul": lambda x, _, y: math.prod(y) * x[-1],
}
"""Multiply-adds from the shapes of x, w and y."""

_OPAQUE: Final = frozenset(
    {"ConvInteger", "Einsum", "GRU", "LSTM", "MatMulInteger", "QLinearConv", "QLinearMatMul", "RNN"}
)

_ROUNDS: Final = 4


@dataclass(frozen=True)
class Derived:
    """A value that depends on weights only and that relevance reads; computed once, at load.

    Attributes:
        name: Its name in the explanation graph.
        shape: Its shape; None where it is not known.
        size: Its size in bytes; None where it is not known.
    """

    name: str
    shape: Shape | None
    size: int | None


@dataclass(frozen=True)
class Cost:
    """What an explanation graph computes and holds; a symbolic batch counts as 1.

    Attributes:
        forward: Multiply-adds of the convolutions and matrix products of the model.
        relevance: Multiply-adds of those that carry relevance.
        weights: Bytes of the weights of the model.
        derived: Derived weights, the largest first.
        uncounted: Names of nodes that multiply, but for which no count is known.
    """

    forward: int
    relevance: int
    weights: int
    derived: tuple[Derived, ...]
    uncounted: tuple[str, ...]

    @property
    def passes(self) -> float | None:
        """Multiply-adds of one explanation in forward passes; None without any to compare with."""
        return (self.forward + self.relevance) / self.forward if self.forward else None

    @property
    def derived_size(self) -> int:
        """Bytes of all derived weights of known size."""
        return sum(value.size or 0 for value in self.derived)

    def to_json(self) -> dict[str, object]:
        """The cost as plain lists and dicts."""
        return asdict(self) | {"passes": self.passes, "derived_size": self.derived_size}


def count(model: ModelProto) -> Cost:
    """Count what an explanation graph costs, without running it."""
    model, turns = _opened(model)
    constants, values = _constants(model), _values(model)
    nodes = [node for node in model.graph.node if not constants.issuperset(node.output)]
    counts = [
        (name, None if (n := _multiply_adds(node, values)) is None else n * turns.get(name, 1))
        for node in nodes
        for name in [node.name or node.output[0]]
    ]
    return Cost(
        forward=sum(n or 0 for name, n in counts if not name.startswith(SCOPE)),
        relevance=sum(n or 0 for name, n in counts if name.startswith(SCOPE)),
        weights=sum(map(_bytes, model.graph.initializer)),
        derived=_derived(model, nodes, constants, values),
        uncounted=tuple(name for name, n in counts if n is None),
    )


def _opened(model: ModelProto) -> tuple[ModelProto, dict[str, int]]:
    """One turn of each emitted Loop in its place, and how often each node of it runs.

    An attributor runs the model in such a Loop; the number of its turns is a constant.
    """
    counts = {t.name: t for t in model.graph.initializer if list(t.dims) in ([], [1])}
    turns: dict[str, int] = {}
    opened = ModelProto()
    opened.CopyFrom(model)
    nodes = list(opened.graph.node)
    del opened.graph.node[:]
    for node in nodes:
        known = node.op_type == "Loop" and node.name.startswith(SCOPE) and node.input[0] in counts
        placed = _one_turn(node) if known else [node]
        opened.graph.node.extend(placed)
        if known:
            count = int(numpy_helper.to_array(counts[node.input[0]]).reshape(()))
            turns |= dict.fromkeys((item.name for item in placed), count)
    return opened, turns


def _one_turn(node: NodeProto) -> list[NodeProto]:
    """The body of a Loop as nodes around it; what is stacked gets its axis of turns."""
    body, starts = node.attribute[0].g, list(node.input[2:])
    names = [value.name for value in body.input]
    given = [
        helper.make_node("Constant", [], [names[0]], value_int=0),
        helper.make_node("Constant", [], [names[1]], value_int=1),
    ]
    given += [
        helper.make_node("Identity", [start], [name])
        for start, name in zip(starts, names[2:], strict=True)
    ]
    ends = [value.name for value in body.output][1:]
    axis = f"{node.output[0]}.axis"
    taken = [helper.make_node("Constant", [], [axis], value_ints=[0])]
    for index, (end, name) in enumerate(zip(ends, node.output, strict=True)):
        stacked = index >= len(starts)
        inputs = [end, axis] if stacked else [end]
        taken.append(helper.make_node("Unsqueeze" if stacked else "Identity", inputs, [name]))
    for item in body.node:
        item.name = f"{node.name}/{item.name}"
    return [*given, *body.node, *taken]


def _constants(model: ModelProto) -> set[str]:
    """Initializers that no input overrides, and what is computed from such alone."""
    given = {info.name for info in model.graph.input}
    known = {"", *(tensor.name for tensor in model.graph.initializer)} - given
    known.update(tensor.values.name for tensor in model.graph.sparse_initializer)
    for node in model.graph.node:
        if not _has_body(node) and known.issuperset(node.input):
            known.update(node.output)
    return known


def _has_body(node: NodeProto) -> bool:
    return any(attribute.HasField("g") for attribute in node.attribute)


def _multiply_adds(node: NodeProto, values: Mapping[str, Value]) -> int | None:
    """Multiply-adds of a node, 0 for all but convolutions and matrix products; None: unknown."""
    if node.op_type in _OPAQUE or _has_body(node):
        return None
    if node.op_type not in _LINEAR or node.domain not in ("", "ai.onnx"):
        return 0
    x, w, y = (_shape(values[name]) for name in (node.input[0], node.input[1], node.output[0]))
    if x is None or w is None or y is None:
        return None
    return multiply_adds(node.op_type, (x, w, y))


def multiply_adds(op: str, shapes: Sequence[Shape]) -> int:
    """Multiply-adds of an operator from the shapes of x, w and y; 0 where it is no product."""
    x, w, y = shapes
    return _LINEAR[op](x, w, y) if op in _LINEAR else 0


def _shape(value: Value) -> Shape | None:
    if value.size is None or value.shape is None:
        return None
    return tuple(dim for dim in value.shape if isinstance(dim, int))


def _derived(
    model: ModelProto,
    nodes: Iterable[NodeProto],
    constants: set[str],
    values: Mapping[str, Value],
) -> tuple[Derived, ...]:
    """What emitted nodes compute from constants and the other nodes read, the largest first."""
    wanted = constants & {name for node in nodes for name in node.input if name}
    made = [node for node in model.graph.node if node.name.startswith(SCOPE)]
    names = [name for node in made for name in node.output if name in wanted]
    found = [_describe(values[name]) for name in names]
    return tuple(sorted(found, key=lambda value: -(value.size or 0)))


def _describe(value: Value) -> Derived:
    if value.size is None or not value.dtype:
        return Derived(value.name, None, None)
    itemsize = helper.tensor_dtype_to_np_dtype(value.dtype).itemsize
    return Derived(value.name, _shape(value), value.size * itemsize)


def _bytes(tensor: TensorProto) -> int:
    return int(math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize)


def _values(model: ModelProto) -> Mapping[str, Value]:
    """All values with their shapes for a batch of 1; weights take part by their shapes only.

    Shape arithmetic is folded, for shape inference does not follow it into `Slice` and `Expand`.
    """
    single = bare(model)
    _fix_batch(single.graph)
    for _ in range(_ROUNDS):
        values = build(shape_inference.infer_shapes(single, data_prop=True)).values
        if not _fold(single.graph, values):
            break
    return values


def _fix_batch(graph: GraphProto) -> None:
    """Put 1 in the place of every symbol that stands on axis 0 of an input."""
    leading = [dim for info in graph.input for dim in info.type.tensor_type.shape.dim[:1]]
    symbols = {dim.dim_param for dim in leading if dim.dim_param}
    for dim in leading:
        if not dim.HasField("dim_value"):
            dim.dim_value = 1
    for info in (*graph.output, *graph.value_info, *graph.input):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param in symbols:
                dim.dim_value = 1


def _fold(graph: GraphProto, values: Mapping[str, Value]) -> bool:
    """Put known constants in the place of the nodes that compute them; tell whether there were."""
    kept = []
    for node in graph.node:
        known = [(name, values[name].tensor) for name in node.output if name]
        tensors = [(name, tensor) for name, tensor in known if tensor is not None]
        if len(tensors) < len(known):
            kept.append(node)
            continue
        for name, tensor in tensors:
            graph.initializer.add().CopyFrom(tensor)
            graph.initializer[-1].name = name
    changed = len(kept) < len(graph.node)
    if changed:
        del graph.node[:]
        graph.node.extend(kept)
    return changed
