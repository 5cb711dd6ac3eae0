"""The node cases of the onnx package, compiled: about 1,900 models of one operator each."""

import sys
from collections import Counter
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from tests.backend.checks import derivative
from tests.backend.collected import cases, operators
from tests.backend.outcome import Outcome, described, outcomes, states
from tools import supported_ops

KNOWN = {
    "test_attention_local_window_gqa_rank4_mask_expanded": "a row of scores that are all -inf: its "
    "softmax, in float64, is NaN, and what replaces it reads the deployed copy",
}
"""Cases among which some fail, and why; a line whose cases all pass must go."""

HELD = {
    "BatchNormalization": {"s", "bias", "mean", "var"},
    "CastLike": {"like"},
    "Clip": {"min", "max"},
    "DequantizeLinear": {"x_scale"},
    "Dropout": {"r"},
    "GridSample": {"Grid"},
    "Mod": {"y"},
    "Pad": {"value"},
    "Range": {"limit"},
    "Resize": {"roi", "scales"},
    "RoiAlign": {"rois"},
    "Upsample": {"scales"},
}
"""Float inputs that are stops by their role, also under `gradient`."""

LEAST = 0.98
"""Share of the operators with float outputs all of whose cases are described; it may only rise."""


@pytest.mark.parametrize("op", operators())
def test_operator(op: str) -> None:
    """Prediction, derivative and conservation of every case that compiles."""
    found = outcomes(op)
    wrong = {name: outcome.wrong for name, outcome in found.items() if outcome.wrong}
    unknown = [line for name, lines in wrong.items() if not known(name) for line in lines]
    assert not unknown, "\n".join(unknown)
    better = {pattern for name in found for pattern in known(name)}
    better -= {pattern for name in wrong for pattern in known(name)}
    assert not better, f"to be taken out of KNOWN: {', '.join(better)}"
    held = {name for outcome in found.values() for name in outcome.held}
    assert held <= HELD.get(op, set())


def known(name: str) -> set[str]:
    return {pattern for pattern in KNOWN if fnmatchcase(name, pattern)}


@pytest.mark.parametrize("name", ["test_sigmoid", "test_layer_normalization_2d_axis1", "test_conv"])
def test_a_wrong_derivative_is_found(name: str) -> None:
    """All relevance made 2 % larger."""
    case = next(item for items in cases().values() for item in items if item.name.startswith(name))
    _, found = described(case)
    assert found is not None
    assert derivative(found) == []
    model = onnx.ModelProto()
    model.CopyFrom(found.graph.model)
    factor = numpy_helper.from_array(np.float32(1.02), "factor")
    model.graph.initializer.append(factor)
    for node in list(model.graph.node):
        for index, output in enumerate(node.output):
            if output.startswith("relevance/"):
                node.output[index] = f"right/{output}"
                scaled = helper.make_node("Mul", [f"right/{output}", "factor"], [output])
                model.graph.node.append(scaled)
    graph = replace(found.graph, model=model)
    assert len(derivative(replace(found, graph=graph))) == 1


def operator_state(found: dict[str, Outcome]) -> tuple[str, str]:
    """The state of an operator by those of its float32 cases, and a reason."""
    tested = [item for item in found.values() if item.state not in {"not testable", "stop"}]
    described = [item for item in tested if item.state == "described"]
    reason = next((item.reason for item in tested if item.state != "described"), "")
    if tested:
        if len(described) == len(tested):
            return "described", ""
        return ("partly" if described else "refused"), reason
    if any(item.state == "stop" for item in found.values()):
        return "stop", ""
    return "not testable", next((item.reason for item in found.values()), "no case")


def test_states(capsys: pytest.CaptureFixture[str]) -> None:
    """Count the operators and the cases per state; the share that is described does not drop.

    The first share that is printed counts operators of which some cases are refused (`partly`) as
    described, the second one does not. Neither counts stops and operators without a case that can
    be tested.
    """
    found = {op: states(op) for op in operators()}
    by_operator = {op: operator_state(items) for op, items in found.items()}
    counts = Counter(state for state, _ in by_operator.values())
    every = [outcome for items in found.values() for outcome in items.values()]
    untested = Counter(case.reason for case in every if case.state == "not testable")
    counted = counts["described"] + counts["partly"] + counts["refused"]
    some, share = counts["described"] + counts["partly"], counts["described"] / counted
    lines = [
        f"{some / counted:.1%} of {counted} operators with float outputs are described",
        f"{share:.1%} where those that are described in part are not counted",
        f"operators: {dict(counts)}",
        f"cases: {dict(Counter(case.state for case in every))}",
        f"explained: {dict(Counter(case.form for case in every if case.form))}",
        *(f"not testable, cases: {reason}: {n}" for reason, n in untested.most_common()),
        *(
            line
            for state in ("not testable", "partly", "refused")
            for line in rows(state, by_operator)
        ),
    ]
    with capsys.disabled():
        sys.stdout.write("\n" + "\n".join(lines) + "\n")
    assert share >= LEAST
    wrong = {op: state for op, (state, _) in by_operator.items() if not is_stated(op, state)}
    assert not wrong, "docs/operators.md says something else"


def is_stated(op: str, state: str) -> bool:
    """Whether the table of operators says what its cases say."""
    if state == "not testable" or op.startswith("ai.onnx.preview"):
        return True
    stated = supported_ops.row(op).state
    crossed = state in {"described", "partly"}
    return stated in supported_ops.DESCRIBED if crossed else stated == state


def rows(wanted: str, by_operator: dict[str, tuple[str, str]]) -> list[str]:
    """The operators in one state, by reason."""
    groups: dict[str, list[str]] = {}
    for op, (state, reason) in by_operator.items():
        if state == wanted:
            own = reason.startswith("node '")
            short = reason.partition("): ")[2].partition(";")[0] if own else reason
            groups.setdefault(short[:90], []).append(op)
    return [f"{wanted}: {reason}: {', '.join(ops)}" for reason, ops in sorted(groups.items())]
