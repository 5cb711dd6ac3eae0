"""Rules that pass relevance on: as it is, by the derivative, or through a rectifier."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.kinds import (
    Kind,
    LinearMap,
    Move,
    Norm,
    Pointwise,
    Product,
    Relevance,
    Select,
    Softmax,
    Stop,
    Sum,
    Unsupported,
    some,
)
from onnxlrp.rules.base import HUGE, Rule, Stabilizer, choice, denominator, quotient
from onnxlrp.rules.linear import like_operand, share, weight_of

__all__ = [
    "Average",
    "Deconvnet",
    "Frozen",
    "Gradient",
    "GuidedBackprop",
    "Moved",
    "Pass",
    "Taylor",
    "WinnerTakesAll",
]


@dataclass(frozen=True, kw_only=True)
class Pass(Rule[Kind]):
    """Passes relevance through unchanged.

    R_in = r. Conserves exactly. Source: Bach et al. 2015 (element-wise functions).
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Pointwise, LinearMap, Norm, Softmax)

    def propagate(self, t: Tape, m: Kind, r: Relevance) -> Relevance:
        """See the class."""
        return (some(r),)


@dataclass(frozen=True, kw_only=True)
class Moved(Rule[Move]):
    """Sends relevance back to where each element came from.

    R_in = adjoint(r). Conserves but for what falls on padding and constants.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Move,)

    def propagate(self, t: Tape, m: Move, r: Relevance) -> Relevance:
        """See the class."""
        return m.adjoint(t, r)


@dataclass(frozen=True, kw_only=True)
class WinnerTakesAll(Rule[Select]):
    """Gives all relevance to the chosen input; the first one of equals.

    R_in = r at the winner. Conserves exactly.

    Attributes:
        form: `indices` (second output of MaxPool) or `mask` (comparisons, for runtimes without).
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Select,)
    form: str = "indices"

    def __post_init__(self) -> None:
        choice("form", self.form, ("indices", "mask"))

    def propagate(self, t: Tape, m: Select, r: Relevance) -> Relevance:
        """See the class."""
        if self.form == "mask" and m.masked is not None:
            return m.masked(t, some(r))
        return m.winner(t, some(r))


@dataclass(frozen=True, kw_only=True)
class Average(Rule[Select]):
    """Treats a max pool as an average pool; the winner where there is none to take its place.

    R_in = x * A^T (r / stabilised A x), A the average over the same window or over 2 x 2.
    Loses the relevance of windows whose average is 0 (column `dead`).
    Source: Montavon et al. 2019; 2 x 2 in the published code of Otsuki et al. 2024.

    Attributes:
        window: `same` or `half` (2 x 2, stride 2).
        stabilizer: Size and form of epsilon.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Select,)
    window: str = "same"
    stabilizer: Stabilizer = field(default_factory=Stabilizer)

    def __post_init__(self) -> None:
        choice("window", self.window, ("same", "half"))

    def propagate(self, t: Tape, m: Select, r: Relevance) -> Relevance:
        """See the class."""
        half = m.half if self.window == "half" else None
        average = half or m.average
        if average is None:
            return m.winner(t, some(r))
        x = average.operand
        sign = int(t.signs.nonnegative(x))
        return (share(t, average, some(r), [(t.at(x), None)], self.stabilizer, sign=sign),)


@dataclass(frozen=True, kw_only=True)
class Frozen(Rule[Norm]):
    """Holds the scale of a normalisation fixed and shares by the linear map that is left.

    R_in = x * F^T (r / stabilised y). Conserves but for offset (column `bias`) and stabiliser.
    Source: Ali et al. 2022.

    Attributes:
        stabilizer: Size and form of epsilon.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Norm,)
    stabilizer: Stabilizer = field(default_factory=Stabilizer)

    def propagate(self, t: Tape, m: Norm, r: Relevance) -> Relevance:
        """See the class."""
        offset = None if m.offset is None else m.offset(t)
        z, sign = denominator(t, some(r), m.output, self.stabilizer)
        s = quotient(t, some(r), z, self.stabilizer, offset, sign)
        return (t.op("Mul", t.at(m.operands[0]), m.frozen(t, s)),)


