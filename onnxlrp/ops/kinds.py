"""The kinds of maps that a site can be; all that a rule needs to know of an operator."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Body, Site

__all__ = [
    "Adjoint",
    "Branch",
    "Inside",
    "Kind",
    "LinearMap",
    "Maybe",
    "Move",
    "Norm",
    "Pointwise",
    "Product",
    "Relevance",
    "Repeat",
    "Select",
    "Softmax",
    "Stop",
    "Sum",
    "Thunk",
    "Track",
    "Unsupported",
]

Maybe = Value | None
Relevance = tuple[Maybe, ...]
Thunk = Callable[[Tape], Value]
Map = Callable[[Tape, Value, Maybe], Value]
Adjoint = Callable[[Tape, Value], Value]


@dataclass(frozen=True, eq=False, kw_only=True)
class Kind(ABC):
    """A map from live operands to outputs.

    Attributes:
        operands: The live inputs, in order.
        output: The first output.
        broadcasts: Whether relevance may come in the shape of the output instead of the operand's.
    """

    operands: tuple[Value, ...]
    output: Value
    broadcasts: bool = False

    @abstractmethod
    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """The vector-Jacobian product: one result per operand."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LinearMap(Kind):
    """y = forward(x, w) + bias, linear in its one operand x.

    Attributes:
        weight: Makes the weight; None where the map has none.
        bias: Makes the bias in a shape that broadcasts to the output; None: zero.
        forward: (x, w) -> W x without the bias.
        adjoint: (r, w) -> W^T r, in the shape of x.
        positive: Whether a map without weight has no negative coefficient.
        samplewise: Whether it maps each entry of axis 0 by itself.
    """

    forward: Map
    adjoint: Map
    weight: Thunk | None = None
    bias: Thunk | None = None
    positive: bool = True
    samplewise: bool = False

    @property
    def operand(self) -> Value:
        """The one operand."""
        return self.operands[0]

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """W^T r."""
        weight = None if self.weight is None else self.weight(t)
        return (self.adjoint(t, some(r), weight),)


@dataclass(frozen=True, eq=False, kw_only=True)
class Sum(Kind):
    """y = sum_i signs_i x_i + offset over two or more live operands."""

    signs: tuple[float, ...]
    offset: Thunk | None = None
    broadcasts: bool = True

    def terms(self, t: Tape) -> tuple[Value, ...]:
        """The summands signs_i x_i."""
        pairs = zip(self.operands, self.signs, strict=True)
        return tuple(t.at(x) if sign == 1 else t.op("Mul", t.at(x), sign) for x, sign in pairs)

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """signs_i r for each operand."""
        y = some(r)
        return tuple(y if sign == 1 else t.op("Mul", y, sign) for sign in self.signs)


@dataclass(frozen=True, eq=False, kw_only=True)
class Product(Kind):
    """A map that is linear in each of two live operands (or linear over a gate).

    Attributes:
        adjoints: For each operand the vector-Jacobian product.
        gates: For each operand whether it only scales the other one.
        switch: Index of the factor that a sigmoid or a softmax keeps in (0, 1); None: neither.
    """

    adjoints: tuple[Adjoint, ...]
    gates: tuple[bool, ...]
    switch: int | None = None

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """The product rule."""
        return tuple(adjoint(t, some(r)) for adjoint in self.adjoints)


@dataclass(frozen=True, eq=False, kw_only=True)
class Pointwise(Kind):
    """y_i = f(x_i).

    Attributes:
        derivative: Makes f'(x) in the shape of x.
        rectifier: Whether it is a ReLU.
    """

    derivative: Thunk
    rectifier: bool = False

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """R f'(x)."""
        return (t.op("Mul", some(r), self.derivative(t)),)


@dataclass(frozen=True, eq=False, kw_only=True)
class Move(Kind):
    """Copies, reorders or drops elements; what it drops is reported by its adjoint."""

    adjoint: Callable[[Tape, Relevance], Relevance]

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """Every element's relevance back to where the element came from."""
        return self.adjoint(t, r)


@dataclass(frozen=True, eq=False, kw_only=True)
class Select(Kind):
    """Each output is one of several inputs.

    Attributes:
        winner: Gives all relevance to the chosen input (the first one of equals).
        masked: The same without `MaxPool`'s second output.
        average: The average over the same window, as a stand-in.
        half: The average over 2 x 2, stride 2, as a stand-in; None where it does not fit.
    """

    winner: Callable[[Tape, Value], Relevance]
    masked: Callable[[Tape, Value], Relevance] | None = None
    average: LinearMap | None = None
    half: LinearMap | None = None

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """All to the winner."""
        return self.winner(t, some(r))


