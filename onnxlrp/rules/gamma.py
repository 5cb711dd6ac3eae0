"""The gamma rule: contributions of the sign of the output count more."""

from dataclasses import dataclass, field
from typing import ClassVar

from onnxlrp.errors import CompositeError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Relevance, some
from onnxlrp.rules.base import BIASES, NEGATIVE_INPUTS, Rule, Stabilizer, choice, quotient
from onnxlrp.rules.linear import (
    Pair,
    bias_of,
    contributions,
    negative_part,
    positive_part,
    require_positive,
    share,
    weight_of,
)

__all__ = ["Gamma"]


@dataclass(frozen=True, kw_only=True)
class Gamma(Rule[LinearMap]):
    """Favours contributions of the sign of the output by 1 + gamma.

    With U = W + gamma W+, V = W + gamma W-, and z the output without bias where it is left out:
    R_in = x+ U^T p + x- V^T p + x+ V^T n + x- U^T n, p = r [z > 0] / (U x+ + V x- + u),
    n = r [z < 0] / (V x+ + U x- + v). With `negative_input=ignore`: x U^T (r / (U x + u)).
    Conserves but for bias and stabiliser; where z is 0 relevance is dead.
    Source: Montavon et al. 2019; generalised by Andeol et al. 2021.

    Attributes:
        gamma: Not negative.
        stabilizer: Size and form of epsilon.
        bias: `positive`: b + gamma b+ (b-); `raw`: b; `none`.
        negative_input: `split` or `ignore`.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (LinearMap,)
    gamma: float = 0.25
    stabilizer: Stabilizer = field(default_factory=Stabilizer)
    bias: str = "positive"
    negative_input: str = "split"

    def __post_init__(self) -> None:
        choice("bias", self.bias, BIASES)
        choice("negative_input", self.negative_input, NEGATIVE_INPUTS)
        if not self.gamma >= 0:
            raise CompositeError(f"gamma={self.gamma} must not be negative")

    def propagate(self, t: Tape, m: LinearMap, r: Relevance) -> Relevance:
        """See the class."""
        y = some(r)
        if self.negative_input == "ignore":
            pairs = [self._favour(t, m, t.at(m.operand), positive=True)]
            bias = self._bias(t, m, positive=True)
            return (share(t, m, y, pairs, self.stabilizer, bias=bias),)
        if self.bias != "none" and t.support.rectified(y, m.output) is not None:
            return (self._part(t, m, y, positive=True, known=True),)
        z = self._sign_source(t, m)
        t.absorb("dead", lambda: t.op("Where", t.op("Equal", z, 0.0), y, 0.0))
        up = t.op("Where", t.op("Greater", z, 0.0), y, 0.0)
        down = t.op("Where", t.op("Less", z, 0.0), y, 0.0)
        if self._joins(t, m):
            return (self._joined(t, m, up, down),)
        parts = [self._part(t, m, up, positive=True), self._part(t, m, down, positive=False)]
        return (t.total(parts),)

    def _sign_source(self, t: Tape, m: LinearMap) -> Value:
        """Z decides which side an output is on; a bias that is left out has no say."""
        if self.bias == "none" and m.bias is not None:
            return m.forward(t, t.at(m.operand), weight_of(t, m))
        return t.at(m.output)

    def _part(
        self, t: Tape, m: LinearMap, r: Value, *, positive: bool, known: bool = False
    ) -> Value:
        """One side; `known`: r is 0 where that side is not the sign of z."""
        x = t.at(m.operand)
        low = negative_part(t, x)
        pairs = [self._favour(t, m, positive_part(t, x), positive=positive)]
        if low is not None:
            pairs.append(self._favour(t, m, low, positive=not positive))
        bias = self._bias(t, m, positive=positive)
        if not known:
            return share(t, m, r, pairs, self.stabilizer, bias=bias)
        z = t.op("Relu", contributions(t, m, pairs, bias))
        return share(t, m, r, pairs, self.stabilizer, bias=bias, z=z, sign=1)

    def _joins(self, t: Tape, m: LinearMap) -> bool:
        """Whether W- x is W x - W+ x: no negative input, and biases split as weights are."""
        plain = self.stabilizer.mode != "even" and not self.stabilizer.rms
        split = m.bias is None or self.bias == "positive"
        return plain and split and m.weight is not None and t.signs.nonnegative(m.operand)

    def _joined(self, t: Tape, m: LinearMap, up: Value, down: Value) -> Value:
        """Both sides with one more product and two adjoints instead of two and two.

        With G = gamma W+ and g = G x + gamma b+: U x + u = z + g, V x + v = (1 + gamma) z - g;
        U^T p + V^T n = W^T (p + (1 + gamma) n) + G^T (p - n).
        """
        x, z, w, wide = t.at(m.operand), t.at(m.output), weight_of(t, m), 1 + self.gamma
        favoured = t.op("Mul", positive_part(t, some((w,))), self.gamma)
        bias = bias_of(t, m)
        high = None if bias is None else t.op("Mul", positive_part(t, bias), self.gamma)
        extra = contributions(t, m, [(x, favoured)], high)
        above = t.op("Add", t.op("Relu", z), extra)
        below = t.op("Sub", t.op("Mul", t.op("Min", z, 0.0), wide), extra)
        biases = [self._bias(t, m, positive=side) for side in (True, False)]
        p = quotient(t, up, above, self.stabilizer, biases[0], 1)
        n = quotient(t, down, below, self.stabilizer, biases[1], -1)
        plain = m.adjoint(t, t.op("Add", p, t.op("Mul", n, wide)), w)
        return t.op("Mul", x, t.op("Add", plain, m.adjoint(t, t.op("Sub", p, n), favoured)))

    def _favour(self, t: Tape, m: LinearMap, x: Value, *, positive: bool) -> Pair:
        """X and W + gamma W+ (W-); without a weight tensor, all of W being W+, x is scaled."""
        w = weight_of(t, m)
        if w is None:
            require_positive(m)
            return (t.op("Mul", x, 1 + self.gamma) if positive else x), None
        part = t.op("Max" if positive else "Min", w, 0.0)
        return x, t.op("Add", w, t.op("Mul", part, self.gamma))

    def _bias(self, t: Tape, m: LinearMap, *, positive: bool) -> Maybe:
        bias = bias_of(t, m)
        if bias is None or self.bias in {"raw", "both"}:
            return bias
        if self.bias == "none":
            return None
        part = t.op("Max" if positive else "Min", bias, 0.0)
        return t.op("Add", bias, t.op("Mul", part, self.gamma))
