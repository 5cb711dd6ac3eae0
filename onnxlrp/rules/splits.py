"""Splits of relevance at the sum of live values."""

from dataclasses import dataclass, field
from typing import ClassVar

from onnxlrp.graph.graph import Graph, Value
from onnxlrp.graph.skips import skip_of
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.kinds import Kind, Relevance, Sum, some
from onnxlrp.rules.base import Rule, Stabilizer, denominator, quotient

__all__ = ["Branch", "Coef", "Proportional", "Ratio", "Skip", "Symmetric"]


@dataclass(frozen=True, kw_only=True)
class Proportional(Rule[Sum]):
    """Shares in proportion to the signed summands.

    R_i = x_i r / stabilised y. Conserves but for constants and the stabiliser.
    Source: Bach et al. 2015 (epsilon rule).

    Attributes:
        stabilizer: Size and form of epsilon.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Sum,)
    stabilizer: Stabilizer = field(default_factory=Stabilizer)

    def propagate(self, t: Tape, m: Sum, r: Relevance) -> Relevance:
        """See the class."""
        offset = None if m.offset is None else m.offset(t)
        y = some(r)
        z, sign = denominator(t, y, m.output, self.stabilizer)
        s = quotient(t, y, z, self.stabilizer, offset, sign)
        return tuple(t.op("Mul", term, s) for term in m.terms(t))


@dataclass(frozen=True, kw_only=True)
class Ratio(Rule[Sum]):
    """Relevance Splitting: shares in proportion to the absolute summands, 1/n where all are 0.

    R_i = r |x_i| / sum_k |x_k|. Conserves exactly. Source: Otsuki et al. 2024, ratio-based.

    Attributes:
        identity: Whether an identity skip takes part; if not, the branch takes all there.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Sum,)
    identity: bool = True

    def propagate(self, t: Tape, m: Sum, r: Relevance) -> Relevance:
        """See the class."""
        y = some(r)
        alone = None if self.identity else _identity_skip(t.graph, m)
        if alone is not None:
            return _all_to(t, m, y, 1 - alone)
        sizes = [t.op("Abs", term) for term in m.terms(t)]
        total = t.op("Add", *sizes) if len(sizes) == 2 else t.op("Sum", *sizes)
        empty = t.op("Equal", total, 0.0)
        safe = t.op("Where", empty, 1.0, total)
        even = 1.0 / len(sizes)
        parts = [t.op("Mul", y, _ratio(t, size, safe, empty, even)) for size in sizes[:-1]]
        rest = y
        for part in parts:
            rest = t.op("Sub", rest, part)
        return (*parts, rest)


def _ratio(t: Tape, size: Value, safe: Value, empty: Value, even: float) -> Value:
    return t.op("Where", empty, even, t.op("Div", size, safe))


def _identity_skip(graph: Graph, m: Sum) -> int | None:
    skip = skip_of(graph, m.operands)
    return skip.index if skip is not None and skip.identity else None


def _all_to(t: Tape, m: Sum, r: Value, index: int) -> Relevance:
    zero = t.op("Mul", r, 0.0)
    return tuple(r if i == index else zero for i in range(len(m.operands)))


@dataclass(frozen=True, kw_only=True)
class Symmetric(Rule[Sum]):
    """Shares evenly.

    R_i = r / n, n the number of summands that take part. Conserves exactly.
    Source: Otsuki et al. 2024, symmetric; `zeros=False` is ours.

    Attributes:
        identity: Whether an identity skip takes part; if not, the branch takes all there.
        zeros: Whether a summand takes part where it is 0; if not, only where all are 0.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Sum,)
    identity: bool = True
    zeros: bool = True

    def propagate(self, t: Tape, m: Sum, r: Relevance) -> Relevance:
        """See the class."""
        alone = None if self.identity else _identity_skip(t.graph, m)
        if alone is not None:
            return _all_to(t, m, some(r), 1 - alone)
        count = float(len(m.operands))
        if self.zeros:
            return (t.op("Div", some(r), count),) * len(m.operands)
        empty = [t.op("Equal", term, 0.0) for term in m.terms(t)]
        taking = [t.op("Where", zero, 0.0, 1.0) for zero in empty]
        total = t.total(taking)
        none = t.op("Equal", total, 0.0)
        part = t.op("Div", some(r), t.op("Where", none, count, total))
        return tuple(t.op("Where", none, part, t.op("Mul", part, own)) for own in taking)


@dataclass(frozen=True, kw_only=True)
class Skip(Rule[Sum]):
    """Gives all relevance to the skip connection; in proportion where there is none.

    R_skip = r. Conserves exactly.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Sum,)

    def propagate(self, t: Tape, m: Sum, r: Relevance) -> Relevance:
        """See the class."""
        skip = skip_of(t.graph, m.operands)
        if skip is None:
            return Proportional().propagate(t, m, r)
        return _all_to(t, m, some(r), skip.index)


@dataclass(frozen=True, kw_only=True)
class Branch(Rule[Sum]):
    """Gives all relevance to the residual branch; in proportion where there is none.

    R_branch = r. Conserves exactly.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Sum,)

    def propagate(self, t: Tape, m: Sum, r: Relevance) -> Relevance:
        """See the class."""
        skip = skip_of(t.graph, m.operands)
        if skip is None:
            return Proportional().propagate(t, m, r)
        return _all_to(t, m, some(r), 1 - skip.index)


@dataclass(frozen=True, kw_only=True)
class Coef(Rule[Sum]):
    """Shares by the constants that multiply the summands: the split of a leaky integrator.

    R_i = r |c_i| / sum_k |c_k|, c_i = 1 where a summand is no product with a constant.
    Conserves exactly. Source: Landt-Hayen et al. 2022.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Sum,)

    def propagate(self, t: Tape, m: Sum, r: Relevance) -> Relevance:
        """See the class."""
        sizes = [t.op("Abs", _coefficient(t, operand)) for operand in m.operands]
        total = t.total(sizes)
        return tuple(t.op("Mul", some(r), t.op("Div", size, total)) for size in sizes)


def _coefficient(t: Tape, operand: Value) -> Value:
    node = t.graph.producer(operand)
    if node is None or node.op != "Mul":
        return t.scalar(1.0)
    return next((v for v in node.sources if not v.variable), t.scalar(1.0))
