"""Splits of relevance at the product of live values."""

from dataclasses import dataclass, field
from typing import ClassVar

from onnxlrp.errors import RuleError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.kinds import Kind, Product, Relevance, some
from onnxlrp.rules.base import Rule, Stabilizer, choice, quotient

__all__ = ["GATES", "SignalOnly", "Uniform"]

GATES = ("all", "half", "abs", "prop")


@dataclass(frozen=True, kw_only=True)
class Uniform(Rule[Product]):
    """Gives half to each factor; where one is a gate or a switch, what `gates` says.

    R_i = x_i A_i(r / stabilised n y), A_i the adjoint, n the number of factors that take part.
    With y = g s, g in (0, 1): `all`: R_g = 0, R_s = r; `half`: r / 2 each;
    `abs`: R_g = r |g| / (|g| + |s|), half where both are 0; `prop`: R_g = r g / stabilised (g + s).
    Matrix products know `all` and `half` only: each of their elements sums many pairs.
    Conserves but for the stabiliser; what a g + s of 0 would carry is dead.
    Sources: Achtibat et al. 2024, uniform rule; Arras et al. 2019, LRP-all, -half, -abs and -prop.

    Attributes:
        gates: What happens where a sigmoid or a softmax keeps one factor in (0, 1): `all` (the
            signal takes all), `half`, `abs` or `prop` (which explodes where g is near -s).
        stabilizer: Size and form of epsilon.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Product,)
    gates: str = "all"
    stabilizer: Stabilizer = field(default_factory=Stabilizer)

    def __post_init__(self) -> None:
        choice("gates", self.gates, GATES)

    def propagate(self, t: Tape, m: Product, r: Relevance) -> Relevance:
        """See the class."""
        silent = self._silent(m)
        signals = silent.count(False)
        if not signals:
            raise RuleError(f"'{m.output.name}' is a product of gates only: no factor is a signal")
        if m.broadcasts and m.switch is not None and signals == 2 and self.gates == "abs":
            return _by_size(t, m, some(r))
        if m.broadcasts and m.switch is not None and signals == 2 and self.gates == "prop":
            return self._by_value(t, m, some(r))
        if m.broadcasts:
            part = some(r) if signals == 1 else t.op("Div", some(r), float(signals))
            return tuple(None if gate else part for gate in silent)
        y = t.at(m.output)
        z = y if signals == 1 else t.op("Mul", y, float(signals))
        s = quotient(t, some(r), z, self.stabilizer)
        return tuple(
            None if gate else t.op("Mul", t.at(x), adjoint(t, s))
            for x, adjoint, gate in zip(m.operands, m.adjoints, silent, strict=True)
        )

    def _silent(self, m: Product) -> tuple[bool, ...]:
        """For each factor whether it takes nothing."""
        if m.switch is None or self.gates != "all":
            return m.gates
        return tuple(gate or i == m.switch for i, gate in enumerate(m.gates))

    def _by_value(self, t: Tape, m: Product, r: Value) -> Relevance:
        factors = [t.at(x) for x in m.operands]
        s = quotient(t, r, t.total(factors), self.stabilizer)
        return tuple(t.op("Mul", x, s) for x in factors)


def _by_size(t: Tape, m: Product, r: Value) -> Relevance:
    sizes = [t.op("Abs", t.at(x)) for x in m.operands]
    total = t.total(sizes)
    empty = t.op("Equal", total, 0.0)
    ratio = t.op("Div", sizes[0], t.op("Where", empty, 1.0, total))
    first = t.op("Mul", r, t.op("Where", empty, 0.5, ratio))
    return first, t.op("Sub", r, first)


@dataclass(frozen=True, kw_only=True)
class SignalOnly(Rule[Product]):
    """Gives all to the first factor that is no gate.

    R_signal = r. Conserves exactly. Source: Arras et al. 2019 (LRP-all).
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Product,)

    def propagate(self, t: Tape, m: Product, r: Relevance) -> Relevance:
        """See the class."""
        index = m.gates.index(False)
        s = quotient(t, some(r), t.at(m.output), Stabilizer())
        part = t.op("Mul", t.at(m.operands[index]), m.adjoints[index](t, s))
        return tuple(part if i == index else None for i in range(len(m.operands)))