@dataclass(frozen=True, eq=False, kw_only=True)
class Norm(Kind):
    """y = frozen(x) + offset, a normalisation whose scale is held fixed.

    Attributes:
        frozen: Adjoint of the map with its scale held fixed; x * frozen(r / y) conserves.
        derivative: The true vector-Jacobian product.
        offset: Makes the summand behind the scaling; None: zero.
    """

    frozen: Adjoint
    derivative: Adjoint
    offset: Thunk | None = None

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """The derivative, through the scale too."""
        return (self.derivative(t, some(r)),)


@dataclass(frozen=True, eq=False, kw_only=True)
class Softmax(Kind):
    """y = softmax(x) over one axis; `log` for its logarithm.

    A row that is -inf throughout gives NaN; where the model replaces it, by `Where` or after
    `IsNaN`, its probabilities count as 0.
    """

    axis: int
    log: bool = False

    def probabilities(self, t: Tape) -> Value:
        """The softmax itself."""
        y = t.at(self.output)
        if self.log:
            return t.op("Exp", y)
        return t.op("Where", t.op("IsNaN", y), 0.0, y) if _is_replaced(t, self.output) else y

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """P (r - sum(r p)); of the logarithm: r - p sum(r)."""
        y, p = some(r), self.probabilities(t)
        if self.log:
            total = t.op("ReduceSum", y, [self.axis], keepdims=1)
            return (t.op("Sub", y, t.op("Mul", p, total)),)
        total = t.op("ReduceSum", t.op("Mul", y, p), [self.axis], keepdims=1)
        return (t.op("Mul", p, t.op("Sub", y, total)),)


@dataclass(frozen=True, eq=False)
class Inside:
    """A live body: what relevance can pass in it.

    Attributes:
        body: The body.
        kinds: Its live sites in forward order.
    """

    body: Body
    kinds: Mapping[Site, Kind]


@dataclass(frozen=True, eq=False)
class Track:
    """A value that a loop carries, slices or stacks, outside and inside of its body.

    Attributes:
        outer: The value outside; None for a last state or stack that nothing reads.
        inner: The value inside: a body input, or for what is stacked a body output.
        result: For a carried value the body output.
        final: For a carried value its last state outside, or None.
        axis: Axis of the turns, for what is sliced or stacked.
        backwards: Whether the turns run from the end of that axis.
    """

    outer: Value | None
    inner: Value
    result: Value | None = None
    final: Value | None = None
    axis: int = 0
    backwards: bool = False


@dataclass(frozen=True, eq=False, kw_only=True)
class Repeat(Kind):
    """Turns of one body: Scan, Loop, and what is seen as one of them.

    Attributes:
        site: The site.
        inside: The body and its kinds.
        states: Live carried values.
        slices: Live sequences that are given to the turns in slices.
        stacks: Live results of the turns, stacked.
        captured: Live values that the body reads from outside.
    """

    site: Site
    inside: Inside
    states: tuple[Track, ...]
    slices: tuple[Track, ...]
    stacks: tuple[Track, ...]
    captured: tuple[Value, ...]

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """Not by itself: the walk goes through the body."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True)
class Branch(Kind):
    """One of two bodies, picked by a condition.

    Attributes:
        site: The site.
        insides: The bodies and their kinds; the first one runs where the condition holds.
    """

    site: Site
    insides: tuple[Inside, Inside]

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """Not by itself: the walk goes through the bodies."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, kw_only=True)
class Stop(Kind):
    """No relevance flows: integer, boolean or piecewise constant."""

    operands: tuple[Value, ...] = ()

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """Nothing."""
        return ()


@dataclass(frozen=True, eq=False, kw_only=True)
class Unsupported(Kind):
    """A site that relevance must not reach; says why."""

    reason: str

    def gradient(self, t: Tape, r: Relevance) -> Relevance:
        """Refuse."""
        raise UnsupportedOp(self.reason)


def some(r: Relevance) -> Value:
    """The relevance of a map with one output."""
    value = r[0]
    assert value is not None
    return value


def _is_replaced(t: Tape, value: Value) -> bool:
    """Whether a value is read by `Where` or `IsNaN`, also behind a `Cast`."""
    readers = t.graph.consumers(value)
    return any(
        node.op in {"IsNaN", "Where"} or (node.op == "Cast" and _is_replaced(t, next(node.results)))
        for node in readers
    )
