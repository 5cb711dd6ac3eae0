"""Reads the bodies of control flow as graphs of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Graph, Value
from onnxlrp.graph.infer import Known
from onnxlrp.graph.load import attributes_of
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Body, Site, View
from onnxlrp.lower.quantised_values import raw
from onnxlrp.lower.see import see_node
from onnxlrp.lower.sketch import Seen, Sketch
from onnxlrp.metadata import SCOPE

__all__ = ["Step", "Turn", "common", "is_true", "known_of", "make_body", "read_turn", "run", "true"]

Step = Callable[["Sketch", Sequence[Value]], Sequence[Seen]]
"""Sees one turn of a body, given its inputs, and returns its outputs."""


def make_body(sketch: Sketch, label: str, formals: Sequence[Known], step: Step) -> Body:
    """Read a body as a graph of its own; its inputs are of the given types."""
    outer = sketch.t
    graph = Graph(outer.graph.source, outer.graph.folder)
    t = Tape(graph, outer.targets, outer)
    t.infers = True
    prefix = f"{outer.scope}/{label}"
    inner = sketch.inner(t, View(graph), prefix)
    inputs = tuple(
        graph.declare(Value(f"{SCOPE}{prefix}/in_{index}", *known, variable=True))
        for index, known in enumerate(formals)
    )
    t.scope = prefix
    results = step(inner, inputs)
    t.scope = prefix
    outputs: list[Value] = []
    for value in results:
        if not isinstance(value, Value):
            raise UnsupportedOp("a body gives a sequence")
        fresh = graph.producer(value) is not None and value not in outputs
        outputs.append(value if fresh else _renamed(inner, value, len(outputs)))
    inner.view.outputs = tuple(outputs)
    return Body(inner.view, t, inputs, tuple(outputs))


def _renamed(sketch: Sketch, value: Value, index: int) -> Value:
    """A copy of a value, for a body gives only what it makes, and each once."""
    name = f"{sketch.prefix}/out_{index}"
    site = Site(name, "Identity", (value,), (), nodes=sketch.nodes, opset=sketch.t.graph.opset)
    copy = sketch.emit(site, [(value.dtype, value.shape)], {})[0]
    assert copy is not None
    return copy


def run(sketch: Sketch, body: onnx.GraphProto, given: Sequence[Seen]) -> tuple[Seen, ...]:
    """See every node of a body, given what its inputs are; return what its outputs are."""
    for info, value in zip(body.input, given, strict=True):
        sketch.values[info.name] = value
    for tensor in body.initializer:
        array = numpy_helper.to_array(tensor, sketch.t.graph.folder)
        sketch.values[tensor.name] = sketch.t.constant(array)
    for index, node in enumerate(body.node):
        name = f"{sketch.prefix}/{node.name or f'{node.op_type}_{index}'}"
        sketch.begin(name, ())
        site = Site(
            name=name,
            op=f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
            inputs=(),
            outputs=(None,) * len(node.output),
            attributes=attributes_of(node),
            domain=node.domain,
            nodes=sketch.nodes,
            opset=sketch.t.graph.opset,
        )
        results = see_node(sketch, site, [item or None for item in node.input])
        sketch.values.update(
            (output, result) for output, result in zip(node.output, results, strict=False) if output
        )
    seen = (sketch.look(value.name) for value in body.output)
    return tuple(raw(sketch, item) if isinstance(item, Value) else item for item in seen)


def common(one: Known, two: Known) -> Known:
    """A type that holds for both of two values."""
    if one[0] != two[0]:
        raise UnsupportedOp("a value changes its element type")
    if one[1] is None or two[1] is None or len(one[1]) != len(two[1]):
        return one[0], None
    return one[0], tuple(a if a == b else None for a, b in zip(one[1], two[1], strict=True))


@dataclass(frozen=True)
class Turn:
    """One turn of a Loop or Scan, read as a body.

    Attributes:
        body: Has the inputs and outputs of the operator, but for states that never change.
        kept: Which states change.
        ends: Whether the turn decides if there is another one.
        grows: Name of a state that changes its shape; empty without.
    """

    body: Body
    kept: tuple[int, ...]
    ends: bool
    grows: str


def read_turn(
    sketch: Sketch,
    proto: onnx.GraphProto,
    states: Sequence[Value],
    slices: Sequence[Known] = (),
    *,
    counts: bool,
) -> Turn:
    """Read a turn until it is known which states change and of what shape they are.

    Args:
        sketch: Receives the site.
        proto: The body.
        states: First values of the states.
        slices: Types of what a Scan gives each turn.
        counts: Whether the body is given a counter and a condition first, as that of a Loop.
    """
    types = [(state.dtype, state.shape) for state in states]
    kept = tuple(range(len(states)))
    lead: list[Known] = [(TensorProto.INT64, ()), (TensorProto.BOOL, ())] if counts else []
    grows = ""
    while True:
        raw: list[Seen] = []
        formals = [*lead, *(types[index] for index in kept), *slices]
        step = _Step(proto, states, kept, len(lead), raw)
        body = make_body(sketch, "body", formals, step)
        results = raw[len(lead) // 2 :][: len(states)]
        given = dict(zip(kept, body.inputs[len(lead) :], strict=False))
        same = {i for i in kept if _original(body, results[i]) is given[i]}
        wider = {i: common(types[i], known_of(results[i])) for i in kept}
        fixed = all(wider[i] == types[i] for i in kept)
        if not same and fixed:
            first = raw[0]
            ends = counts and not (isinstance(first, Value) and is_true(first))
            return Turn(body, kept, ends, grows)
        kept = tuple(i for i in kept if i not in same)
        for index, known in wider.items():
            if known != types[index] and _grows(body, types[index], results[index]):
                grows = grows or states[index].name
            types[index] = known


def _grows(body: Body, before: Known, after: Seen) -> bool:
    """Whether a state surely changes its shape: by its numbers, or by a Concat."""
    shape = known_of(after)[1]
    if not before[0] or before[1] is None or shape is None:
        return False
    if len(shape) != len(before[1]):
        return True
    pairs = list(zip(before[1], shape, strict=True))
    if any(isinstance(a, int) and b is not None and a != b for a, b in pairs):
        return True
    made = _original(body, after)
    node = body.view.graph.producer(made) if isinstance(made, Value) else None
    if node is None or node.op != "Concat":
        return False
    axis = node.attributes["axis"]
    return isinstance(axis, int) and not isinstance(shape[axis], int)


def known_of(value: Seen) -> Known:
    """Element type and shape of what must be one value."""
    if not isinstance(value, Value):
        raise UnsupportedOp("a sequence goes through its turns")
    return value.dtype, value.shape


def _original(body: Body, value: Seen) -> Seen:
    """The value of which another one is a plain copy."""
    node = body.view.graph.producer(value) if isinstance(value, Value) else None
    while node is not None and node.op == "Identity":
        value = node.inputs[0]
        node = body.view.graph.producer(value) if isinstance(value, Value) else None
    return value


@dataclass(frozen=True)
class _Step:
    """Runs a body with the states that change given to it, and the others as they are outside."""

    proto: onnx.GraphProto
    states: Sequence[Value]
    kept: tuple[int, ...]
    lead: int
    raw: list[Seen]

    def __call__(self, sketch: Sketch, inputs: Sequence[Value]) -> Sequence[Seen]:
        changing = dict(zip(self.kept, inputs[self.lead :], strict=False))
        states = [changing.get(index, state) for index, state in enumerate(self.states)]
        given: list[Seen] = [inputs[0], true(sketch)] if self.lead else []
        given += [*states, *inputs[self.lead + len(self.kept) :]]
        self.raw[:] = run(sketch, self.proto, given)
        first = self.lead // 2
        last = first + len(self.states)
        chosen = [self.raw[first + index] for index in self.kept]
        return [*self.raw[:first], *chosen, *self.raw[last:]]


def true(sketch: Sketch) -> Value:
    """The constant that holds."""
    return sketch.t.constant(np.array(True))


def is_true(value: Value) -> bool:
    """Whether a value is known to hold."""
    return value.constant is not None and bool(value.constant.all())
