"""Describes one operator by simpler ones: emits typed nodes and sees each of them as a site."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from onnx import TensorProto

from onnxlrp.graph.graph import FLOATS, Attribute, Node, Shape, Value
from onnxlrp.graph.infer import Known
from onnxlrp.graph.tape import Arg, Tape
from onnxlrp.graph.view import Body, Site, View
from onnxlrp.metadata import SCOPE

__all__ = ["Seen", "Settings", "Sketch", "Stack", "is_odd"]


@dataclass(frozen=True)
class Stack:
    """A sequence of as many values as a loop had turns, as one value `[turns, ...]`."""

    value: Value


Seen = Value | list[Value] | Stack | None
"""What a name of the model stands for: a value, a sequence of values, or nothing."""


@dataclass(frozen=True)
class Settings:
    """How a model is seen.

    Attributes:
        shadow: Whether no deployed value but inputs and constants may be read.
        cell: `whole` (input and recurrent part of a cell are one linear map) or `opwise`.
        blocked: Deployed values that lie in memory in blocks of channels and must not be read.
    """

    shadow: bool = False
    cell: str = "whole"
    blocked: frozenset[Value] = frozenset()


def is_odd(value: Value) -> bool:
    """Whether a value holds floating-point numbers that are not float32."""
    return value.dtype in FLOATS and value.dtype != TensorProto.FLOAT


class Sketch:
    """Emits nodes on behalf of a node of the model; those that depend on an input become sites.

    Attributes:
        t: The tape.
        view: Receives the sites.
        settings: How the model is seen.
        values: What the names of the model stand for.
        prefix: Path of the body that is being read, empty at the top.
        scales: Scale and zero point of what stands for quantised numbers.
        bound: The deployed value that has taken the place of an emitted one.
        given: What the inputs of the node that is being lowered are, sequences among them.
    """

    def __init__(
        self,
        t: Tape,
        view: View,
        settings: Settings,
        outer: "Sketch | None" = None,
        prefix: str = "",
    ) -> None:
        self.t = t
        self.view = view
        self.settings = settings
        self.prefix = prefix
        self.values: dict[str, Seen] = {}
        self.given: tuple[Seen, ...] = ()
        self.scales: dict[Value, tuple[Value, Value]] = {} if outer is None else outer.scales
        self.bound: dict[Value, Value] = {} if outer is None else outer.bound
        self._outer = outer
        self.nodes: tuple[Node, ...] = ()

    def look(self, name: str) -> Seen:
        """What a name stands for, here or in the graph around a body."""
        if name in self.values or self._outer is None:
            return self.known(self.values[name])
        return self._outer.look(name)

    def known(self, seen: Seen) -> Seen:
        """The same, with the deployed values that have taken the place of emitted ones."""
        if isinstance(seen, list):
            return [self.bound.get(value, value) for value in seen]
        if isinstance(seen, Stack):
            return Stack(self.bound.get(seen.value, seen.value))
        return None if seen is None else self.bound.get(seen, seen)

    def begin(self, name: str, nodes: tuple[Node, ...]) -> None:
        """Emit on behalf of a node from now on."""
        self.t.scope = name
        self.nodes = nodes or self.nodes

    def inner(self, t: Tape, view: View, prefix: str) -> "Sketch":
        """A sketch for a body; it knows all names that are known here."""
        sketch = Sketch(t, view, self.settings, self, prefix)
        sketch.nodes = self.nodes
        return sketch

    def op(self, op: str, *inputs: Arg, **attributes: Attribute) -> Value:
        """Emit a standard operator with one output."""
        return self.ops(op, *inputs, outputs=1, **attributes)[0]

    def ops(
        self, op: str, *inputs: Arg, outputs: int, **attributes: Attribute
    ) -> tuple[Value, ...]:
        """Emit a standard operator with several outputs."""
        results = self.t.ops(op, *inputs, outputs=outputs, **attributes)
        self._seen(self.t.graph.producer(results[0]))
        return results

    def copy(self, site: Site) -> tuple[Value, ...]:
        """Emit the standard operator of a site; what it makes of constants is known."""
        count = max(len(site.outputs), 1)
        results = self.t.ops(site.op, *site.inputs, outputs=count, **site.attributes)
        self._seen(self.t.graph.producer(results[0]), name=site.name)
        return results

    def emit(
        self,
        site: Site,
        types: Sequence[Known | None],
        attributes: Mapping[str, Attribute],
        bodies: Sequence[Body] = (),
        captured: Sequence[Value] = (),
    ) -> tuple[Value | None, ...]:
        """Emit the operator of a site, of any domain, with outputs of known types."""
        op = site.op.removeprefix(f"{site.domain}.") if site.domain else site.op
        results = self.t.emit(op, site.inputs, types, attributes, captured, site.domain)
        first = next(value for value in results if value is not None)
        self._seen(self.t.graph.producer(first), site.op, site.name, bodies, site.note)
        return results

    def typed(self, value: Value, shape: Shape) -> Value:
        """State the shape of a value where it could not be inferred."""
        site = Site(self.t.scope, "Identity", (value,), (), nodes=self.nodes)
        result = self.emit(site, [(value.dtype, shape)], {})[0]
        assert result is not None
        return result

    def float32(self, value: Value) -> Value:
        """A value as float32."""
        return self.op("Cast", value, to=TensorProto.FLOAT) if is_odd(value) else value

    def bind(self, value: Value, deployed: Value) -> None:
        """Let a deployed value take the place of the emitted one that equals it."""
        site = self.view.producer(value)
        self.t.graph.learn(deployed, value.dtype, value.shape)
        if site is None or self.view.readers(value) or not value.name.startswith(SCOPE):
            name = f"{self.t.scope}/{deployed.name}"
            same = Site(name, "Identity", (value,), (deployed,), nodes=self.nodes)
            self.view.append(same)
        else:
            outputs = tuple(deployed if item is value else item for item in site.outputs)
            self.view.merge([site], replace(site, outputs=outputs))
            self.bound[value] = deployed
        if self.t.signs.nonnegative(value):
            self.t.signs.same(deployed, value)

    def _seen(
        self,
        node: Node | None,
        op: str = "",
        name: str = "",
        bodies: Sequence[Body] = (),
        note: str = "",
    ) -> None:
        """See an emitted node as a site, once, if it depends on an input."""
        if node is None or not any(value.variable for value in node.results):
            return
        if any(self.view.producer(value) for value in node.results):
            return
        site = Site(
            name=name or node.name.removeprefix(SCOPE),
            op=op or node.op,
            inputs=node.inputs,
            outputs=node.outputs,
            attributes=node.attributes,
            nodes=self.nodes,
            domain=node.domain,
            opset=self.t.graph.opset,
            note=note,
            captured=node.captured,
            bodies=tuple(bodies),
        )
        self.view.append(site)
