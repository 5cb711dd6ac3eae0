"""Holds an ONNX model as a bipartite graph of nodes and values."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import networkx as nx
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper

__all__ = ["FLOATS", "Array", "Attribute", "Dim", "Graph", "Node", "Shape", "Value"]

Dim = int | str | None
Shape = tuple[Dim, ...]
Array = NDArray[np.generic]
Attribute = int | float | str | list[int] | list[float] | list[str] | Array | onnx.GraphProto

FLOATS = frozenset(
    {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}
)


@dataclass(eq=False)
class Value:
    """A named value of the graph; only `Graph.learn` changes one.

    Attributes:
        name: Unique name.
        dtype: Element type, a number of `onnx.TensorProto.DataType` (0: unknown).
        shape: One entry per axis: a number, a symbol, or None; None where the rank is unknown.
        tensor: The constant that it holds, as stored (possibly outside the file).
        folder: Folder of external data.
        variable: Whether it depends on an input of the graph.
    """

    name: str
    dtype: int = TensorProto.FLOAT
    shape: Shape | None = None
    tensor: TensorProto | None = None
    folder: str = ""
    variable: bool = False

    @cached_property
    def constant(self) -> Array | None:
        """The number that is known for this value at compile time, or None."""
        if self.tensor is None:
            return None
        return numpy_helper.to_array(self.tensor, self.folder)

    @property
    def is_zero(self) -> bool:
        """Whether it is a constant that is known to be zero everywhere."""
        return self.constant is not None and not np.any(self.constant)

    @property
    def is_float(self) -> bool:
        """Whether the elements are floating-point numbers."""
        return self.dtype in FLOATS

    @property
    def rank(self) -> int | None:
        """Number of axes, or None."""
        return None if self.shape is None else len(self.shape)

    @property
    def size(self) -> int | None:
        """Number of elements, or None where an axis is symbolic."""
        if self.shape is None or not all(isinstance(dim, int) for dim in self.shape):
            return None
        return int(np.prod([dim for dim in self.shape if isinstance(dim, int)], dtype=np.int64))


@dataclass(frozen=True, eq=False)
class Node:
    """One operator call: deployed (it comes from the source) or emitted by the compiler.

    `captured` are the values that its bodies read from outside.
    """

    name: str
    op: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value | None, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    domain: str = ""
    deployed: bool = False
    captured: tuple[Value, ...] = ()

    @property
    def sources(self) -> Iterator[Value]:
        """The inputs that are present, and what bodies capture."""
        yield from (value for value in self.inputs if value is not None)
        yield from self.captured

    @property
    def results(self) -> Iterator[Value]:
        """The outputs that are present."""
        return (value for value in self.outputs if value is not None)


class Graph:
    """Nodes and values of one model in one directed graph; edges are derived from the nodes.

    Attributes:
        source: The deployed model, lifted; never edited.
        inputs: Inputs of the model (without initializers), in order.
        outputs: Outputs of the model, in order.
        folder: Folder of external data.
        digest: SHA-256 of the model as it was given, before lifting.
        stated: Names of hidden values whose types the model states itself.
    """

    def __init__(self, source: onnx.ModelProto, folder: str = "", digest: str = "") -> None:
        self.source = source
        self.folder = folder
        self.digest = digest
        self.stated: frozenset[str] = frozenset()
        self.inputs: tuple[Value, ...] = ()
        self.outputs: tuple[Value, ...] = ()
        self._dag = nx.DiGraph()
        self._values: dict[str, Value] = {}

    @property
    def opset(self) -> int:
        """Version of the standard operators."""
        return int(next(i.version for i in self.source.opset_import if i.domain == ""))

    @property
    def nodes(self) -> list[Node]:
        """All nodes, every one after the producers of its inputs."""
        return [item for item in self._dag if isinstance(item, Node)]

    @property
    def values(self) -> Mapping[str, Value]:
        """All values by name."""
        return self._values

    def declare(self, value: Value) -> Value:
        """Add a value without a producer (an input or an initializer), or return the known one."""
        known = self._values.setdefault(value.name, value)
        self._dag.add_node(known)
        return known

    def add(self, node: Node) -> Node:
        """Add a node behind all others."""
        self._dag.add_node(node)
        for value in node.sources:
            self._dag.add_edge(self.declare(value), node)
        for value in node.results:
            self._dag.add_edge(node, self.declare(value))
        return node

    def learn(self, value: Value, dtype: int, shape: Shape | None) -> None:
        """State type and shape of a value where nothing, or less, is known of them yet."""
        value.dtype = value.dtype or dtype
        known = shape is not None and all(isinstance(dim, int) for dim in shape)
        if value.shape is None or (known and value.rank == len(shape or ())):
            value.shape = shape

    def remove(self, node: Node) -> None:
        """Remove a node and its outputs."""
        for value in node.results:
            self._dag.remove_node(value)
            del self._values[value.name]
        self._dag.remove_node(node)

    def producer(self, value: Value) -> Node | None:
        """The node that computes a value; None for inputs and initializers."""
        return next(iter(self._dag.predecessors(value)), None)

    def consumers(self, value: Value) -> list[Node]:
        """The nodes that read a value."""
        return list(self._dag.successors(value))

    def edges(self) -> Iterator[tuple[Node | Value, Node | Value]]:
        """All edges value -> node and node -> value."""
        return iter(self._dag.edges)
