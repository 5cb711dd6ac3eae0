"""Anomalies against a climatology, the index of a region, and labels by a threshold."""

from dataclasses import replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from onnxlrp.data.grids.grid import NINO34, Fields, Floats, Mask, Region, box, extent, where
from onnxlrp.errors import DataError

__all__ = ["anomalies", "label", "region_index"]


def anomalies(fields: Fields, years: tuple[int, int]) -> Fields:
    """Subtract from each field the mean of its calendar month over `years`, both included.

    Raises:
        DataError: No time axis, or a month without a field in those years.
    """
    if not len(fields.years):
        raise DataError(f"{where(fields)} has no time axis: anomalies need months")
    base = (fields.years >= years[0]) & (fields.years <= years[1])
    result = np.empty_like(fields.values)
    for month in np.unique(fields.months):
        own = fields.months == month
        if not (own & base).any():
            raise DataError(
                f"{where(fields)} has no field of month {month} in {years[0]} to {years[1]}: it "
                f"covers {fields.years.min()} to {fields.years.max()}"
            )
        result[own] = fields.values[own] - _mean(fields.values[own & base])
    return replace(fields, values=result)


def _mean(values: Floats) -> Floats:
    """The mean over time of what is known; NaN where nothing is."""
    known = np.isfinite(values)
    count = known.sum(axis=0)
    total = np.where(known, values, 0).sum(axis=0)
    mean: Floats = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return mean


def region_index(
    fields: Fields,
    region: Region = NINO34,
    weights: Literal["plain", "cos"] = "plain",
    years: tuple[int, int] | None = None,
    normalise: bool = True,
) -> Floats:
    """The mean over a region at each time `[T]`, divided by its standard deviation.

    Args:
        fields: Anomalies.
        region: The box.
        weights: `plain`: every cell counts alike (authors). `cos`: by the cosine of its latitude.
        years: Years of which the deviation is taken; None: all.
        normalise: Whether to divide.

    Raises:
        DataError: The region has no cell, or only land, or a field without a value there; the
            deviation is zero.
    """
    inside = region.inside(fields.grid)
    if not inside.any():
        raise DataError(f"region {box(region)} has no cell of the grid: {extent(fields.grid)}")
    if not (inside & fields.grid.valid).any():
        raise DataError(f"region {box(region)} has only land: choose another one")
    index = _weighted(fields, inside, weights)
    empty = np.flatnonzero(~np.isfinite(index))
    if len(empty):
        raise DataError(
            f"{where(fields)}, {fields.when(int(empty[0]))}: no value inside region {box(region)}"
        )
    if not normalise:
        return index
    return index / _deviation(fields, index, years)


def _weighted(fields: Fields, inside: Mask, weights: str) -> Floats:
    if weights not in {"plain", "cos"}:
        raise DataError(f"weights={weights!r} is not one of plain, cos")
    size = np.cos(np.deg2rad(fields.grid.lats)) if weights == "cos" else np.ones(len(inside))
    cells = np.broadcast_to(size[:, None], inside.shape)[inside]
    values = fields.values[:, inside]
    known = np.isfinite(values)
    total = (known * cells).sum(axis=1)
    sums = np.where(known, values * cells, 0).sum(axis=1)
    index: Floats = np.where(total > 0, sums / np.where(total > 0, total, 1), np.nan)
    return index


def _deviation(fields: Fields, index: Floats, years: tuple[int, int] | None) -> float:
    base = np.ones(len(index), bool)
    if years is not None and len(fields.years):
        base = (fields.years >= years[0]) & (fields.years <= years[1])
    deviation = float(index[base].std()) if base.any() else 0.0
    if not deviation > 0:
        raise DataError(f"{where(fields)}: the index does not vary, it cannot be normalised")
    return deviation


def label(index: npt.ArrayLike, threshold: float = 0.5) -> npt.NDArray[np.int8]:
    """+1 where the index is above the threshold, -1 below minus the threshold, else 0."""
    values = np.asarray(index, np.float64)
    return (values > threshold).astype(np.int8) - (values < -threshold).astype(np.int8)
