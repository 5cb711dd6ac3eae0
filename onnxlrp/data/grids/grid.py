"""Fields on a latitude-longitude grid, and boxes on it."""

import os
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt

from onnxlrp.errors import DataError

__all__ = ["NINO34", "Fields", "Floats", "Grid", "Mask", "Region", "roll", "same_grid"]

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

CLOSE: Final = 1e-3


@dataclass(frozen=True, kw_only=True, eq=False)
class Grid:
    """Where the cells of a field are.

    Attributes:
        lats: Latitude of each row in degrees, in the order of the file.
        lons: Longitude of each column in degrees.
        valid: Cells that have a value in some field `[lat, lon]`; the others are land.
    """

    lats: Floats
    lons: Floats
    valid: Mask

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of rows and columns."""
        return len(self.lats), len(self.lons)


@dataclass(frozen=True, kw_only=True, eq=False)
class Fields:
    """A variable at several times.

    Attributes:
        values: The values `[T, lat, lon]`; NaN where there is none.
        years: Year of each field `[T]`; empty without a time axis.
        months: Month of each field, 1 to 12.
        grid: Where the cells are.
        name: The variable.
        source: The file.
    """

    values: Floats
    years: npt.NDArray[np.int64]
    months: npt.NDArray[np.int64]
    grid: Grid
    name: str = ""
    source: str = ""

    def when(self, index: int) -> str:
        """The year and month of a field in words."""
        if not len(self.years):
            return f"field {index}"
        return f"{self.years[index]:04d}-{self.months[index]:02d}"


@dataclass(frozen=True, kw_only=True)
class Region:
    """A box on the globe, its edges included; `west` may be beyond `east` across the date line.

    Attributes:
        south: Lowest latitude.
        north: Highest latitude.
        west: Western edge, degrees east in any convention (190 is -170).
        east: Eastern edge.
        name: Its name.
    """

    south: float
    north: float
    west: float
    east: float
    name: str = ""

    def __post_init__(self) -> None:
        if not -90 <= self.south <= self.north <= 90:
            raise DataError(
                f"region {self.name}: south {self.south}, north {self.north} are no box"
            )

    def inside(self, grid: Grid) -> Mask:
        """The cells whose centre is inside `[lat, lon]`."""
        rows = (grid.lats >= self.south - CLOSE) & (grid.lats <= self.north + CLOSE)
        width = self.east - self.west
        width = 360.0 if abs(width) >= 360 else width % 360
        columns = (grid.lons - self.west + CLOSE) % 360 <= width + 2 * CLOSE
        return rows[:, None] & columns[None, :]


NINO34: Final = Region(south=-5, north=5, west=-170, east=-120, name="Nino 3.4")
"""5S to 5N, 170W to 120W."""


def roll(fields: Fields, west: float) -> Fields:
    """Turn the globe so that the first column is the first one at or east of `west`.

    Raises:
        DataError: The columns do not go all around.
    """
    lons = fields.grid.lons
    gaps = np.diff(np.concatenate([np.sort(lons % 360), [np.sort(lons % 360)[0] + 360]]))
    if gaps.max() > 1.5 * float(np.median(gaps)):
        raise DataError(f"{where(fields)} does not go around the globe: {extent(fields.grid)}")
    order = np.argsort((lons - west + CLOSE) % 360, kind="stable")
    turned = lons[order] - 360 * np.floor((lons[order] - west + CLOSE) / 360)
    grid = replace(fields.grid, lons=turned, valid=fields.grid.valid[:, order])
    return replace(fields, values=fields.values[:, :, order], grid=grid)


def same_grid(one: Grid, other: Grid) -> None:
    """Check that two grids have the same cells, so that a network for one fits the other.

    Raises:
        DataError: They do not.
    """
    if one.shape != other.shape:
        raise DataError(
            f"the grids differ: {one.shape[0]} x {one.shape[1]} and "
            f"{other.shape[0]} x {other.shape[1]} cells (latitude x longitude)"
        )
    apart = np.abs((one.lons - other.lons + 180) % 360 - 180)
    if np.abs(one.lats - other.lats).max() > CLOSE or apart.max() > CLOSE:
        raise DataError(f"the grids differ: {extent(one)}, and {extent(other)}")


def where(fields: Fields) -> str:
    """The file and variable in words."""
    return f"'{os.fspath(fields.source)}', variable '{fields.name}'"


def extent(grid: Grid) -> str:
    """The range of a grid in words."""
    lats, lons = grid.lats, grid.lons
    return f"latitudes {lats[0]:g} to {lats[-1]:g}, longitudes {lons[0]:g} to {lons[-1]:g}"


def box(region: Region) -> str:
    """A region in words."""
    edges = f"({region.south:g} to {region.north:g}, {region.west:g} to {region.east:g})"
    return f"{region.name} {edges}".strip()
