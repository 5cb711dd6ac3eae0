"""A split at sums that looks at the totals of the branches."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from onnxlrp.errors import RuleError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.kinds import Kind, LinearMap, Relevance, Sum, some
from onnxlrp.rules.base import Rule, Stabilizer, choice, quotient
from onnxlrp.rules.linear import bias_of, weight_of

__all__ = ["TOTALS", "Rescaled"]

TOTALS = ("sample", "batch")


@dataclass(frozen=True, kw_only=True)
class Rescaled(Rule[Kind]):
    """Shares in proportion, then scales each branch so that the totals share by their sizes.

    p_i = x_i r / stabilised y, T_i = sum p_i; R_i = p_i (|T_i| / sum_k |T_k|) (sum r) / T_i.
    A constant summand is a branch too; its part is column `bias`. Totals conserve but for the
    stabiliser and branches whose total is 0. Source: Chefer et al. 2021, published code.

    Attributes:
        totals: Sums run over one `sample`, or over the whole `batch` as published: there the
            result of a sample depends on the others (column `rule`).
        stabilizer: Size and form of epsilon, also of the denominators made of totals.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Sum, LinearMap)
    totals: str = "sample"
    stabilizer: Stabilizer = field(default_factory=Stabilizer)

    def __post_init__(self) -> None:
        choice("totals", self.totals, TOTALS)

    def propagate(self, t: Tape, m: Kind, r: Relevance) -> Relevance:
        """See the class."""
        if self.totals == "batch" and t.targets > 1:
            raise RuleError("totals=batch would mix the targets of a sample: use one target")
        y, terms = some(r), _terms(t, m)
        s = t.op("Div", y, self.stabilizer.apply(t, t.at(m.output)))
        parts = [t.op("Mul", term, s) for term in terms]
        scaled = self._scaled(t, m, y, parts)
        if self.totals == "batch":
            t.absorb("rule", lambda: t.op("Sub", y, t.total(scaled)))
        if len(scaled) > len(m.operands):
            t.absorb("bias", lambda: scaled[-1])
        return tuple(scaled[: len(m.operands)])

    def _scaled(self, t: Tape, m: Kind, r: Value, parts: Sequence[Value]) -> list[Value]:
        sums = [self._sum(t, m, part) for part in parts]
        sizes = [t.op("Abs", total) for total in sums]
        share = self._divide(t, self._sum(t, m, r), t.total(sizes))
        factors = [
            self._divide(t, t.op("Mul", size, share), total)
            for size, total in zip(sizes, sums, strict=True)
        ]
        return [t.op("Mul", part, factor) for part, factor in zip(parts, factors, strict=True)]

    def _sum(self, t: Tape, m: Kind, value: Value) -> Value:
        """The total, in a shape that broadcasts to every element it was taken of."""
        if self.totals == "batch" or not t.has_batch(m.output) or m.output.shape is None:
            return t.op("ReduceSum", value, keepdims=1)
        axes = list(range(1, len(m.output.shape)))
        return t.op("ReduceSum", value, axes, keepdims=1, noop_with_empty_axes=1)

    def _divide(self, t: Tape, r: Value, z: Value) -> Value:
        """What a total loses is a loss of its sample; over a batch, see `propagate`."""
        if self.totals == "batch":
            return t.op("Div", r, self.stabilizer.apply(t, z))
        return quotient(t, r, z, self.stabilizer)


def _terms(t: Tape, m: Kind) -> list[Value]:
    """The summands, a constant one last."""
    if isinstance(m, Sum):
        return [*m.terms(t), *([] if m.offset is None else [m.offset(t)])]
    assert isinstance(m, LinearMap)
    bias = bias_of(t, m)
    own = m.forward(t, t.at(m.operand), weight_of(t, m))
    return [own] if bias is None else [own, bias]
