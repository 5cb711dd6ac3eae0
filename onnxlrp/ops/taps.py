"""Weighted reads at computed places: y_mcp = sum_k weight_mcpk x[m, c, index_mcpk]."""

from dataclasses import dataclass

import numpy as np

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape

__all__ = ["Taps", "cell", "joined", "linear", "per_seed", "range_to", "size_of"]

FLOAT, INT = 1, 7


@dataclass(frozen=True)
class Taps:
    """Where K elements are read for each of P outputs, and with which weights.

    Attributes:
        index: Places in the flattened spatial axes, int64 `[M, C or 1, P, K]`.
        weight: Their weights, float32, of a shape that broadcasts with `index`.
    """

    index: Value
    weight: Value

    def per_seed(self, t: Tape) -> "Taps":
        """One copy per seed, `[T*M, ...]`."""
        return Taps(per_seed(t, self.index, 4), per_seed(t, self.weight, 4))

    def adjoint(self, t: Tape, r: Value, sizes: Value, rows: Value | None = None) -> Value:
        """Give `weight * r` to the places that were read.

        Args:
            t: The tape.
            r: Relevance, `[M, C, P]`.
            sizes: Rows, channels and places of x, int64 `[3]`.
            rows: The row of x that each row of r was read from, `[M]`; None: its own.

        Returns:
            Relevance of the rows, channels and places of x, in one axis.
        """
        channels, area = t.op("Slice", sizes, [1], [2]), t.op("Slice", sizes, [2], [3])
        if rows is None:
            rows = range_to(t, t.op("Slice", sizes, [0], [1]))
        row = t.op("Mul", t.op("Unsqueeze", rows, [1]), channels)
        base = t.op("Mul", t.op("Add", row, range_to(t, channels)), area)
        places = t.op("Add", t.op("Unsqueeze", base, [2, 3]), self.index)
        shares = t.op("Mul", t.op("Unsqueeze", r, [3]), self.weight)
        return t.op(
            "ScatterElements",
            t.op("Expand", 0.0, t.op("ReduceProd", sizes, keepdims=1)),
            t.op("Reshape", places, [-1]),
            t.op("Reshape", shares, [-1]),
            axis=0,
            reduction="add",
        )


def per_seed(t: Tape, value: Value, rank: int) -> Value:
    """One copy of each row per seed; unlike `t.at` also of constants."""
    return value if t.targets == 1 else t.op("Tile", value, [t.targets] + [1] * (rank - 1))


def range_to(t: Tape, count: Value) -> Value:
    """Count from 0 to count - 1, for a count of shape `[1]`."""
    return t.op("Range", t.constant_int(0), t.op("Squeeze", count), t.constant_int(1))


def size_of(t: Tape, x: Value, axis: int) -> Value:
    """The size of one axis, float32 `[1]`."""
    return t.op("Cast", t.op("Shape", x, start=axis, end=axis + 1), to=FLOAT)


def linear(t: Tape, at: Value) -> tuple[Value, Value]:
    """The two places beside a coordinate `[..., 1]`, and the weights 1 - f and f."""
    low = t.op("Floor", at)
    f = t.op("Sub", at, low)
    places = t.op("Add", low, np.array([0, 1], np.float32))
    return places, t.op("Concat", t.op("Sub", 1.0, f), f, axis=-1)


def cell(t: Tape, places: Value, weights: Value, size: Value) -> tuple[Value, Value]:
    """Places inside of the axis as int64; those outside get the weight 0."""
    last = t.op("Sub", size, 1.0)
    kept = t.op("Max", t.op("Min", places, last), 0.0)
    inside = t.op("Equal", kept, places)
    return t.op("Cast", kept, to=INT), t.op("Where", inside, weights, 0.0)


def joined(t: Tape, outer: Value, inner: Value, size: Value | None = None) -> Value:
    """Every pair of taps of two axes, `[..., K]` and `[..., L]` -> `[..., K * L]`.

    With the size of the inner axis these are places, outer * size + inner; without it weights,
    outer * inner.
    """
    wide, thin = t.op("Unsqueeze", outer, [-1]), t.op("Unsqueeze", inner, [-2])
    pairs = (
        t.op("Mul", wide, thin)
        if size is None
        else t.op("Add", t.op("Mul", wide, t.op("Cast", size, to=INT)), thin)
    )
    shape = t.op("Concat", t.op("Shape", pairs, end=-2), [-1], axis=0)
    return t.op("Reshape", pairs, shape)
