"""What becomes of a node case: compiled and checked, a declared stop, refused, not testable."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

import onnxlrp
from onnxlrp.errors import Error, RuleError
from tests.backend.checks import Described, conservation, derivative
from tests.backend.collected import NodeCase, NotTestableError, cases, frozen, prepared
from tests.engine import Session

SIDE = ("attn_mask", "past_")
"""Beginnings of the names of masks and caches: they are explained only where they are named."""

ALL, ONE, FROZEN = "all inputs", "one input", "one input, others constant"
"""What is explained: exporters write weights, shapes and axes as constants, cases as inputs."""


@dataclass(frozen=True)
class Outcome:
    """What becomes of a case.

    Attributes:
        state: `described`, `stop`, `refused`, `crashed` or `not testable`.
        reason: Why it is not described, or not for all of its inputs.
        form: Which inputs are explained.
        held: Float inputs that get no relevance though all were asked for.
        wrong: What the checks found, one line each.
    """

    state: str
    reason: str = ""
    form: str = ""
    held: tuple[str, ...] = ()
    wrong: tuple[str, ...] = ()


@functools.cache
def outcomes(op: str) -> dict[str, Outcome]:
    """All cases of one operator, once per process."""
    return {case.name: examined(case) for case in cases().get(op, ())}


@functools.cache
def states(op: str) -> dict[str, Outcome]:
    """The cases of one operator that hold the operator itself, without the checks."""
    own = (case for case in cases().get(op, ()) if not case.expanded)
    return {case.name: _seen().get(case.name) or _tried(case) for case in own}


@functools.cache
def _seen() -> dict[str, Outcome]:
    """What `examined` has found already."""
    return {}


def _tried(case: NodeCase) -> Outcome:
    try:
        return described(case)[0]
    except Exception as error:  # noqa: BLE001 - whatever is raised here is a finding
        return Outcome("crashed", f"{type(error).__name__}: {error}")


def examined(case: NodeCase) -> Outcome:
    """Compile a case, then run all checks."""
    outcome = Outcome("crashed")
    try:
        outcome, found = described(case)
        wrong = (*derivative(found), *conservation(found)) if found else ()
    except Exception as error:  # noqa: BLE001 - as above
        wrong = (f"{case.name}: {type(error).__name__}: {str(error)[:200]}",)
    _seen()[case.name] = replace(outcome, wrong=wrong)
    return _seen()[case.name]


def described(case: NodeCase) -> tuple[Outcome, Described | None]:
    """What becomes of a case without the checks, and how it compiles."""
    reason = ""
    try:
        for form, asked, source, inputs in _forms(case):
            try:
                found = _compiled(asked, source, inputs)
            except RuleError as error:
                if form == ALL and "no float path" in str(error):
                    return Outcome("stop", str(error)), None
                reason = reason or str(error)
            except Error as error:
                reason = reason or str(error)
            else:
                held = tuple(set(asked.floats()) - set(found.inputs)) if form == ALL else ()
                return Outcome("described", reason, form, held), found
    except NotTestableError as error:
        return Outcome("not testable", str(error)), None
    return Outcome("refused", reason), None


def _compiled(case: NodeCase, source: Session, inputs: list[str] | None) -> Described:
    """Compile the first float output that depends on an explained input.

    Raises:
        Error: What `compile` raises.
    """
    graph = onnxlrp.compile(
        case.model, composite="gradient", target="seed", keep_softmax=True, inputs=inputs
    )
    explained = graph.metadata.inputs
    return Described(case, source, graph, explained, inputs, _linear(case, inputs))


def _linear(case: NodeCase, inputs: list[str] | None) -> bool:
    """Whether the case is one node that is affine in the explained inputs together."""
    if len(case.model.graph.node) != 1:
        return False
    report = onnxlrp.inspect(case.model, composite="gradient", keep_softmax=True, inputs=inputs)
    return {row.kind for row in report.rows} <= {"LinearMap", "Move", "Sum"}


def _forms(case: NodeCase) -> Iterator[tuple[str, NodeCase, Session, list[str] | None]]:
    ready, source = prepared(case)
    floats = ready.floats()
    yield ALL, ready, source, floats if any(name.startswith(SIDE) for name in floats) else None
    for name in floats:
        yield ONE, ready, source, [name]
        try:
            fixed, alone = prepared(frozen(ready, name))
        except NotTestableError:
            continue
        yield FROZEN, fixed, alone, [name]
