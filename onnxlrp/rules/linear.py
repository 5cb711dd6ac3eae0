"""Rules for linear maps: each is a choice of the contributions among which relevance is shared."""

from dataclasses import dataclass, field
from typing import ClassVar

from onnxlrp.errors import CompositeError, RuleError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Relevance, some
from onnxlrp.rules.base import (
    BIASES,
    NEGATIVE_INPUTS,
    NEGATIVES,
    Rule,
    Stabilizer,
    choice,
    denominator,
    even_quotient,
    quotient,
)

__all__ = ["AlphaBeta", "Epsilon", "MeanEpsilon"]

Pair = tuple[Maybe, Maybe]
"""An input and a weight; their product are contributions. A missing input is all ones."""


def weight_of(t: Tape, m: LinearMap) -> Maybe:
    """The weight of a map, None where it has none."""
    return None if m.weight is None else m.weight(t)


def bias_of(t: Tape, m: LinearMap) -> Maybe:
    """The bias of a map, None where it is zero."""
    return None if m.bias is None else m.bias(t)


def share(  # noqa: PLR0913 - all parts of one quotient
    t: Tape,
    m: LinearMap,
    r: Value,
    pairs: list[Pair],
    stabilizer: Stabilizer,
    *,
    bias: Maybe = None,
    z: Maybe = None,
    sign: int = 0,
) -> Value:
    """Share r among contributions x_i w_ij: R_i = sum_j x_i w_ij r_j / stabilised z_j.

    A stabiliser of mode `even` adds sum_j (r_j - s_j z_j) / n_j, n_j the inputs of output j.

    Args:
        t: The tape.
        m: The map.
        r: Relevance of the output.
        pairs: Inputs and weights of the contributions.
        stabilizer: For the denominator.
        bias: What the denominator holds beside the contributions.
        z: The denominator, where it is known already.
        sign: Sign of z where it is known.
    """
    even = stabilizer.mode == "even"
    if not pairs and even:
        return evenly(t, m, r)
    if not pairs:
        t.absorb("dead", lambda: r)
        return t.zeros(m.operand)
    z = contributions(t, m, pairs, bias) if z is None else z
    if even:
        s, rest = even_quotient(t, r, z, stabilizer, bias, sign)
        return t.total([*_back(t, m, s, pairs), evenly(t, m, rest)])
    return t.total(_back(t, m, quotient(t, r, z, stabilizer, bias, sign), pairs))


def contributions(t: Tape, m: LinearMap, pairs: list[Pair], bias: Maybe) -> Value:
    """The sum of all contributions to each output."""
    terms = [m.forward(t, _ones(t, m) if x is None else x, w) for x, w in pairs]
    return t.total([*terms, bias] if bias is not None else terms)


def _back(t: Tape, m: LinearMap, s: Value, pairs: list[Pair]) -> list[Value]:
    """The part of each pair: x * W^T s."""
    found = []
    for x, w in pairs:
        c = m.adjoint(t, s, w)
        found.append(c if x is None else t.op("Mul", x, c))
    return found


def evenly(t: Tape, m: LinearMap, r: Value, stabilizer: Stabilizer | None = None) -> Value:
    """Share r among all inputs of each output alike; padding takes nothing.

    A map without a weight tensor shares by its own coefficients.
    """
    w = weight_of(t, m)
    ones = None if w is None else t.op("Expand", 1.0, t.op("Shape", w))
    return share(t, m, r, [(None, ones)], stabilizer or Stabilizer(epsilon=0.0), sign=1)


def _ones(t: Tape, m: LinearMap) -> Value:
    return like_operand(t, t.scalar(1.0), m)


def like_operand(t: Tape, value: Value, m: LinearMap) -> Value:
    """Broadcast a constant to the shape of the operand; of one sample where that is enough."""
    x = m.operand
    if not m.samplewise:
        return t.op("Expand", value, t.shape(x))
    if x.shape is not None and all(isinstance(dim, int) for dim in x.shape[1:]):
        return t.op("Expand", value, [1, *(dim for dim in x.shape[1:] if isinstance(dim, int))])
    return t.op("Expand", value, t.op("Concat", [1], t.op("Shape", x, start=1), axis=0))


