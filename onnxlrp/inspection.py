"""Says what will happen to a model: kind and rule per node, coverage, what is unsupported."""

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from onnxlrp.graph.read import Source
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Stop, Unsupported
from onnxlrp.plan import Plan, Request, plan
from onnxlrp.rules import AnyRule

__all__ = ["Report", "Row", "inspect"]


@dataclass(frozen=True)
class Row:
    """One site of the canonical view.

    Attributes:
        name: Name of its node.
        op: Operator type, also of composed sites.
        kind: What kind of map it is.
        rule: The rule with its parameters; empty where there is none.
        why: Why it has this rule, or what a canonizer did, or why it is unsupported.
        nodes: How many deployed nodes it spans.
        inputs: Names of the values that it reads, without constants.
        outputs: Names of the values that it computes.
    """

    name: str
    op: str
    kind: str
    rule: str
    why: str
    nodes: int
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Report:
    """What `inspect` finds.

    Attributes:
        composite: The composite that was chosen.
        output: The explained output.
        explained: The value in which relevance starts.
        inputs: The explained inputs.
        rows: Every site that relevance can reach.
        unmatched: For each node at which a pattern did not match: name, operator, reason.
    """

    composite: str
    output: str
    explained: str
    inputs: tuple[str, ...]
    rows: tuple[Row, ...]
    unmatched: tuple[tuple[str, str, str], ...]

    @property
    def unsupported(self) -> tuple[Row, ...]:
        """The rows that relevance cannot cross."""
        return tuple(row for row in self.rows if row.kind == Unsupported.__name__)

    @property
    def coverage(self) -> float:
        """Share of the nodes on the path that have a rule, 0 to 1."""
        total = sum(row.nodes for row in self.rows)
        lacking = sum(row.nodes for row in self.unsupported)
        return 1.0 if total == 0 else 1 - lacking / total

    def to_json(self) -> dict[str, object]:
        """The report as plain lists and dicts."""
        return asdict(self) | {"coverage": self.coverage}


def inspect(  # noqa: PLR0913 - the keywords of the contract
    model: Source,
    composite: str = "auto",
    *,
    split: str | None = None,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    keep_softmax: bool = False,
    base_dir: str | os.PathLike[str] | None = None,
    stops: Sequence[str] = (),
) -> Report:
    """Report what `compile` would do with the same arguments; nothing is emitted.

    Raises:
        Error: As `compile`, but for operators without a kind, which are reported.
    """
    request = Request(
        composite=composite,
        split=split,
        output=output,
        inputs=inputs,
        keep_softmax=keep_softmax,
        base_dir=base_dir,
        stops=stops,
    )
    planned = plan(model, request)
    return Report(
        composite=planned.composite.name,
        output=planned.output.value.name,
        explained=planned.output.explained.name,
        inputs=tuple(value.name for value in planned.inputs),
        rows=tuple(_row(planned, site) for site in planned.kinds),
        unmatched=tuple((site.name, site.op, why) for site, why in planned.view.reasons),
    )


def _row(planned: Plan, site: Site) -> Row:
    rule, why = _rule(planned, site)
    return Row(
        name=site.name,
        op=site.op,
        kind=type(planned.kinds[site]).__name__,
        rule=rule,
        why=why,
        nodes=len(site.nodes),
        inputs=tuple(value.name for value in site.inputs if value is not None and value.variable),
        outputs=tuple(value.name for value in site.outputs if value is not None),
    )


def _rule(planned: Plan, site: Site) -> tuple[str, str]:
    """The rule of a site, and why it has this one or none."""
    kind, assigned = planned.kinds[site], planned.assigned[site]
    if isinstance(kind, Unsupported):
        return "", kind.reason
    if isinstance(kind, Stop) or assigned.row is None:
        return "", "no relevance flows here"
    match = assigned.row.describe()
    why = " ".join(
        f"{key}={_plain(match[key])}" for key in ("kind", "op", "position") if key in match
    )
    return _signature(assigned.rule), why + (f"; {site.note}" if site.note else "")


def _signature(rule: AnyRule) -> str:
    """The rule with its numbers, and with what else differs from its defaults."""
    described, usual = rule.describe(), type(rule)().describe()
    flat = {**described, **_parts(described)}
    known = {**usual, **_parts(usual)}
    shown = [
        f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
        for key, value in flat.items()
        if key not in {"rule", "stabilizer"}
        and (value != known.get(key) or key in {"alpha", "beta", "gamma", "epsilon", "low", "high"})
    ]
    return f"{described['rule']}({', '.join(shown)})"


def _parts(described: dict[str, object]) -> dict[str, object]:
    stabilizer = described.get("stabilizer")
    return stabilizer if isinstance(stabilizer, dict) else {}


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={item}" for key, item in value.items())
    return "|".join(map(str, value)) if isinstance(value, list) else str(value)
