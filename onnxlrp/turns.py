"""Carries relevance through bodies: a loop by one reverse Scan, an If by one reverse If."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from onnx import TensorProto

from onnxlrp.errors import RuleError
from onnxlrp.graph.graph import Attribute, Dim, Graph, Shape, Value
from onnxlrp.graph.proto import free_values, needed, to_body
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Body, Site
from onnxlrp.ledger import Ledger
from onnxlrp.metadata import LEDGER_COLUMNS, SCOPE
from onnxlrp.ops.bodies import LOOPED, tracks
from onnxlrp.ops.kinds import Branch, Kind, Maybe, Relevance, Repeat, Track

__all__ = ["Walk", "across"]

Walk = Callable[
    [Tape, Mapping[Site, Kind], Mapping[Value, Value], Ledger | None], dict[Value, Value]
]
"""The walk through a body: tape, kinds, seeds, ledger -> relevance of every value."""

UNKNOWN = (int(TensorProto.FLOAT), None)
LOSSES = tuple(enumerate(LEDGER_COLUMNS))[2:7]


def across(t: Tape, kind: Repeat | Branch, r: Relevance, walk: Walk) -> Relevance:
    """The relevance of each operand of a site with bodies, from that of its outputs."""
    arrived = dict(zip(kind.site.outputs, r, strict=True))
    if isinstance(kind, Branch):
        return _branch(t, kind, arrived, walk)
    return _repeat(t, kind, arrived, walk)


def _enter(t: Tape, body: Body, scope: str) -> Tape:
    """The tape of a body, set up as that of the graph around it."""
    inner = body.tape
    inner.infers = False
    inner.support.enabled = t.support.enabled
    inner.batch, inner.batched, inner.samples = t.batch, t.batched, t.samples
    inner.scope, inner.home = scope, f"{scope}/input"
    return inner


def _out(t: Tape, value: Value, like: Shape | None) -> Value:
    """A fresh copy of a value: every output of a body is one, and of known rank."""
    shape = like
    if like is not None:
        known = [dim if isinstance(dim, int) else None for dim in like]
        shape = (None, *known[1:]) if t.targets > 1 and known else tuple(known)
    copy = t.emit("Identity", (value,), [(value.dtype, shape)], {})[0]
    assert copy is not None
    return copy


def _book(t: Tape, scope: str) -> Ledger | None:
    """A ledger for a body, where one is asked for."""
    if t.losses is None:
        return None
    return Ledger(samplewise=t.losses.samplewise, scope=f"{scope}/ledger")


def _table(t: Tape, book: Ledger | None) -> list[Value]:
    """What a body loses: `[T*N, 8]`, summed over its rows."""
    if book is None or not book.names:
        return []
    return [_out(t, t.op("ReduceSum", book.table(t), [1], keepdims=0), (None, len(LEDGER_COLUMNS)))]


def _absorb(t: Tape, table: Value) -> None:
    """Report the losses of a body, `[T*N, 8]`, as losses of the site."""
    for index, column in LOSSES:
        t.absorb(column, lambda index=index: t.op("Gather", table, [index], axis=1))  # type: ignore[misc]


def _branch(t: Tape, kind: Branch, arrived: Mapping[Maybe, Maybe], walk: Walk) -> Relevance:
    """The If with the same condition whose bodies walk backwards."""
    bodies: dict[str, Attribute] = {}
    captured: dict[Value, None] = {}
    count = 0
    for label, inside in zip(("then_branch", "else_branch"), kind.insides, strict=True):
        inner = _enter(t, inside.body, f"{kind.site.name}/{label}")
        pairs = zip(inside.body.outputs, kind.site.outputs, strict=True)
        seeds = {value: r for value, outer in pairs if (r := arrived.get(outer)) is not None}
        book = _book(t, inner.scope)
        found = walk(inner, inside.kinds, seeds, book)
        inner.scope = f"{kind.site.name}/{label}"
        outputs = [_out(inner, found.get(v) or inner.zeros(v), v.shape) for v in kind.operands]
        if t.losses is not None:
            outputs += _table(inner, book) or [_out(inner, inner.op("Expand", 0.0, [1, 8]), (1, 8))]
        bodies[label], free = to_body(inner.graph, label, (), outputs)
        captured |= dict.fromkeys(free)
        count = len(outputs)
    results = _emitted(t, "If", kind.site.inputs, [UNKNOWN] * count, bodies, tuple(captured))
    if t.losses is not None:
        _absorb(t, results[-1])
    return tuple(results[: len(kind.operands)])


def _emitted(
    t: Tape,
    op: str,
    inputs: Sequence[Maybe],
    types: Sequence[tuple[int, None]],
    attributes: Mapping[str, Attribute],
    captured: Sequence[Value],
) -> list[Value]:
    results = t.emit(op, inputs, types, attributes, captured)
    return [value for value in results if value is not None]


@dataclass
class _Scan:
    """A Scan that is being put together: each entry is an outer value and how it is read."""

    states: list[tuple[Value, Value]]
    slices: list[tuple[Value, Value, int, bool]]


def _repeat(t: Tape, kind: Repeat, arrived: Mapping[Maybe, Maybe], walk: Walk) -> Relevance:
    """One Scan that takes the turns from the last to the first."""
    body, scope = kind.inside.body, kind.site.name
    _require_axes(t, kind)
    inner = _enter(t, body, f"{scope}/turn")
    carried = [_formal(inner, f"{scope}/carried_{i}") for i in range(len(kind.states))]
    seeds = {v.result: r for v, r in zip(kind.states, carried, strict=True) if v.result}
    given = _Scan([], [])
    for track, r in zip(kind.states, carried, strict=True):
        start = arrived.get(track.final) if track.final is not None else None
        assert track.outer is not None
        given.states.append((start or t.zeros(track.outer), r))
    for index, track in enumerate(kind.stacks):
        if (outer := arrived.get(track.outer)) is not None:
            r = _formal(inner, f"{scope}/arrived_{index}")
            seeds[track.inner] = r
            given.slices.append((outer, r, track.axis, not track.backwards))
    book = _book(t, inner.scope)
    found = walk(inner, kind.inside.kinds, seeds, book)
    inner.scope = f"{scope}/turn"
    table = _table(inner, book)
    sums = [value for value in kind.captured if value in found]
    outputs = [_out(inner, _back(inner, found, v), v.inner.shape) for v in kind.states]
    for index, value in enumerate(sums):
        r = _formal(inner, f"{scope}/sum_{index}")
        given.states.append((t.zeros(value), r))
        outputs.append(_out(inner, inner.op("Add", r, found[value]), value.shape))
    outputs += [_out(inner, _back(inner, found, v), v.inner.shape) for v in kind.slices]
    outputs += table
    if _may_be_empty(kind):
        results = _guarded(t, kind, given, outputs)
    else:
        results = _reversed(t, kind, given, outputs)
    if table:
        _absorb(t, t.op("ReduceSum", results[-1], [0], keepdims=0))
    return _shares(t, kind, results, sums)


def _require_axes(t: Tape, kind: Repeat) -> None:
    """Refuse several targets per sample where the turns run along the axis of the batch."""
    for track in (*kind.slices, *kind.stacks):
        if t.targets > 1 and track.axis == 0 and track.outer is not None:
            raise RuleError(
                f"several targets per sample need the batch on axis 0 of every value; "
                f"'{track.outer.name}' has the turns of '{kind.site.name}' there: use one target"
            )


def _formal(t: Tape, name: str) -> Value:
    return t.graph.declare(Value(SCOPE + name, variable=True))


def _back(t: Tape, found: Mapping[Value, Value], track: Track) -> Value:
    return found.get(track.inner) or t.zeros(track.inner)


def _shares(t: Tape, kind: Repeat, results: list[Value], sums: list[Value]) -> Relevance:
    """The results in the order of the operands; what is left at a constant start is its bias."""
    live = set(kind.operands)
    first: list[Maybe] = []
    for track, value in zip(kind.states, results, strict=False):
        if track.outer in live:
            first.append(value)
        else:
            t.absorb("bias", lambda value=value: value)  # type: ignore[misc]
    count = len(kind.states)
    total = dict(zip(sums, results[count:], strict=False))
    slices = results[count + len(sums) :][: len(kind.slices)]
    return (*first, *slices, *(total.get(value) for value in kind.captured))


def _may_be_empty(kind: Repeat) -> bool:
    """Whether there may be no turn at all: only a Loop can do without."""
    site = kind.site
    if site.note == LOOPED:
        return any(not isinstance(dim, int) for dim in _turns(kind))
    if site.op != "Loop":
        return False
    trip, going = site.input(0), site.input(1)
    return any(v is not None and (v.constant is None or v.is_zero) for v in (trip, going))


def _turns(kind: Repeat) -> list[Dim]:
    """The sizes along which a Scan runs."""
    sequences = tracks(kind.site, kind.inside.body)[1]
    shapes = [(v.outer.shape, v.axis) for v in sequences if v.outer is not None]
    return [None if shape is None else shape[axis] for shape, axis in shapes]


def _guarded(t: Tape, kind: Repeat, given: _Scan, outputs: list[Value]) -> list[Value]:
    """The reverse Scan where there was a turn; else the states keep what arrived.

    ONNX Runtime refuses a Scan over nothing.
    """
    some, none = (_aside(t, f"{kind.site.name}/{label}") for label in ("some", "none"))
    results = _reversed(some, kind, given, outputs)
    count = len(given.states)
    empty = [_out(none, start, None) for start, _ in given.states]
    empty += [_out(none, none.zeros(v.outer), None) for v in kind.slices if v.outer is not None]
    empty += [
        _out(none, none.op("Expand", 0.0, [1, 1, len(LEDGER_COLUMNS)]), None)
        for _ in results[count + len(kind.slices) :]
    ]
    bodies: dict[str, Attribute] = {}
    captured: dict[Value, None] = {}
    for label, tape, values in (("then_branch", some, results), ("else_branch", none, empty)):
        bodies[label], free = to_body(tape.graph, label, (), values)
        captured |= dict.fromkeys(free)
    condition = _any_turn(t, kind)
    return _emitted(t, "If", [condition], [UNKNOWN] * len(outputs), bodies, tuple(captured))


def _aside(t: Tape, scope: str) -> Tape:
    """A tape for a branch of the explanation itself."""
    tape = Tape(Graph(t.graph.source, t.graph.folder), t.targets, t)
    tape.batch, tape.batched, tape.scope = t.batch, t.batched, scope
    return tape


def _any_turn(t: Tape, kind: Repeat) -> Value:
    """Whether there is a turn."""
    site = kind.site
    if site.note == LOOPED:
        track = tracks(site, kind.inside.body)[1][0]
        assert track.outer is not None
        size = t.op("Shape", track.outer, start=track.axis, end=track.axis + 1)
        return t.op("Greater", t.op("Squeeze", size), t.constant_int(0))
    trip, going = site.input(0), site.input(1)
    flags = [] if going is None else [going]
    if trip is not None:
        flags.append(t.op("Greater", trip, t.constant_int(0)))
    return t.op("Squeeze", flags[0] if len(flags) == 1 else t.op("And", *flags))


def _reversed(t: Tape, kind: Repeat, given: _Scan, outputs: list[Value]) -> list[Value]:
    """Emit the reverse Scan; what its turns read of the forward turns is recorded first."""
    body = kind.inside.body
    formals = [inner for _, inner in given.states] + [item[1] for item in given.slices]
    free = free_values(needed(body.tape.graph, outputs), formals)
    known = {track.inner: track for track in tracks(kind.site, body)[1]}
    wanted = [value for value in body.inputs if value in free]
    if not wanted and not given.slices:
        wanted = [body.inputs[0]] if kind.site.op == "Loop" else list(known)[:1]
    missing = [value for value in wanted if value not in known]
    for inner, outer in zip(missing, _recorded(t, kind.site, body, missing), strict=True):
        given.slices.append((outer, inner, 0, True))
    for inner in wanted:
        if inner in known:
            track = known[inner]
            assert track.outer is not None
            given.slices.append((track.outer, inner, track.axis, not track.backwards))
    formals = [inner for _, inner in given.states] + [item[1] for item in given.slices]
    proto, captured = to_body(body.tape.graph, "turn", formals, outputs)
    count = len(given.states)
    stacks = [(track.axis, int(not track.backwards)) for track in kind.slices]
    stacks += [(0, 0)] * (len(outputs) - count - len(stacks))
    attributes: dict[str, Attribute] = {
        "body": proto,
        "num_scan_inputs": len(given.slices),
        "scan_input_axes": [item[2] for item in given.slices],
        "scan_input_directions": [int(item[3]) for item in given.slices],
        "scan_output_axes": [axis for axis, _ in stacks],
        "scan_output_directions": [back for _, back in stacks],
    }
    inputs = [outer for outer, _ in given.states] + [item[0] for item in given.slices]
    return _emitted(t, "Scan", inputs, [UNKNOWN] * len(outputs), attributes, captured)


def _recorded(t: Tape, site: Site, body: Body, values: Sequence[Value]) -> list[Value]:
    """Run the turns forward once more and stack what each of them is given."""
    if not values:
        return []
    lead, sliced = (1, 0) if site.op == "Loop" else (0, site.integer("num_scan_inputs"))
    count = len(site.inputs) - 2 * lead - sliced
    kept = [
        *body.outputs[: lead + count],
        *(_out(body.tape, value, value.shape) for value in values),
    ]
    proto, captured = to_body(body.tape.graph, "record", body.inputs, kept)
    attributes: dict[str, Attribute] = {"body": proto}
    if site.op == "Scan":
        given = ("num_scan_inputs", "scan_input_axes", "scan_input_directions")
        attributes |= {name: site.attributes[name] for name in given}
    types = [(value.dtype, None) for value in kept[lead:]]
    results = _emitted(t, site.op, site.inputs, types, attributes, captured)
    return results[count:]