def positive_part(t: Tape, value: Value) -> Value:
    """max(v, 0)."""
    return value if t.signs.nonnegative(value) else t.op("Max", value, 0.0)


def negative_part(t: Tape, value: Value) -> Maybe:
    """min(v, 0), or None where v is never negative."""
    return None if t.signs.nonnegative(value) else t.op("Min", value, 0.0)


def signed_weights(t: Tape, m: LinearMap) -> tuple[bool, Maybe, Maybe]:
    """Whether there are negative weights, then W+ and W-."""
    w = weight_of(t, m)
    if w is None:
        require_positive(m)
        return False, None, None
    negative = negative_part(t, w)
    return negative is not None, positive_part(t, w), negative


def require_positive(m: LinearMap) -> None:
    if not m.positive:
        raise RuleError(
            f"the map to '{m.output.name}' has weights of both signs that are no tensor: "
            "give it Epsilon"
        )


def signed_pairs(t: Tape, m: LinearMap, *, positive: bool, split: bool = True) -> list[Pair]:
    """The pairs whose products are the positive (or negative) contributions.

    Without `split` the signs are those of the weights alone, whatever the input.
    """
    both, up, down = signed_weights(t, m)
    x = t.at(m.operand)
    same, other = (up, down) if positive else (down, up)
    pairs: list[Pair] = []
    if positive or both:
        pairs.append((positive_part(t, x) if split else x, same))
    low = negative_part(t, x) if split else None
    if low is not None and (both or not positive):
        pairs.append((low, other))
    return pairs


def negative_is_rest(t: Tape, m: LinearMap, bias: str) -> bool:
    """Whether W- x + b- is z - (W+ x + b+): no negative input, and the bias has its two parts."""
    parts = m.bias is None or bias == "positive"
    return parts and m.weight is not None and t.signs.nonnegative(m.operand)


def signed_bias(t: Tape, bias: Maybe, policy: str, *, positive: bool) -> Maybe:
    """The bias in the positive or negative denominator, by policy."""
    if bias is None or policy == "none" or (policy == "raw" and not positive):
        return None
    if policy in {"raw", "both"}:
        return bias
    return positive_part(t, bias) if positive else t.op("Min", bias, 0.0)


@dataclass(frozen=True, kw_only=True)
class Epsilon(Rule[LinearMap]):
    """Shares in proportion to the contributions; LRP-0 for epsilon 0.

    R_in = x * W^T (r / stabilised (W x + b)).
    Conserves but for the bias (`bias=none` leaves it out of the denominator) and the stabiliser.
    Source: Bach et al. 2015, equations 58 and 60.

    Attributes:
        stabilizer: Size and form of epsilon.
        bias: `raw` or `none`.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (LinearMap,)
    stabilizer: Stabilizer = field(default_factory=Stabilizer)
    bias: str = "raw"

    def __post_init__(self) -> None:
        choice("bias", self.bias, BIASES)

    def propagate(self, t: Tape, m: LinearMap, r: Relevance) -> Relevance:
        """See the class."""
        pairs: list[Pair] = [(t.at(m.operand), weight_of(t, m))]
        bias = bias_of(t, m)
        if bias is not None and self.bias == "none":
            return (share(t, m, some(r), pairs, self.stabilizer),)
        z, sign = denominator(t, some(r), m.output, self.stabilizer)
        return (share(t, m, some(r), pairs, self.stabilizer, bias=bias, z=z, sign=sign),)


@dataclass(frozen=True, kw_only=True)
class MeanEpsilon(Rule[LinearMap]):
    """Epsilon for a mean over an axis, with epsilon added to the sum instead of the mean.

    R_in = x r / stabilised sum x. Conserves but for the stabiliser.
    Source: LXT, the mean of Achtibat et al. 2024.

    Attributes:
        stabilizer: Size and form of epsilon.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (LinearMap,)
    stabilizer: Stabilizer = field(default_factory=Stabilizer)

    def propagate(self, t: Tape, m: LinearMap, r: Relevance) -> Relevance:
        """See the class."""
        x, y = t.at(m.operand), t.at(m.output)
        sizes = [t.op("Cast", t.op("Size", value), to=1) for value in (x, y)]
        count = t.op("Div", *sizes)
        s = quotient(t, some(r), t.op("Mul", y, count), self.stabilizer)
        return (t.op("Mul", x, m.adjoint(t, t.op("Mul", s, count), weight_of(t, m))),)