@dataclass(frozen=True, kw_only=True)
class Taylor(Rule[Softmax]):
    """First-order expansion of the softmax p, or of its logarithm l.

    R_in = x (r - p sum r); of the logarithm x (q - p sum q), q = r / stabilised l. Logits of
    -1e30 and below are masks: they count as 0. Does not conserve (column `rule`).
    Source: Achtibat et al. 2024, proposition 3.1.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Softmax,)

    def propagate(self, t: Tape, m: Softmax, r: Relevance) -> Relevance:
        """See the class."""
        p, y = m.probabilities(t), some(r)
        logits = t.at(m.operands[0])
        x = t.op("Where", t.op("Greater", logits, -HUGE), logits, 0.0)
        q = quotient(t, y, t.at(m.output), Stabilizer()) if m.log else y
        total = t.op("ReduceSum", q, [m.axis], keepdims=1)
        result = t.op("Mul", x, t.op("Sub", q, t.op("Mul", p, total)))

        def lost() -> Value:
            mean = t.op("ReduceSum", t.op("Mul", x, p), [m.axis], keepdims=1)
            whole = t.at(m.output) if m.log else t.scalar(1.0)
            return t.op("Mul", q, t.op("Add", t.op("Sub", whole, x), mean))

        t.absorb("rule", lost)
        return (result,)


@dataclass(frozen=True, kw_only=True)
class Gradient(Rule[Kind]):
    """The vector-Jacobian product of the forward pass.

    R_in = J^T r. Does not conserve.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (
        LinearMap,
        Sum,
        Product,
        Pointwise,
        Move,
        Select,
        Norm,
        Softmax,
        Stop,
        Unsupported,
    )

    def propagate(self, t: Tape, m: Kind, r: Relevance) -> Relevance:
        """See the class."""
        result = m.gradient(t, r)
        for amount in _change(t, m, r, result):
            t.absorb("rule", amount)
        return result


def _change(t: Tape, m: Kind, r: Relevance, result: Relevance) -> list[Callable[[], Value]]:
    """What the sum of relevance loses: r (1 - J 1), from the forward map."""
    if isinstance(m, Move | Select | Stop | Unsupported):
        return []
    y = some(r)
    if isinstance(m, LinearMap):
        return [lambda: t.op("Mul", y, t.op("Sub", 1.0, _of_ones(t, m)))]
    if isinstance(m, Pointwise):
        return [lambda: t.op("Mul", y, t.op("Sub", 1.0, m.derivative(t)))]
    if isinstance(m, Sum):
        return [lambda: t.op("Mul", y, 1.0 - sum(m.signs))]
    if isinstance(m, Softmax):
        return [lambda: y]
    parts = [part for part in result if part is not None]
    return [lambda: y, *(lambda part=part: t.op("Neg", part) for part in parts)]


def _of_ones(t: Tape, m: LinearMap) -> Value:
    return m.forward(t, like_operand(t, t.scalar(1.0), m), weight_of(t, m))


@dataclass(frozen=True, kw_only=True)
class Deconvnet(Rule[Pointwise]):
    """Rectifies the signal itself at each ReLU; other functions by their derivative.

    R_in = max(r, 0). Source: Zeiler and Fergus 2014.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Pointwise,)

    def propagate(self, t: Tape, m: Pointwise, r: Relevance) -> Relevance:
        """See the class."""
        if not m.rectifier:
            return Gradient().propagate(t, m, r)
        t.absorb("rule", lambda: t.op("Min", some(r), 0.0))
        return (t.op("Max", some(r), 0.0),)


@dataclass(frozen=True, kw_only=True)
class GuidedBackprop(Rule[Pointwise]):
    """Rectifies the signal and the input at each ReLU; other functions by their derivative.

    R_in = max(r, 0) [x > 0]. Source: Springenberg et al. 2015.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (Pointwise,)

    def propagate(self, t: Tape, m: Pointwise, r: Relevance) -> Relevance:
        """See the class."""
        if not m.rectifier:
            return Gradient().propagate(t, m, r)
        up = t.op("Max", some(r), 0.0)
        t.absorb("rule", lambda: t.op("Min", some(r), 0.0))
        t.absorb("rule", lambda: t.op("Mul", up, t.op("Sub", 1.0, m.derivative(t))))
        return (t.op("Mul", up, m.derivative(t)),)
