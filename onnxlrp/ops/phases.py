"""Puts strided pieces together: what lies between the windows of a stride."""

from collections.abc import Sequence

import numpy as np

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape

__all__ = ["interleave", "nearest", "spaced", "trim"]


def interleave(t: Tape, parts: Sequence[Value], axis: int, dims: Sequence[int]) -> Value:
    """The elements of s parts in turns along one axis.

    Args:
        t: Tape.
        parts: s values `[N, C, ...]` of one shape.
        axis: The axis, 2 or more.
        dims: The spatial sizes of the result, s times as long along the axis.
    """
    if len(parts) == 1:
        return parts[0]
    if axis == len(dims) + 1:
        parts = [t.op("Unsqueeze", part, [axis + 1]) for part in parts]
    return t.op("Reshape", t.op("Concat", *parts, axis=axis + 1), [0, 0, *dims])


def trim(t: Tape, value: Value, dims: Sequence[int], wanted: Sequence[int]) -> Value:
    """Cut the ends of the spatial axes, or append zeros to them: sizes `dims` -> `wanted`."""
    axes = [axis for axis, (dim, size) in enumerate(zip(dims, wanted, strict=True)) if size < dim]
    if axes:
        ends = [wanted[axis] for axis in axes]
        value = t.op("Slice", value, [0] * len(axes), ends, [axis + 2 for axis in axes])
    more = [max(size - dim, 0) for dim, size in zip(dims, wanted, strict=True)]
    if not any(more):
        return value
    return t.op("Pad", value, [0] * (4 + len(dims)) + more, 0.0)


def nearest(t: Tape, value: Value, factors: Sequence[int]) -> Value:
    """Repeat each element along the spatial axes."""
    scales = np.array([1, 1, *factors], dtype=np.float32)
    return t.op(
        "Resize",
        value,
        None,
        scales,
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


def spaced(t: Tape, value: Value, dims: Sequence[int], strides: Sequence[int]) -> Value:
    """Put stride - 1 zeros behind each element: spatial sizes `dims` -> `dims * strides`."""
    rank = len(dims)
    first = t.scalar(1.0)
    for axis, (dim, stride) in enumerate(zip(dims, strides, strict=True)):
        if stride > 1:
            row = np.tile(np.arange(stride) == 0, dim).astype(np.float32)
            line = [1] * axis + [-1] + [1] * (rank - 1 - axis)
            first = t.op("Mul", first, t.op("Reshape", row, line))
    return t.op("Mul", nearest(t, value, strides), first)
