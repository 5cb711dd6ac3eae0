"""Assigns a rule to every site from ordered rows; the first row that matches wins."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TypeVar

from onnxlrp.errors import CompositeError, RuleError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site
from onnxlrp.ops.bodies import nested
from onnxlrp.ops.kinds import Branch, Kind, Repeat, Stop, Unsupported
from onnxlrp.rules import RULES, AnyRule, Gradient, Rule

__all__ = [
    "BNS",
    "CELLS",
    "POSITIONS",
    "SPLITS",
    "STARTS",
    "Assigned",
    "Composite",
    "Row",
    "assign",
    "row",
]

K = TypeVar("K", bound=Kind)

POSITIONS = ("first", "last", "lower", "upper", "input")
STARTS = ("logit", "one", "probability")
BNS = ("fold", "epsilon", "identity")
CELLS = ("whole", "opwise")
SPLITS = ("proportional", "ratio", "symmetric", "coef", "skip", "branch", "copy")
WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True)
class Row:
    """One row of a composite.

    Attributes:
        kinds: Kinds that it speaks of.
        rule: The rule that it assigns.
        op: Operator types; empty: all.
        name: Glob over site names; empty: all.
        position: `first`: no site of these kinds and operators before it; `last`: none behind it;
            `lower`, `upper`: the half of them next to the input or the output; `input`: no
            weighted operator before it; empty: anywhere.
    """

    kinds: tuple[type[Kind], ...]
    rule: AnyRule
    op: tuple[str, ...] = ()
    name: str = ""
    position: str = ""

    def __post_init__(self) -> None:
        if self.position and self.position not in POSITIONS:
            raise CompositeError(f"position={self.position!r} is not one of {', '.join(POSITIONS)}")

    def describe(self) -> dict[str, object]:
        """The row as JSON writes it."""
        head: dict[str, object] = {"kind": [kind.__name__ for kind in self.kinds]}
        head |= {"op": list(self.op)} if self.op else {}
        head |= {"name": self.name} if self.name else {}
        head |= {"position": self.position} if self.position else {}
        return head | self.rule.describe()

    def speaks_of(self, site: Site, kind: Kind) -> bool:
        """Whether kind, operator and name match, wherever the site stands."""
        return (
            isinstance(kind, self.kinds)
            and (not self.op or site.op in self.op)
            and (not self.name or fnmatchcase(site.name, self.name))
        )


def row(
    kind: type[K],
    rule: Rule[K],
    *,
    op: str | tuple[str, ...] = (),
    name: str = "",
    position: str = "",
) -> Row:
    """Make a row; a rule that does not fit its kind fails in the type checker."""
    ops = (op,) if isinstance(op, str) else op
    return Row((kind,), rule, ops, name, position)  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Composite:
    """A backward method that works node by node.

    Attributes:
        name: Its name with its parameters.
        rows: The first one that matches a site gives the rule.
        split: Split at the Add of two live values, for the record; it is one of the rows.
        start: `logit`, `one` or `probability`.
        bn: What happens to batch normalisation: `fold`, `epsilon` or `identity`.
        cell: Whether the two linear parts of a recurrent cell are one map: `whole` or `opwise`.
        times_input: Whether the result is multiplied by the input.
        source: Where the method comes from.
    """

    name: str
    rows: tuple[Row, ...]
    split: str = "proportional"
    start: str = "logit"
    bn: str = "fold"
    cell: str = "whole"
    times_input: bool = False
    source: str = ""

    def describe(self) -> dict[str, object]:
        """The composite as JSON."""
        return {
            "name": self.name,
            "source": self.source,
            "split": self.split,
            "start": self.start,
            "bn": self.bn,
            "cell": self.cell,
            "times_input": self.times_input,
            "rows": [item.describe() for item in self.rows],
        }


@dataclass(frozen=True)
class Assigned:
    """The rule of a site and the row that gave it."""

    rule: AnyRule
    row: Row | None


def assign(composite: Composite, kinds: Mapping[Site, Kind]) -> dict[Site, Assigned]:
    """Give every site its rule.

    Raises:
        RuleError: A site matches no row; the text lists the rules that would fit.
    """
    every = nested(kinds)
    places = [_places(item, kinds, every) for item in composite.rows]
    assigned: dict[Site, Assigned] = {}
    for site, kind in every.items():
        if isinstance(kind, Stop | Unsupported | Repeat | Branch):
            assigned[site] = Assigned(Gradient(), None)
            continue
        for item, sites in zip(composite.rows, places, strict=True):
            if site in sites:
                assigned[site] = Assigned(item.rule, item)
                break
        else:
            raise RuleError(_no_row(composite, site, kind))
    return assigned


def _no_row(composite: Composite, site: Site, kind: Kind) -> str:
    fitting = [rule.__name__ for rule in RULES if isinstance(kind, rule.fits)]
    return (
        f"composite '{composite.name}' has no row for node '{site.name}' ({site.op}, "
        f"{type(kind).__name__}); rules that fit: {', '.join(fitting)}"
    )


def _places(item: Row, kinds: Mapping[Site, Kind], every: Mapping[Site, Kind]) -> set[Site]:
    """The sites that a row applies to; a row with a position does not look into bodies."""
    if not item.position:
        return {site for site, kind in every.items() if item.speaks_of(site, kind)}
    own = [site for site, kind in kinds.items() if item.speaks_of(site, kind)]
    if item.position == "input":
        behind = _reached(kinds, {site for site in kinds if site.op in WEIGHTED}, forward=True)
        return {site for site in own if site not in behind}
    if item.position == "first":
        return set(own) - _reached(kinds, set(own), forward=True)
    if item.position == "last":
        return set(own) - _reached(kinds, set(own), forward=False)
    half = math.ceil(len(own) / 2)
    if item.position == "lower":
        return set(own[:half])
    return set(own[half:] if item.position == "upper" else own)


def _reached(kinds: Mapping[Site, Kind], start: set[Site], *, forward: bool) -> set[Site]:
    """The sites strictly behind (or before) any site of a set."""
    order = list(kinds) if forward else list(kinds)[::-1]
    hot: set[Value] = set()
    found: set[Site] = set()
    for site in order:
        outputs = {value for value in site.outputs if value is not None}
        operands = set(kinds[site].operands)
        came, goes = (operands, outputs) if forward else (outputs, operands)
        if came & hot:
            found.add(site)
        if came & hot or site in start:
            hot |= goes
    return found
