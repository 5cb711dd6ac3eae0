"""Emits the nodes of the explanation part; the only place where new nodes come from."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np
from onnx import numpy_helper

from onnxlrp.errors import RuleError
from onnxlrp.graph.graph import Array, Attribute, Dim, Graph, Node, Shape, Value
from onnxlrp.graph.infer import Known, inferred
from onnxlrp.graph.proto import to_proto
from onnxlrp.graph.signs import Signs
from onnxlrp.graph.support import Support
from onnxlrp.metadata import SCOPE

__all__ = ["Arg", "Losses", "Tape"]

Arg = Value | float | Sequence[int] | Array | None
Thunk = Callable[[], Value]


class Losses(Protocol):
    """Receives what a rule absorbs, one call for each formula.

    Attributes:
        samplewise: Whether every value has the batch on axis 0.
    """

    samplewise: bool

    def absorb(self, column: str, amount: Value) -> None:
        """Add the sum of `amount` per sample to a column of the current node."""


class Tape:
    """Appends nodes to a graph; equal calls give the same value.

    Attributes:
        graph: The graph that grows.
        targets: Number T of relevance seeds per sample.
        signs: What is known about the signs of values.
        support: What is known about where relevance is zero.
        scope: Name of the deployed node on whose behalf nodes are emitted.
        home: Scope of what is emitted on behalf of no node.
        losses: Receives absorbed relevance where a ledger is asked for, else None.
        batched: Whether axis 0 of the explained output is the batch.
        batch: The size or the symbols of the batch; empty where the inputs do not agree on one.
        samples: Number of rows T*N of the seed, int64 `[1]`, once there is one.
        infers: Whether emitted values learn their type and shape, as values of the view must.
        outer: The tape of the graph around a body, or None.
        prefix: Leads all names, behind `lrp/`.
    """

    def __init__(self, graph: Graph, targets: int = 1, outer: "Tape | None" = None) -> None:
        self.graph = graph
        self.targets = targets
        self.outer = outer
        self.signs: Signs = Signs(graph, None if outer is None else outer.signs)
        self.support = Support(graph)
        self.scope = "graph"
        self.home = "input"
        self.prefix: str = "" if outer is None else outer.prefix
        self.batched = True
        self.batch: frozenset[Dim] = frozenset()
        self.samples: Value | None = None
        self.infers = False
        self.losses: Losses | None = None
        self.constants: dict[bytes, Value] = {} if outer is None else outer.constants
        self._known: dict[object, tuple[Value, ...]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    def op(self, op: str, *inputs: Arg, **attributes: Attribute) -> Value:
        """Emit one operator with one output.

        Numbers become float32 scalars, sequences of integers int64 vectors.
        """
        return self.ops(op, *inputs, outputs=1, **attributes)[0]

    def ops(
        self, op: str, *inputs: Arg, outputs: int, **attributes: Attribute
    ) -> tuple[Value, ...]:
        """Emit one operator with several outputs."""
        values = tuple(self._value(item) for item in inputs)
        key = _key(op, values, attributes, outputs)
        if key not in self._known:
            self._known[key] = self._emit(op, values, outputs, attributes)
        return self._known[key]

    def avoid(self, names: Iterable[str]) -> None:
        """Take care that no new node has one of the names that an earlier tape gave."""
        for name in names:
            scope, _, last = name.removeprefix(SCOPE).rpartition("/")
            op, _, number = last.rpartition("_")
            if number.isdigit():
                self._counts[scope, op] = max(self._counts[scope, op], int(number) + 1)

    def place(self, node: Node) -> tuple[Value | None, ...]:
        """Add a node as it is, or return the outputs of an equal one."""
        arrays = any(isinstance(value, np.ndarray) for value in node.attributes.values())
        if arrays or node.domain or node.captured or None in node.outputs:
            self._add(node)
            return node.outputs
        key = _key(node.op, node.inputs, node.attributes, len(node.outputs))
        if key not in self._known:
            self._known[key] = self._add(node)
        return self._known[key]

    def emit(
        self,
        op: str,
        inputs: Sequence[Value | None],
        types: Sequence[Known | None],
        attributes: Mapping[str, Attribute],
        captured: Sequence[Value] = (),
        domain: str = "",
    ) -> tuple[Value | None, ...]:
        """Emit one operator whose outputs have known types (None: absent).

        `captured` is what its bodies read.
        """
        name = self._name(op)
        variable = any(v.variable for v in (*inputs, *captured) if v is not None)
        results = tuple(
            None if known is None else Value(_output_name(name, index), *known, variable=variable)
            for index, known in enumerate(types)
        )
        node = Node(name, op, tuple(inputs), results, attributes, domain)
        self._add(replace(node, captured=tuple(captured)))
        return results

    def total(self, values: Sequence[Value]) -> Value:
        """Add one value or more, from the left."""
        result = values[0]
        for value in values[1:]:
            result = self.op("Add", result, value)
        return result

    def typed(self, value: Value, shape: Shape | None) -> Value:
        """State the shape of an emitted value; it stands in for a forward value of the view."""
        name = f"{value.name}.typed"
        if name not in self.graph.values:
            known = Value(name, value.dtype, shape, variable=value.variable)
            self.graph.add(Node(name, "Identity", (value,), (known,)))
        return self.graph.values[name]

    def named(self, value: Value, output: Value) -> Value:
        """Give a value the name, type and shape under which it is an output of the graph."""
        self.graph.add(Node(f"{SCOPE}output/{output.name}", "Identity", (value,), (output,)))
        return output

    def constant(self, array: Array) -> Value:
        """Return a small constant; equal ones are one initializer of the outermost graph."""
        tensor = numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape))
        key = tensor.SerializeToString(deterministic=True)
        if key not in self.constants:
            tensor.name = f"{SCOPE}constant_{len(self.constants)}"
            self.constants[key] = Value(tensor.name, tensor.data_type, array.shape, tensor)
        return self.graph.declare(self.constants[key])

    def scalar(self, number: float) -> Value:
        """Return a float32 scalar."""
        return self.constant(np.array(number, dtype=np.float32))

    def constant_int(self, number: int) -> Value:
        """Return an int64 scalar."""
        return self.constant(np.array(number, dtype=np.int64))

    def at(self, value: Value) -> Value:
        """Return a forward value with one copy per seed: `[N, ...]` -> `[T*N, ...]`."""
        if self.targets == 1 or not value.variable:
            return value
        self.require_batch(value)
        return self.op("Tile", value, [self.targets] + [1] * (len(value.shape or ()) - 1))

    def shape(self, value: Value) -> Value:
        """Return the shape `[r]` (int64) of the relevance of a forward value."""
        if value.size is not None and value.shape is not None:
            dims = [dim for dim in value.shape if isinstance(dim, int)]
            if self.targets > 1:
                self.require_batch(value)
                dims[0] *= self.targets
            return self.constant(np.array(dims, dtype=np.int64))
        shape = self.op("Shape", value)
        if self.targets == 1:
            return shape
        self.require_batch(value)
        return self.op("Mul", shape, [self.targets] + [1] * (len(value.shape or ()) - 1))

    def reshape(self, relevance: Value, like: Value) -> Value:
        """Bring relevance to the shape of a forward value."""
        dims: list[Dim] = [None, None] if like.shape is None else list(like.shape)
        if sum(not isinstance(dim, int) for dim in dims) > 1:
            return self.op("Reshape", relevance, self.shape(like))
        if self.targets > 1:
            self.require_batch(like)
            dims[0] = dims[0] * self.targets if isinstance(dims[0], int) else None
        return self.op("Reshape", relevance, [d if isinstance(d, int) else -1 for d in dims])

    def rows(self, value: Value) -> Value:
        """One row per sample: `[N, ...]` or `[N L, ...]` -> `[N, K]`.

        A model without a batch has one sample.
        """
        if not self.batched:
            return self.op("Reshape", value, [1, -1])
        if self.samples is None:
            return self.op("Flatten", value, axis=1)
        return self.op("Reshape", value, self.op("Concat", self.samples, [-1], axis=0))

    def zeros(self, like: Value) -> Value:
        """Return zero relevance for a forward value."""
        return self.op("Expand", 0.0, self.shape(like))

    def absorb(self, column: str, amount: Thunk) -> None:
        """Report relevance that goes nowhere; emits nothing unless a ledger is asked for.

        Args:
            column: `bias`, `stabilizer`, `padding`, `dead` or `rule`.
            amount: Makes the lost relevance, any shape `[T*N, ...]`, from its own formula.
        """
        if self.losses is not None:
            self.losses.absorb(column, amount())

    def has_batch(self, value: Value) -> bool:
        """Whether axis 0 of a forward value may be the batch."""
        if not value.shape or not self.batched:
            return False
        dim = value.shape[0]
        if dim in self.batch or isinstance(dim, int):
            return dim in self.batch
        stated = {dim for source in self.graph.inputs for dim in (source.shape or ())}
        return dim not in stated - {None}

    def require_batch(self, value: Value) -> None:
        """Refuse several targets per sample where a value has no batch on axis 0.

        Raises:
            RuleError: It has none.
        """
        if not self.has_batch(value):
            raise RuleError(
                f"several targets per sample need the batch on axis 0 of every value; "
                f"'{value.name}' has shape {value.shape}: use one target"
            )

    def _value(self, item: Arg) -> Value | None:
        if item is None or isinstance(item, Value):
            return item
        if isinstance(item, np.ndarray):
            return self.constant(item)
        if isinstance(item, Sequence):
            return self.constant(np.array(item, dtype=np.int64))
        return self.scalar(item)

    def _emit(
        self,
        op: str,
        inputs: tuple[Value | None, ...],
        outputs: int,
        attributes: dict[str, Attribute],
    ) -> tuple[Value, ...]:
        name = self._name(op)
        names = [_output_name(name, index) for index in range(outputs)]
        if self.infers:
            node = to_proto(Node(name, op, inputs, (), attributes))
            node.output.extend(names)
            results = inferred(node, inputs, self.graph.opset)
        else:
            variable = any(value.variable for value in inputs if value is not None)
            results = [Value(output, variable=variable) for output in names]
        return self._add(Node(name, op, inputs, tuple(results), attributes))

    def _add(self, node: Node) -> tuple[Value, ...]:
        self.graph.add(node)
        results = tuple(node.results)
        if self.infers:
            for value in results:
                self.signs.nonnegative(value)
        return results

    def _name(self, op: str) -> str:
        scope = self.scope.strip("/")
        name = f"{SCOPE}{self.prefix}{scope}/{op}_{self._counts[scope, op]}"
        self._counts[scope, op] += 1
        return name


def _key(
    op: str, inputs: tuple[Value | None, ...], attributes: Mapping[str, Attribute], outputs: int
) -> object:
    """Equal for equal calls."""
    return op, inputs, repr(sorted(attributes.items())), outputs


def _output_name(node: str, index: int) -> str:
    return node if index == 0 else f"{node}.{index}"
