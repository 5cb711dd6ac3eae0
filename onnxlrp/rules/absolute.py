"""Shares by the sizes of the contributions, whatever their signs."""

from dataclasses import dataclass
from typing import ClassVar

from onnxlrp.errors import CompositeError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.kinds import Kind, LinearMap, Product, Relevance, Sum, some
from onnxlrp.rules.base import Rule, Stabilizer, quotient
from onnxlrp.rules.linear import Epsilon, bias_of, require_positive, share, weight_of
from onnxlrp.rules.products import Uniform

__all__ = ["Absolute", "AbsoluteBias"]


@dataclass(frozen=True, kw_only=True)
class Absolute(Rule[Kind]):
    """Shares in proportion to the sizes of contributions, summands or factors.

    R_i = r |x_i| / (sum_k |x_k| + epsilon). Of a linear map x_i is x_i w_ij and the bias takes
    part; of a quotient a / b the factors are a and 1 / b; a matrix product gives half to each.
    Keeps the sign of r; conserves but for constants and epsilon.
    Source: DynamicLRP (Add, Sum, Mean, Mul and Div).

    Attributes:
        epsilon: Not negative; with 0, what is shared among zeros is dead.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (LinearMap, Sum, Product)
    epsilon: float = 1e-11

    def __post_init__(self) -> None:
        _check(self.epsilon)

    def propagate(self, t: Tape, m: Kind, r: Relevance) -> Relevance:
        """See the class."""
        stabilizer = Stabilizer(epsilon=self.epsilon)
        if isinstance(m, LinearMap):
            return (self._linear(t, m, some(r), stabilizer),)
        if isinstance(m, Product) and not m.broadcasts:
            return Uniform(gates="half", stabilizer=stabilizer).propagate(t, m, r)
        if isinstance(m, Product):
            pairs = zip(m.operands, m.gates, strict=True)
            terms = [t.op("Reciprocal", t.at(x)) if gate else t.at(x) for x, gate in pairs]
            offset = None
        else:
            assert isinstance(m, Sum)
            terms = list(m.terms(t))
            offset = None if m.offset is None else t.op("Abs", m.offset(t))
        sizes = [t.op("Abs", term) for term in terms]
        z = t.total([*sizes, offset] if offset is not None else sizes)
        s = quotient(t, some(r), z, stabilizer, offset, sign=1)
        return tuple(t.op("Mul", size, s) for size in sizes)

    def _linear(self, t: Tape, m: LinearMap, r: Value, stabilizer: Stabilizer) -> Value:
        w, bias = weight_of(t, m), bias_of(t, m)
        if w is None:
            require_positive(m)
        pair = (t.op("Abs", t.at(m.operand)), None if w is None else t.op("Abs", w))
        size = None if bias is None else t.op("Abs", bias)
        return share(t, m, r, [pair], stabilizer, bias=size, sign=1)


@dataclass(frozen=True, kw_only=True)
class AbsoluteBias(Rule[LinearMap]):
    """A linear map and the addition of its bias, one after the other.

    R_z = r |z| / (|z| + |b| + epsilon), z = W x; R_in = x * W^T (R_z / stabilised z).
    Conserves but for the bias and the stabilisers. Source: DynamicLRP, whose bias is a summand.

    Attributes:
        epsilon: Of both steps; not negative.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (LinearMap,)
    epsilon: float = 1e-11

    def __post_init__(self) -> None:
        _check(self.epsilon)

    def propagate(self, t: Tape, m: LinearMap, r: Relevance) -> Relevance:
        """See the class."""
        stabilizer = Stabilizer(epsilon=self.epsilon)
        bias = bias_of(t, m)
        if bias is None:
            return Epsilon(stabilizer=stabilizer).propagate(t, m, r)
        x, w = t.at(m.operand), weight_of(t, m)
        z = m.forward(t, x, w)
        own, other = t.op("Abs", z), t.op("Abs", bias)
        s = quotient(t, some(r), t.op("Add", own, other), stabilizer, other, sign=1)
        return (share(t, m, t.op("Mul", own, s), [(x, w)], stabilizer, z=z),)


def _check(epsilon: float) -> None:
    if not epsilon >= 0:
        raise CompositeError(f"epsilon={epsilon} must not be negative")
