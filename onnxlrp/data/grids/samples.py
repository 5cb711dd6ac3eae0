"""Fields as inputs of a network: pictures with land at 0, or vectors without land."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from onnxlrp.data.grids.grid import Fields, Floats, Grid, Mask, where
from onnxlrp.errors import DataError

__all__ = ["Gaps", "Samples", "gather", "samples", "scatter"]

Gaps = Literal["zero", "drop"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Samples:
    """Inputs for a network.

    Attributes:
        x: `[N, 1, lat, lon]`, or `[N, P]` with the P cells that are left; float32.
        cells: The cells that are in x `[lat, lon]`.
        grid: Where the cells are.
    """

    x: npt.NDArray[np.float32]
    cells: Mask
    grid: Grid


def samples(fields: Fields, gaps: Gaps = "zero", cap: float | None = 5.0) -> Samples:
    """Cap the values at +-cap, divide by it, and close or drop the gaps.

    Args:
        fields: Anomalies.
        gaps: `zero`: land and gaps are 0, `[N, 1, lat, lon]`. `drop`: only the cells that have a
            value in every field, `[N, P]`.
        cap: The largest size that is kept; None: values as they are.

    Raises:
        DataError: A field without any value, no cell that is always known, or a cap of 0.
    """
    if cap is not None and not 0 < cap < float("inf"):
        raise DataError(f"cap={cap} must be above 0")
    if gaps not in {"zero", "drop"}:
        raise DataError(f"gaps={gaps!r} is not one of zero, drop")
    known = np.isfinite(fields.values)
    empty = np.flatnonzero(~known.any(axis=(1, 2)))
    if len(empty):
        raise DataError(
            f"{where(fields)}, {fields.when(int(empty[0]))}: the field has no value at all "
            f"({len(empty)} of {len(known)} fields): leave it out"
        )
    scaled = fields.values if cap is None else np.clip(fields.values, -cap, cap) / cap
    if gaps == "zero":
        closed = np.where(known, scaled, 0).astype(np.float32)[:, None]
        return Samples(x=closed, cells=fields.grid.valid, grid=fields.grid)
    cells = np.asarray(known.all(axis=0))
    if not cells.any():
        raise DataError(f"{where(fields)}: no cell has a value in every field: use gaps=zero")
    return Samples(x=gather(scaled, cells), cells=cells, grid=fields.grid)


def gather(values: npt.ArrayLike, cells: Mask) -> npt.NDArray[np.float32]:
    """The values of the cells as vectors `[N, P]`, row by row.

    Raises:
        DataError: The values are on another grid.
    """
    array = np.asarray(values)
    if array.shape[-2:] != cells.shape:
        raise DataError(f"values {list(array.shape)} are not on the grid {list(cells.shape)}")
    return array[..., cells].astype(np.float32)


def scatter(vectors: npt.ArrayLike, cells: Mask, rest: float = 0.0) -> Floats:
    """Put vectors `[..., P]` back on the grid `[..., lat, lon]`, `rest` elsewhere.

    Raises:
        DataError: The vectors have another number of entries than there are cells.
    """
    array = np.asarray(vectors, np.float64)
    count = int(cells.sum())
    if array.ndim < 1 or array.shape[-1] != count:
        raise DataError(f"vectors {list(array.shape)} do not fit the {count} cells of the grid")
    result = np.full((*array.shape[:-1], *cells.shape), rest)
    result[..., cells] = array
    return result
