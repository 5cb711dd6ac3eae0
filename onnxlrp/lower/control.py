"""Control flow: If, Loop and Scan, with their bodies read as graphs of their own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Dim, Graph, Value
from onnxlrp.graph.infer import Known
from onnxlrp.graph.load import attributes_of
from onnxlrp.graph.proto import to_body
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Body, Site, View
from onnxlrp.lower.registry import lower
from onnxlrp.lower.see import reads_deployed, see_node
from onnxlrp.lower.sketch import Seen, Sketch
from onnxlrp.metadata import SCOPE

__all__ = ["make_body", "turn_by_turn"]

SHORT = 4
"""A loop of at most so many turns is unrolled."""

LONG = 64
"""A loop that cannot be seen as one is unrolled up to so many turns."""


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
    return tuple(sketch.look(value.name) for value in body.output)


def _protos(site: Site, *names: str) -> list[onnx.GraphProto]:
    protos = [site.attributes[name] for name in names]
    return [proto for proto in protos if isinstance(proto, onnx.GraphProto)]


def _values(seen: Sequence[Seen]) -> tuple[Value, ...]:
    """Those that are values; all must be."""
    values = tuple(item for item in seen if isinstance(item, Value))
    if len(values) < len(seen):
        raise UnsupportedOp("a sequence goes through its turns")
    return values


@lower("If")
def branch(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """One of two bodies; the one that a constant condition picks is seen in its place."""
    condition = site.required(0)
    bodies = _protos(site, "then_branch", "else_branch")
    if condition.constant is not None:
        label = "then" if condition.constant.all() else "else"
        return _inline(sketch, bodies[label == "else"], (), label)
    read = [
        make_body(sketch, label, (), lambda inner, _, body=body: run(inner, body, ()))  # type: ignore[misc]
        for label, body in zip(("then", "else"), bodies, strict=True)
    ]
    types = [
        _common((a.dtype, a.shape), (b.dtype, b.shape))
        for a, b in zip(read[0].outputs, read[1].outputs, strict=True)
    ]
    return _whole(sketch, site, site.inputs, types, read)


def _inline(
    sketch: Sketch, body: onnx.GraphProto, given: Sequence[Seen], label: str
) -> tuple[Seen, ...]:
    """See the nodes of a body as nodes of the graph around it."""
    name = sketch.t.scope
    results = run(sketch.inner(sketch.t, sketch.view, f"{name}/{label}"), body, given)
    sketch.t.scope = name
    return results


def _common(one: Known, two: Known) -> Known:
    """A type that holds for both of two values."""
    if one[0] != two[0]:
        raise UnsupportedOp("a value changes its element type")
    if one[1] is None or two[1] is None or len(one[1]) != len(two[1]):
        return one[0], None
    return one[0], tuple(a if a == b else None for a, b in zip(one[1], two[1], strict=True))


def _whole(
    sketch: Sketch,
    site: Site,
    inputs: Sequence[Value | None],
    types: Sequence[Known],
    bodies: Sequence[Body],
    **attributes: int | list[int],
) -> tuple[Value | None, ...]:
    """See a control-flow operator as one site with bodies; a copy of it where it must be one."""
    pairs = [to_body(b.view.graph, "body", b.inputs, b.outputs) for b in bodies]
    captured = tuple(dict.fromkeys(value for _, free in pairs for value in free))
    names = ("then_branch", "else_branch") if site.op == "If" else ("body",)
    protos = dict(zip(names, (proto for proto, _ in pairs), strict=True))
    whole = replace(
        site, inputs=tuple(inputs), attributes=attributes, captured=captured, bodies=tuple(bodies)
    )
    if not reads_deployed(sketch, site):
        return sketch.emit(whole, types, {**protos, **attributes}, bodies, captured)
    for value, known in zip(site.outputs, types, strict=True):
        if value is not None:
            sketch.t.graph.learn(value, *known)
    sketch.view.append(whole)
    return site.outputs


@dataclass(frozen=True)
class Turn:
    """One turn of a Loop or Scan, read as a body.

    Attributes:
        body: Has the inputs and outputs of the operator, but for states that never change.
        kept: Which states change.
        ends: Whether the turn decides if there is another one.
        grows: Whether a state changes its shape.
    """

    body: Body
    kept: tuple[int, ...]
    ends: bool
    grows: bool


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
    grows = False
    while True:
        raw: list[Seen] = []
        formals = [*lead, *(types[index] for index in kept), *slices]
        step = _Step(proto, states, kept, len(lead), raw)
        body = make_body(sketch, "body", formals, step)
        results = raw[len(lead) // 2 :][: len(states)]
        given = dict(zip(kept, body.inputs[len(lead) :], strict=False))
        same = {i for i in kept if _original(body, results[i]) is given[i]}
        wider = {i: _common(types[i], _known(results[i])) for i in kept}
        fixed = all(wider[i] == types[i] for i in kept)
        if not same and fixed:
            first = raw[0]
            ends = counts and not (isinstance(first, Value) and _is_true(first))
            return Turn(body, kept, ends, grows)
        kept = tuple(i for i in kept if i not in same)
        grows = grows or not fixed
        for index, known in wider.items():
            types[index] = known


def _known(value: Seen) -> Known:
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
        given: list[Seen] = [inputs[0], _true(sketch)] if self.lead else []
        given += [*states, *inputs[self.lead + len(self.kept) :]]
        self.raw[:] = run(sketch, self.proto, given)
        first = self.lead // 2
        last = first + len(self.states)
        chosen = [self.raw[first + index] for index in self.kept]
        return [*self.raw[:first], *chosen, *self.raw[last:]]


def _true(sketch: Sketch) -> Value:
    return sketch.t.constant(np.array(True))


@lower("Loop")
def loop(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Turns of one body over carried values; short ones are unrolled."""
    (proto,) = _protos(site, "body")
    given = (*sketch.given, None, None)
    turns, states = _number(given[0]), sketch.given[2:]
    forever = given[1] is None or (isinstance(given[1], Value) and _is_true(given[1]))
    if turns is not None and forever and any(isinstance(state, list) for state in states):
        return _unrolled(sketch, proto, turns, states)
    values = _values(states)
    turn = read_turn(sketch, proto, values, counts=True)
    if turns is not None and forever and not turn.ends and (turns <= SHORT or turn.grows):
        return _unrolled(sketch, proto, turns, states)
    inputs = (site.input(0), site.input(1), *(values[index] for index in turn.kept))
    finals = [_known(value) for value in turn.body.outputs[1 : 1 + len(turn.kept)]]
    stacked = [_known(value) for value in turn.body.outputs[1 + len(turn.kept) :]]
    length = turns if forever and not turn.ends else None
    types = [*finals, *((d, None if s is None else (length, *s)) for d, s in stacked)]
    return _with_constants(sketch, site, inputs, types, turn, values)


