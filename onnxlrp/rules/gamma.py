"""The gamma rule: contributions of the sign of the output count more."""

from dataclasses import dataclass, field
from typing import ClassVar

from onnxlrp.errors import CompositeError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.signs import STEEP
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Relevance, some
from onnxlrp.rules.base import BIASES, NEGATIVE_INPUTS, Rule, Stabilizer, choice
from onnxlrp.rules.linear import (
    Pair,
    bias_of,
    contributions,
    negative_is_rest,
    negative_part,
    positive_part,
    require_positive,
    share,
    weight_of,
)

__all__ = ["Gamma"]

SYMMETRIC = frozenset({"clip", "signed", "zero-only"})
"""Modes of the stabiliser that treat -z as they treat z."""


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
        if self._joins(t, m):
            return (self._joined(t, m, y),)
        parts = [
            self._part(t, m, t.op("Where", t.op("Greater", z, 0.0), y, 0.0), positive=True),
            self._part(t, m, t.op("Where", t.op("Less", z, 0.0), y, 0.0), positive=False),
        ]
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
        """Whether both sides have one denominator: W- x is W x - W+ x, and epsilon has its sign."""
        plain = self.stabilizer.mode in SYMMETRIC and not self.stabilizer.rms
        return plain and negative_is_rest(t, m, self.bias)

    def _joined(self, t: Tape, m: LinearMap, r: Value) -> Value:
        """Both sides with one more product, one division and two adjoints.

        With g = gamma (W+ x + b+): U x + u = z + g, V x + v = (1 + gamma) z - g. So both sizes are
        d = z + g where z > 0, else -(1 + gamma) z + g; with s = r sign(z) / d and n = s [z < 0]
        R_in = x (U^T s - gamma |W|^T n), for V = U - gamma |W|.
        """
        x, z, w, bias = t.at(m.operand), t.at(m.output), some((weight_of(t, m),)), bias_of(t, m)
        extra = contributions(t, m, [(x, self._scaled(t, positive_part(t, w)))], None)
        if bias is not None:
            extra = t.op("Add", extra, self._scaled(t, positive_part(t, bias)))
        size = t.op("Add", t.op("LeakyRelu", z, alpha=-(1 + self.gamma)), extra)
        stable = self.stabilizer.apply(t, size, 1)
        sign = t.op("Sign", z)
        s = t.op("Div", t.op("Mul", r, sign), stable)
        n = t.op("Mul", s, t.op("HardSigmoid", z, alpha=-STEEP, beta=0.0))
        t.absorb("stabilizer", lambda: t.op("Mul", t.op("Mul", s, sign), t.op("Sub", stable, size)))
        up, down = (self._bias(t, m, positive=side) for side in (True, False))
        if up is not None and down is not None:
            t.absorb("bias", lambda: t.op("Mul", t.op("Sub", s, n), up))
            t.absorb("bias", lambda: t.op("Mul", n, down))
        both = m.adjoint(t, s, self._favoured(t, w, positive=True))
        less = m.adjoint(t, n, self._scaled(t, t.op("Neg", t.op("Abs", w))))
        return t.op("Mul", x, t.op("Add", both, less))

    def _scaled(self, t: Tape, value: Value) -> Value:
        return t.op("Mul", value, self.gamma)

    def _favour(self, t: Tape, m: LinearMap, x: Value, *, positive: bool) -> Pair:
        """X and W + gamma W+ (W-); without a weight tensor, all of W being W+, x is scaled."""
        w = weight_of(t, m)
        if w is None:
            require_positive(m)
            return (t.op("Mul", x, 1 + self.gamma) if positive else x), None
        return x, self._favoured(t, w, positive=positive)

    def _favoured(self, t: Tape, value: Value, *, positive: bool) -> Value:
        """V + gamma max(v, 0), or with the minimum."""
        part = t.op("Max" if positive else "Min", value, 0.0)
        return t.op("Add", value, self._scaled(t, part))

    def _bias(self, t: Tape, m: LinearMap, *, positive: bool) -> Maybe:
        bias = bias_of(t, m)
        if bias is None or self.bias in {"raw", "both"}:
            return bias
        if self.bias == "none":
            return None
        return self._favoured(t, bias, positive=positive)
