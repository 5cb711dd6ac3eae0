"""What a rule is, and what the rules share: stabilisers, bias policies, the one quotient."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import ClassVar, Generic, TypeVar

from onnxlrp.errors import CompositeError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.kinds import Kind, Relevance

__all__ = [
    "BIASES",
    "MODES",
    "NEGATIVES",
    "NEGATIVE_INPUTS",
    "AnyRule",
    "Rule",
    "Stabilizer",
    "choice",
    "denominator",
    "even_quotient",
    "quotient",
]

K = TypeVar("K", bound=Kind, contravariant=True)


@dataclass(frozen=True, kw_only=True)
class Rule(ABC, Generic[K]):
    """How relevance is shared out over one kind of map; its fields are the hyper-parameters."""

    fits: ClassVar[tuple[type[Kind], ...]] = ()

    @abstractmethod
    def propagate(self, t: Tape, m: K, r: Relevance) -> Relevance:
        """Turn the relevance of each output into the relevance of each operand."""

    def describe(self) -> dict[str, object]:
        """The name of the rule and its parameters, for JSON."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        plain = {k: v.describe() if isinstance(v, Stabilizer) else v for k, v in values.items()}
        return {"rule": type(self).__name__, **plain}


AnyRule = Rule[Kind]

HUGE = 1e30
"""Stands for infinity; relevance divided by it is nothing, and yet a normal number."""

MODES = ("signed", "unsigned", "clip", "zero-only", "unsigned-dead", "even")
BIASES = ("positive", "raw", "both", "none")
NEGATIVE_INPUTS = ("split", "ignore")
NEGATIVES = ("products", "difference")