def _with_constants(
    sketch: Sketch,
    site: Site,
    inputs: Sequence[Value | None],
    types: Sequence[Known],
    turn: Turn,
    states: Sequence[Value],
    **attributes: int | list[int],
) -> tuple[Seen, ...]:
    """See a Loop or Scan; states that never change keep their first value."""
    count, kept = len(states), turn.kept
    numbers = [*kept, *range(count, len(site.outputs))]
    outputs = tuple(site.outputs[index] for index in numbers)
    whole = replace(site, outputs=outputs)
    found = _whole(sketch, whole, inputs, types, [turn.body], **attributes)
    results: dict[int, Seen] = dict(zip(numbers, found, strict=True))
    return tuple(results.get(i, states[i] if i < count else None) for i in range(len(site.outputs)))


def _unrolled(
    sketch: Sketch, proto: onnx.GraphProto, turns: int, states: Sequence[Seen]
) -> tuple[Seen, ...]:
    """See every turn of a Loop by itself."""
    if not 0 < turns <= LONG:
        raise UnsupportedOp(f"a carried value changes its shape in {turns} turns")
    collected: list[list[Value]] = []
    for number in range(turns):
        given = [sketch.t.constant_int(number), _true(sketch), *states]
        results = _inline(sketch, proto, given, f"turn_{number}")
        first = results[0]
        if not isinstance(first, Value) or not _is_true(first):
            raise UnsupportedOp("its turns end by a condition that is computed")
        states = results[1 : 1 + len(states)]
        rows = [v for v in results[1 + len(states) :] if isinstance(v, Value)]
        collected.append([sketch.op("Unsqueeze", row, [0]) for row in rows])
    stacked = [sketch.op("Concat", *column, axis=0) for column in zip(*collected, strict=True)]
    return (*states, *stacked)


