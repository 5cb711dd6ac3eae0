"""Rules for the first layer: they do not depend on the input, or on its box only."""

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from onnxlrp.errors import CompositeError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Relevance, some
from onnxlrp.rules.base import BIASES, Rule, Stabilizer, choice
from onnxlrp.rules.linear import (
    Pair,
    bias_of,
    evenly,
    like_operand,
    share,
    signed_weights,
    weight_of,
)

__all__ = ["Flat", "WSquare", "ZBox", "ZPlusFlat"]

Bound = float | tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class ZBox(Rule[LinearMap]):
    """For inputs in a box [low, high], such as pixels.

    q = r / stabilised (W x - W+ l - W- h); R_in = x W^T q - l W+^T q - h W-^T q. Where the bounds
    are numbers, the last two are one adjoint, (-l W+ - h W-)^T q.
    Conserves; the bias cancels. Source: Montavon et al. 2017, equation 11.

    Attributes:
        low: Lower bound, one number or one per channel; below high.
        high: Upper bound.
        own: Whether the bounds are the smallest and the largest element of the sample itself,
            instead (Chefer et al. 2021).
        stabilizer: Size and form of epsilon.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (LinearMap,)
    low: Bound = -3.0
    high: Bound = 3.0
    own: bool = False
    stabilizer: Stabilizer = field(default_factory=Stabilizer)

    def __post_init__(self) -> None:
        if not np.all(np.asarray(self.low) < np.asarray(self.high)):
            raise CompositeError(f"low={self.low} must be below high={self.high}")

    def propagate(self, t: Tape, m: LinearMap, r: Relevance) -> Relevance:
        """See the class."""
        both, up, down = signed_weights(t, m)
        if both and not self.own and isinstance(self.low, float) and isinstance(self.high, float):
            bounds = t.op("Add", t.op("Mul", up, -self.low), t.op("Mul", down, -self.high))
            merged: list[Pair] = [(t.at(m.operand), weight_of(t, m)), (None, bounds)]
            return (share(t, m, some(r), merged, self.stabilizer),)
        low, high = (
            (_extreme(t, m, "ReduceMin"), _extreme(t, m, "ReduceMax"))
            if self.own
            else (_bound(t, self.low, m), _bound(t, self.high, m))
        )
        pairs: list[Pair] = [(t.at(m.operand), weight_of(t, m)), (low, up)]
        if both:
            pairs.append((high, down))
        return (share(t, m, some(r), pairs, self.stabilizer),)


def _bound(t: Tape, bound: Bound, m: LinearMap) -> Value:
    """The negative bound in the shape of the operand."""
    array = -np.asarray(bound, dtype=np.float32)
    if array.ndim:
        array = array.reshape(-1, *[1] * ((m.operand.rank or 2) - 2))
    return like_operand(t, t.constant(array), m)


def _extreme(t: Tape, m: LinearMap, reduction: str) -> Value:
    """The negative of the smallest or largest element of each sample, in the shape of x."""
    x = m.operand
    if x.shape is None or not t.has_batch(x):
        found = t.op(reduction, t.at(x), keepdims=1)
    else:
        found = t.op(reduction, t.at(x), list(range(1, len(x.shape))), keepdims=1)
    return t.op("Expand", t.op("Neg", found), t.shape(x))


def _input_free(
    t: Tape, m: LinearMap, r: Relevance, w: Maybe, stabilizer: Stabilizer, bias: Maybe = None
) -> Relevance:
    return (share(t, m, some(r), [(None, w)], stabilizer, bias=bias, sign=1),)


@dataclass(frozen=True, kw_only=True)
class WSquare(Rule[LinearMap]):
    """Shares in proportion to squared weights.

    R_in = (W^2)^T (r / stabilised (W^2 1 + b^2)).
    The squared bias absorbs unless `bias=none`. A map without a weight tensor (a pool) shares by
    its own coefficients. Source: Montavon et al. 2017, equation 9.

    Attributes:
        stabilizer: Size and form of epsilon.
        bias: `raw` (squared in the denominator) or `none`.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (LinearMap,)
    stabilizer: Stabilizer = field(default_factory=Stabilizer)
    bias: str = "raw"

    def __post_init__(self) -> None:
        choice("bias", self.bias, BIASES)

    def propagate(self, t: Tape, m: LinearMap, r: Relevance) -> Relevance:
        """See the class."""
        w, b = weight_of(t, m), bias_of(t, m)
        square = None if w is None else t.op("Mul", w, w)
        bias = None if b is None or self.bias == "none" else t.op("Mul", b, b)
        return _input_free(t, m, r, square, self.stabilizer, bias)


@dataclass(frozen=True, kw_only=True)
class Flat(Rule[LinearMap]):
    """Shares evenly among the inputs of each output; padding takes nothing.

    R_in = 1^T (r / n), n the number of inputs of an output. Conserves. A map without a weight
    tensor (a pool) shares by its own coefficients.
    Source: Lapuschkin et al. 2019.

    Attributes:
        stabilizer: Size and form of epsilon.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (LinearMap,)
    stabilizer: Stabilizer = field(default_factory=Stabilizer)

    def propagate(self, t: Tape, m: LinearMap, r: Relevance) -> Relevance:
        """See the class."""
        return (evenly(t, m, some(r), self.stabilizer),)


@dataclass(frozen=True, kw_only=True)
class ZPlusFlat(Rule[LinearMap]):
    """Shares in proportion to the positive weights, as z+ does for an input of ones.

    R_in = W+^T (r / stabilised (W+ 1)). Conserves where an output has a positive weight.
    Source: first layer of the published code of Otsuki et al. 2024.

    Attributes:
        stabilizer: Size and form of epsilon.
    """

    fits: ClassVar[tuple[type[Kind], ...]] = (LinearMap,)
    stabilizer: Stabilizer = field(default_factory=Stabilizer)

    def propagate(self, t: Tape, m: LinearMap, r: Relevance) -> Relevance:
        """See the class."""
        _, up, _ = signed_weights(t, m)
        return _input_free(t, m, r, up, self.stabilizer)