@dataclass(frozen=True, kw_only=True)
class AlphaBeta(Rule[LinearMap]):
    """Shares alpha r among the positive and -beta r among the negative contributions.

    R_in = alpha sum (x w)+ r / z+ - beta sum (x w)- r / z-. Alpha 1, beta 0 is z+.
    Conserves where both parts exist; what an empty part would carry is dead.
    Source: Bach et al. 2015, equation 60.

    Attributes:
        alpha: At least 1 (alpha - beta = 1).
        beta: Not negative.
        stabilizer: Size and form of epsilon.
        bias: `positive`: b+ and b- in their denominators; `raw`: b in the first; `both`; `none`.
        negative_input: `split`: signs of products; `ignore`: signs of weights.
        follow: Share negative relevance among the negative contributions (for a signed score).
        negative: How z- is found: `products` sums the negative contributions; `difference` takes
            z - z+ where the input has no negative element, one product less, and loses the digits
            of a z- that is small beside z+.
        joint: Whether contributions of positive and of negative inputs have one denominator; if
            not, each side shares all of r (Chefer et al. 2021; the surplus is column `rule`).
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (LinearMap,)
    alpha: float = 1.0
    beta: float = 0.0
    stabilizer: Stabilizer = field(default_factory=Stabilizer)
    bias: str = "positive"
    negative_input: str = "split"
    follow: bool = False
    negative: str = "products"
    joint: bool = True

    def __post_init__(self) -> None:
        choice("bias", self.bias, BIASES)
        choice("negative_input", self.negative_input, NEGATIVE_INPUTS)
        choice("negative", self.negative, NEGATIVES)
        if self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise CompositeError(
                f"alpha={self.alpha}, beta={self.beta}: alpha - beta must be 1 and beta >= 0"
            )

    def propagate(self, t: Tape, m: LinearMap, r: Relevance) -> Relevance:
        """See the class."""
        y = some(r)
        if self.follow:
            parts = [self._part(t, m, t.op("Max", y, 0.0), positive=True)]
            parts.append(self._part(t, m, t.op("Min", y, 0.0), positive=False))
            return (t.total(parts),)
        up = y if self.alpha == 1 else t.op("Mul", y, self.alpha)
        result = self._part(t, m, up, positive=True)
        if self.beta == 0:
            return (result,)
        down = self._part(t, m, t.op("Mul", y, -self.beta), positive=False)
        return (t.op("Add", result, down),)

    def _part(self, t: Tape, m: LinearMap, r: Value, *, positive: bool) -> Value:
        split = self.negative_input == "split"
        pairs = signed_pairs(t, m, positive=positive, split=split)
        bias = signed_bias(t, bias_of(t, m), self.bias, positive=positive)
        known = (split or t.signs.nonnegative(m.operand)) and self.bias in {"positive", "none"}
        sign = (1 if positive else -1) if known else 0
        if self.joint or len(pairs) < 2:
            z = None if positive else self._difference(t, m)
            return share(t, m, r, pairs, self.stabilizer, bias=bias, z=z, sign=sign)
        t.absorb("rule", lambda: t.op("Neg", r))
        return t.total(
            [share(t, m, r, [pair], self.stabilizer, bias=bias, sign=sign) for pair in pairs]
        )

    def _difference(self, t: Tape, m: LinearMap) -> Maybe:
        """min(z - z+, 0), where that is asked for and is z-."""
        if self.negative == "products" or not negative_is_rest(t, m, self.bias):
            return None
        bias = signed_bias(t, bias_of(t, m), self.bias, positive=True)
        above = contributions(t, m, signed_pairs(t, m, positive=True), bias)
        return t.op("Min", t.op("Sub", t.at(m.output), above), 0.0)