def choice(name: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise a CompositeError unless a value is one of those allowed."""
    if value not in allowed:
        raise CompositeError(f"{name}={value!r} is not one of {', '.join(allowed)}")


@dataclass(frozen=True, kw_only=True)
class Stabilizer:
    """Keeps a denominator z away from zero; s(z) is +1 for z >= 0, else -1.

    Attributes:
        epsilon: Size; not negative. Without any (LRP-0) an output of 0 gives nothing: it is dead.
        mode: `signed`: z + epsilon s(z). `unsigned`: z + epsilon. `clip`: s(z) max(|z|, epsilon).
            `zero-only`: epsilon where z is 0, else z. `unsigned-dead`: as `unsigned`, but an
            output of 0 gives nothing. `even`: as `signed`, and what epsilon takes of an output of
            a linear map is shared evenly among its inputs, so that nothing is lost.
        rms: Adds this share of the root mean square of z over the sample to epsilon.
    """

    epsilon: float = 1e-6
    mode: str = "signed"
    rms: float = 0.0

    def __post_init__(self) -> None:
        choice("stabilizer", self.mode, MODES)
        if not self.epsilon >= 0 or not self.rms >= 0:
            raise CompositeError(f"epsilon={self.epsilon} must not be negative")

    def describe(self) -> dict[str, object]:
        """Its parameters."""
        return {"epsilon": self.epsilon, "mode": self.mode, "rms": self.rms}

    def apply(self, t: Tape, z: Value, sign: int = 0) -> Value:
        """Return the stabilised z; `sign` is that of z where it is known (+1, -1), else 0."""
        if self.epsilon == self.rms == 0 or self.mode in {"zero-only", "unsigned-dead"}:
            return self._where_zero(t, z)
        size = self._size(t, z)
        if self.mode == "clip":
            return self._clip(t, z, size, sign)
        if self.mode == "unsigned" or sign > 0:
            return t.op("Add", z, size)
        if sign < 0:
            return t.op("Sub", z, size)
        return t.op("Add", z, _signed(t, z, size))

    def _where_zero(self, t: Tape, z: Value) -> Value:
        """The modes that treat an output of exactly 0 by itself."""
        dead = self.epsilon == self.rms == 0 or self.mode == "unsigned-dead"
        rest = t.op("Add", z, self._size(t, z)) if dead and self.epsilon + self.rms else z
        return t.op("Where", t.op("Equal", z, 0.0), HUGE if dead else self.epsilon, rest)

    def _size(self, t: Tape, z: Value) -> Value:
        if not self.rms:
            return t.scalar(self.epsilon)
        rows = t.rows(t.op("Mul", z, z))
        mean = t.op("Sqrt", t.op("ReduceMean", rows, [1], keepdims=1))
        size = t.op("Add", t.op("Mul", mean, self.rms), self.epsilon)
        rank = t.op("Shape", t.op("Shape", z))
        ones = t.op("Expand", t.constant_int(1), t.op("Sub", rank, [1]))
        return t.op("Reshape", size, t.op("Concat", [-1], ones, axis=0))

    def _clip(self, t: Tape, z: Value, size: Value, sign: int) -> Value:
        wide = t.op("Max", t.op("Abs", z), size)
        if sign:
            return wide if sign > 0 else t.op("Neg", wide)
        return t.op("Mul", _signed(t, z, t.scalar(1.0)), wide)


def _signed(t: Tape, z: Value, size: Value) -> Value:
    return t.op("Where", t.op("Less", z, 0.0), t.op("Neg", size), size)


def denominator(t: Tape, r: Value, z: Value, stabilizer: Stabilizer) -> tuple[Value, int]:
    """The output by which r is divided, and its sign where that is known.

    Where r is 0 unless z > 0, as behind a ReLU, max(z, 0) does. A root mean square needs z itself.
    """
    node = None if stabilizer.rms else t.support.rectified(r, z)
    if node is None:
        return t.at(z), int(t.signs.nonnegative(z))
    y = next(node.results)
    return (t.at(y) if node.op == "Relu" else t.op("Relu", t.at(z))), 1


def quotient(
    t: Tape,
    r: Value,
    z: Value,
    stabilizer: Stabilizer,
    bias: Value | None = None,
    sign: int = 0,
) -> Value:
    """Return s = r / stabilised z and report what bias and stabiliser absorb.

    Args:
        t: The tape.
        r: Relevance of the output.
        z: Sum of all contributions, the bias among them.
        stabilizer: Keeps z away from zero.
        bias: The part of z that no operand contributes.
        sign: Sign of z where it is known.
    """
    s, stable = _divided(t, r, z, stabilizer, bias, sign)

    def kept(dead: bool) -> Value:
        empty, lost = t.op("Equal", z, 0.0), _lost(t, s, t.op("Sub", stable, z))
        return t.op("Where", empty, lost, 0.0) if dead else t.op("Where", empty, 0.0, lost)

    t.absorb("stabilizer", lambda: kept(dead=False))
    t.absorb("dead", lambda: kept(dead=True))
    return s


def even_quotient(
    t: Tape,
    r: Value,
    z: Value,
    stabilizer: Stabilizer,
    bias: Value | None = None,
    sign: int = 0,
) -> tuple[Value, Value]:
    """As `quotient`, but what the stabiliser takes is returned beside s and not reported."""
    s, stable = _divided(t, r, z, stabilizer, bias, sign)
    return s, t.op("Mul", s, t.op("Sub", stable, z))


def _divided(
    t: Tape, r: Value, z: Value, stabilizer: Stabilizer, bias: Value | None, sign: int
) -> tuple[Value, Value]:
    """S and the stabilised z; what the bias absorbs is reported."""
    stable = stabilizer.apply(t, z, sign)
    s = t.op("Div", r, stable)
    if bias is not None:
        t.absorb("bias", lambda: _lost(t, s, bias))
    return s, stable


def _lost(t: Tape, s: Value, part: Value) -> Value:
    """S times a part of the denominator; 0 where no relevance came, though the part be infinite."""
    return t.op("Where", t.op("Equal", s, 0.0), 0.0, t.op("Mul", s, part))
