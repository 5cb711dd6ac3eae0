"""Counts the turns of a Loop whose condition depends on counters alone."""

from collections.abc import Callable, Sequence

import numpy as np
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from onnxlrp.graph.graph import Array, Graph, Node, Value
from onnxlrp.graph.proto import to_body
from onnxlrp.lower.bodies import Turn
from onnxlrp.lower.sketch import Seen, Sketch

__all__ = ["counted", "made_in", "settled"]

MOST = 4096
"""So many turns are counted, and no more."""

FEW = 32
"""Nodes of a computation that is run at compile time."""

Run = Callable[[dict[str, Array]], list[Array]]


def settled(sketch: Sketch, seen: Seen) -> Array | None:
    """The number that a value has whatever the inputs are, where a few nodes make it."""
    if not isinstance(seen, Value) or seen.variable:
        return None
    if seen.constant is not None:
        return seen.constant
    if made_in(sketch.t.graph, seen) is None:
        return None
    run = _runner(sketch.t.graph, (), [seen])
    return None if run is None else run({})[0]


def made_in(graph: Graph, value: Value) -> Node | None:
    """The node of a graph that makes a value, which may stand in a graph around it."""
    return graph.producer(value) if graph.values.get(value.name) is value else None


def counted(turn: Turn, first: Sequence[Value], most: int | None) -> int | None:
    """The number of turns of a Loop that starts; None where the data decide.

    Args:
        turn: A turn of it.
        first: First values of its states.
        most: Its trip count, or None.
    """
    body = turn.body
    results = dict(zip(body.inputs[2:], body.outputs[1:], strict=False))
    starts = {state: first[i] for state, i in zip(body.inputs[2:], turn.kept, strict=False)}
    states: list[Value] = []
    while True:
        outputs = [body.outputs[0], *(results[state] for state in states)]
        read = to_body(body.view.graph, "", (), outputs)[1]
        more = [state for state in read if state in starts and state not in states]
        if not more:
            break
        states += more
    run = _runner(body.view.graph, [body.inputs[0], *states], outputs)
    now = [starts[state].constant for state in states]
    if run is None or any(value is None for value in now):
        return None
    values: list[Array] = [value for value in now if value is not None]
    for number in range(MOST if most is None else min(most, MOST)):
        feeds = {state.name: value for state, value in zip(states, values, strict=True)}
        goes, *values = run({body.inputs[0].name: np.array(number, np.int64), **feeds})
        if not goes.all():
            return number + 1
    return most if most is not None and most <= MOST else None


def _runner(graph: Graph, inputs: Sequence[Value], outputs: Sequence[Value]) -> Run | None:
    """What computes some values of a graph from others; None where it needs more than these."""
    body, free = to_body(graph, "counted", inputs, outputs)
    missing = any(value.tensor is None or value.constant is None for value in free)
    if missing or len(body.node) > FEW:
        return None
    arrays = {value.name: value.constant for value in free}
    body.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in arrays.items() if array is not None
    )
    opset = [helper.make_opsetid("", graph.opset)]
    model = helper.make_model(body, opset_imports=opset, ir_version=10)
    evaluator = ReferenceEvaluator(model)
    names = [value.name for value in outputs]
    return lambda feeds: [np.asarray(result) for result in evaluator.run(names, feeds)]
