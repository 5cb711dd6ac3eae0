"""Sees a Loop that reads one entry of a sequence per turn as a Scan over that sequence."""

from collections.abc import Sequence
from dataclasses import dataclass

from onnxlrp.graph.graph import Dim, Node, Value
from onnxlrp.graph.proto import to_body
from onnxlrp.graph.view import Body, Site
from onnxlrp.lower.bodies import Turn
from onnxlrp.lower.counted import made_in
from onnxlrp.lower.sketch import Sketch

__all__ = ["Sliced", "sliced"]

ROUTES = frozenset({"Identity", "Slice", "Transpose", "Unsqueeze"})
"""Operators that may as well stand outside: they never fail."""

PLAIN = frozenset({"Cast", "Identity"})
"""Operators behind which a counter is one still."""


@dataclass(frozen=True)
class Sliced:
    """A Loop seen as a Scan.

    Attributes:
        body: Has the states and the slices as inputs, the states and what is stacked as outputs.
        sequences: What the slices are taken from.
        axes: Axis of the turns in each sequence.
    """

    body: Body
    sequences: tuple[Value, ...]
    axes: tuple[int, ...]


@dataclass(frozen=True)
class _Pick:
    """A Gather that gives one entry per turn: where in the body, of what, along which axis."""

    node: Node
    source: Value
    axis: int


def sliced(sketch: Sketch, turn: Turn, first: Sequence[Value], trip: Value) -> Sliced | None:
    """Gather(sequence, counter) in a Loop that nothing ends early  =>  a slice of a Scan.

    Written by torch.jit.script and tf2onnx. Matches where the counter runs from 0 by 1 and the
    sequence is made outside. That the sequence is long enough is sure: the Gather fails otherwise.

    Args:
        sketch: Sees what is made outside.
        turn: A turn of the Loop.
        first: First values of the states.
        trip: The number of turns.
    """
    body = turn.body
    counters = {body.inputs[0], *_counters(turn, first)}
    found = [_pick(sketch, body, site, counters) for site in body.view if site.op == "Gather"]
    picks = [pick for pick in found if pick is not None]
    if not picks:
        return None
    inner = [_free(body, pick) for pick in picks]
    sequences = [_cut(sketch, pick, trip) for pick in picks]
    axes = [pick.axis for pick in picks]
    if body.inputs[0] in to_body(body.view.graph, "", (), body.outputs)[1]:
        zero, one = sketch.t.constant_int(0), sketch.t.constant_int(1)
        sequences.append(sketch.op("Range", zero, sketch.op("Squeeze", trip), one))
        inner.append(body.inputs[0])
        axes.append(0)
    body.view.outputs = body.outputs[1:]
    fresh = Body(body.view, body.tape, (*body.inputs[2:], *inner), body.outputs[1:])
    return Sliced(fresh, tuple(sequences), tuple(axes))


def _counters(turn: Turn, first: Sequence[Value]) -> list[Value]:
    """The states that start at 0 and grow by 1."""
    body = turn.body
    found = []
    results = body.outputs[1 : 1 + len(turn.kept)]
    for index, state, result in zip(turn.kept, body.inputs[2:], results, strict=False):
        node = _behind(body, result)
        if node is None or node.op != "Add" or not _is(first[index], 0):
            continue
        one, two = (value for value in node.inputs if value is not None)
        if (one is state and _is(two, 1)) or (two is state and _is(one, 1)):
            found.append(state)
    return found


def _is(value: Value, number: int) -> bool:
    return value.constant is not None and value.size == 1 and value.constant.item() == number


def _behind(body: Body, value: Value) -> Node | None:
    """The node that makes a value, behind plain copies."""
    node = body.view.graph.producer(value)
    while node is not None and node.op in PLAIN:
        node = body.view.graph.producer(next(node.sources))
    return node


def _pick(sketch: Sketch, body: Body, site: Site, counters: set[Value]) -> _Pick | None:
    source, index = site.required(0), site.required(1)
    node = body.view.graph.producer(site.output)
    while (copy := body.view.graph.producer(index)) is not None and copy.op in PLAIN:
        index = next(copy.sources)
    if node is None or index not in counters or index.shape != () or site.output in body.outputs:
        return None
    outside = _outside(sketch, body, source)
    if outside is None or outside.rank is None:
        return None
    return _Pick(node, outside, site.integer("axis") % outside.rank)


def _outside(sketch: Sketch, body: Body, value: Value) -> Value | None:
    """The value outside of which an inner one is a route, None where it is no such value."""
    if value in body.inputs:
        return None
    node = body.view.graph.producer(value)
    if node is None:
        return value
    if value.constant is not None:
        return sketch.t.constant(value.constant)
    if node.op not in ROUTES:
        return None
    sources = [None if v is None else _outside(sketch, body, v) for v in node.inputs]
    if any(new is None for new, old in zip(sources, node.inputs, strict=True) if old is not None):
        return None
    return sketch.op(node.op, *sources, **node.attributes)


def _free(body: Body, pick: _Pick) -> Value:
    """Let a value of the body be given to it, not made in it."""
    graph, value = body.view.graph, next(pick.node.results)
    site = body.view.producer(value)
    readers = graph.consumers(value)
    graph.remove(pick.node)
    for node in readers:
        graph.add(node)
    graph.declare(value)
    if site is not None:
        body.view.merge([site])
    return value


def _cut(sketch: Sketch, pick: _Pick, trip: Value) -> Value:
    """As many entries of a sequence as there are turns."""
    size: Dim = pick.source.shape[pick.axis] if pick.source.shape else None
    if size is not None and size == _size(sketch, trip):
        return pick.source
    end = sketch.op("Reshape", trip, [1])
    return sketch.op("Slice", pick.source, [0], end, [pick.axis])


def _size(sketch: Sketch, count: Value) -> Dim:
    """The size of an axis that a number is: a number, or the symbol of Gather(Shape(x), axis)."""
    if count.constant is not None:
        return int(count.constant.item())
    graph = sketch.t.graph
    node = made_in(graph, count)
    while node is not None and node.op in {*PLAIN, "Squeeze"}:
        node = made_in(graph, next(node.sources))
    if node is None or node.op != "Gather":
        return None
    sizes, index = (value for value in node.inputs if value is not None)
    made = made_in(graph, sizes)
    if made is None or made.op != "Shape" or index.constant is None or made.attributes:
        return None
    shape = next(made.sources).shape
    return None if shape is None else shape[int(index.constant.item())]
