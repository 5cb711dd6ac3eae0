"""Targets: which entry of the explained output is explained, per sample."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from onnxlrp.errors import InputError
from onnxlrp.metadata import TARGET, Metadata
from onnxlrp.runtime.plan import Slot
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.signature import Dim, Port


@dataclass(frozen=True, kw_only=True)
class Targets:
    """Targets of all samples.

    Attributes:
        indices: `[N, T, r]`: T index tuples per sample into the axes of the output behind the batch
            that are not 1.
        several: Results have an axis of length T after the batch axis.
    """

    indices: npt.NDArray[np.int64]
    several: bool

    def array(self) -> npt.NDArray[np.int64]:
        """Return the targets as `[N]`, `[N, r]`, `[N, T]` or `[N, T, r]`."""
        plain = self.indices if self.several else self.indices[:, 0]
        return plain[..., 0] if self.indices.shape[2] == 1 else plain


def read_targets(value: npt.ArrayLike, output: Port, count: int) -> Targets:
    """Read the targets that the user gave.

    Accepted: one index (an index tuple for r > 1) for all samples, `[N]` (`[N, r]`), and several
    per sample, `[N, T]` (`[N, T, r]`). Negative ones count from the end. Axes of size 1 take no
    index: `[N, K, 1, 1]` has r = 1.

    Raises:
        InputError: No integers, another shape, or out of range.
    """
    rank = len(index_axes(output))
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError("target: every sample needs the same number of targets") from error
    if array.dtype.kind not in "iu":
        raise InputError(f"target expects indices (integers), got {array.dtype}")
    indices = array.astype(np.int64)
    if rank == 1 and indices.ndim < 3:
        indices = indices[..., None]
    if indices.ndim == 1:
        indices = np.broadcast_to(indices, (count, *indices.shape))
    several = indices.ndim == 3
    if indices.ndim == 2:
        indices = indices[:, None]
    if indices.ndim != 3 or indices.shape[::2] != (count, rank) or not indices.shape[1]:
        forms = "[N] or [N, T]" if rank == 1 else f"[N, {rank}] or [N, T, {rank}]"
        raise InputError(
            f"target expects {forms} with N = {count} for output '{output.name}' ({output}), got "
            f"shape {list(array.shape)}"
        )
    return Targets(indices=in_range(indices, output, output.shape), several=several)


def in_range(
    indices: npt.NDArray[np.int64], output: Port, shape: Sequence[Dim]
) -> npt.NDArray[np.int64]:
    """Return the indices counted from the start, where the shape of the output is known.

    Raises:
        InputError: An index lies outside.
    """
    axes = index_axes(output)
    if not any(isinstance(shape[axis], int) for axis in axes):
        return indices
    result = indices.copy()
    for position, axis in enumerate(axes):
        size = shape[axis]
        if not isinstance(size, int):
            continue
        column = result[..., position]
        outside = (column < -size) | (column >= size)
        if outside.any():
            raise InputError(
                f"target {int(column[outside][0])} is out of range for output '{output.name}': "
                f"axis {axis} has {size} entries"
            )
        column[column < 0] += size
    return result


def rounds(targets: Targets, port: Port, output: Port) -> list[dict[str, Slot]]:
    """Return what is fed as targets in each round of runs; one where the graph takes them all."""
    fed = targets.indices[..., 0] if len(index_axes(output)) == 1 else targets.indices
    if takes_several(port, output):
        count = port.shape[1]
        if isinstance(count, int) and count != fed.shape[1]:
            raise InputError(
                f"this graph takes {count} targets per sample, got {fed.shape[1]}: compile it with "
                "target='input' to choose their number per call"
            )
        return [{TARGET: Slot(array=fed, axis=0)}]
    return [{TARGET: Slot(array=fed[:, t], axis=0)} for t in range(fed.shape[1])]


def takes_several(port: Port, output: Port) -> bool:
    """Tell whether the graph itself takes several targets per sample."""
    return len(port.shape) == (2 if len(index_axes(output)) == 1 else 3)


def known_targets(
    metadata: Metadata, output: Port, prediction: Array, *, batch_axis: bool = True
) -> Array | None:
    """Return the indices that the graph explained by itself; None where they cannot be known.

    Args:
        metadata: What the graph says about its target.
        output: The explained output.
        prediction: Its values for all samples.
        batch_axis: The output has a batch axis in the graph, too.
    """
    axes = index_axes(output) if batch_axis else (1,)
    if not axes or prediction.ndim != len(output.shape) + (not batch_axis):
        return None
    sizes = [prediction.shape[axis] for axis in axes]
    rows = prediction.reshape(len(prediction), -1)
    if metadata.target == "argmax":
        found = _best(rows, sizes, exact=metadata.explained == metadata.output)
    else:
        found = _fixed(metadata.target, output, len(rows), axes, sizes)
    return found if found is None or len(axes) > 1 else found[:, 0]


def index_axes(output: Port) -> tuple[int, ...]:
    """Return the axes that a target indexes: all behind the batch whose size is not 1.

    A vector of a fixed length above 1 has no batch axis.
    """
    first = output.shape[0] if len(output.shape) == 1 else None
    start = 0 if isinstance(first, int) and first > 1 else 1
    return tuple(axis for axis, dim in enumerate(output.shape) if axis >= start and dim != 1)


def _best(rows: Array, sizes: Sequence[int], *, exact: bool) -> npt.NDArray[np.int64] | None:
    scores = rows.astype(np.float64)
    if not exact and ((scores == scores.max(axis=1, keepdims=True)).sum(axis=1) > 1).any():
        return None  # a saturated softmax hides which logit was largest
    best = scores.argmax(axis=1)
    return best[:, None] if len(sizes) == 1 else np.stack(np.unravel_index(best, sizes), axis=-1)


def _fixed(
    text: str, output: Port, count: int, axes: Sequence[int], sizes: Sequence[int]
) -> npt.NDArray[np.int64] | None:
    try:
        index = [int(part) for part in text.split(",")]
    except ValueError:
        return None
    if len(index) == len(output.shape) - 1:
        index = [index[axis - 1] for axis in axes]
    if len(index) != len(axes):
        return None
    return np.broadcast_to(np.array(index) % np.array(sizes), (count, len(axes)))