@lower("Scan")
def scan(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Turns of one body over slices of sequences."""
    (proto,) = _protos(site, "body")
    values = _values(sketch.given)
    count = len(values) - site.integer("num_scan_inputs")
    states, sequences = values[:count], values[count:]
    axes = site.integers("scan_input_axes", [0] * len(sequences))
    slices = [_slice(v, axis) for v, axis in zip(sequences, axes, strict=True)]
    turn = read_turn(sketch, proto, states, slices, counts=False)
    if turn.grows:
        raise UnsupportedOp("a carried value changes its shape")
    length = _length(sequences, axes)
    ends = len(turn.kept)
    outs = turn.body.outputs[ends:]
    out_axes = site.integers("scan_output_axes", [0] * len(outs))
    types = [_known(value) for value in turn.body.outputs[:ends]]
    types += [_stacked(_known(v), axis, length) for v, axis in zip(outs, out_axes, strict=True)]
    attributes: dict[str, int | list[int]] = {
        "num_scan_inputs": len(sequences),
        "scan_input_axes": axes,
        "scan_input_directions": site.integers("scan_input_directions", [0] * len(sequences)),
        "scan_output_axes": out_axes,
        "scan_output_directions": site.integers("scan_output_directions", [0] * len(outs)),
    }
    inputs = (*(states[index] for index in turn.kept), *sequences)
    return _with_constants(sketch, site, inputs, types, turn, states, **attributes)


def _slice(value: Value, axis: int) -> Known:
    if value.shape is None:
        return value.dtype, None
    axis %= len(value.shape)
    return value.dtype, (*value.shape[:axis], *value.shape[axis + 1 :])


def _length(sequences: Sequence[Value], axes: Sequence[int]) -> Dim:
    for value, axis in zip(sequences, axes, strict=True):
        if value.shape is not None:
            return value.shape[axis]
    return None


def _stacked(known: Known, axis: int, length: Dim) -> Known:
    dtype, shape = known
    if shape is None:
        return known
    axis %= len(shape) + 1
    return dtype, (*shape[:axis], length, *shape[axis:])


def turn_by_turn(
    sketch: Sketch,
    step: Step,
    states: Sequence[Value],
    sequences: Sequence[Value],
    *,
    backwards: bool = False,
) -> tuple[Value, ...]:
    """Emit a Scan over axis 0; return the last states and what each turn gives, stacked."""
    formals = [(v.dtype, v.shape) for v in states] + [_slice(v, 0) for v in sequences]
    name = f"{sketch.t.scope}/backwards" if backwards else f"{sketch.t.scope}/forwards"
    scope, sketch.t.scope = sketch.t.scope, name
    body = make_body(sketch, "body", formals, step)
    proto, captured = to_body(body.view.graph, "body", body.inputs, body.outputs)
    count = len(states)
    outs = body.outputs[count:]
    length = _length(sequences, [0] * len(sequences))
    types = [(v.dtype, v.shape) for v in states]
    types += [_stacked((v.dtype, v.shape), 0, length) for v in outs]
    attributes: dict[str, int | list[int]] = {
        "num_scan_inputs": len(sequences),
        "scan_input_axes": [0] * len(sequences),
        "scan_input_directions": [int(backwards)] * len(sequences),
        "scan_output_axes": [0] * len(outs),
        "scan_output_directions": [int(backwards)] * len(outs),
    }
    site = Site(name, "Scan", (*states, *sequences), (), nodes=sketch.nodes)
    results = sketch.emit(site, types, {"body": proto, **attributes}, [body], captured)
    sketch.t.scope = scope
    return tuple(value for value in results if value is not None)


def _number(value: Seen) -> int | None:
    if not isinstance(value, Value) or value.constant is None:
        return None
    return int(value.constant.reshape(-1)[0])


def _is_true(value: Value) -> bool:
    return value.constant is not None and bool(value.constant.all())
