"""Small fields shaped like ERSSTv5: 2 x 2 degrees, 89 x 180, land missing, monthly."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from onnxlrp.data.grids.grid import Fields, Grid

LATS = np.arange(-88.0, 89.0, 2.0)
LONS = np.arange(0.0, 360.0, 2.0)


def sea() -> np.ndarray:
    """The south is land up to 78S, and so is a continent from 90E to 120E north of 20S."""
    valid = np.ones((89, 180), bool)
    valid[LATS <= -78] = False
    valid[np.ix_(LATS >= -20, (LONS >= 90) & (LONS <= 120))] = False
    return valid


def tongue() -> np.ndarray:
    """A warm tongue in the equatorial Pacific, 1 at its middle."""
    lon = np.abs(LONS - 215) / 40
    return np.exp(-((LATS[:, None] / 8) ** 2) - lon[None, :] ** 2)


def months(first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
    years = np.repeat(np.arange(first, last + 1), 12)
    return years, np.tile(np.arange(1, 13), last - first + 1)


def make(first: int = 1950, last: int = 1957, seed: int = 0) -> tuple[Fields, np.ndarray]:
    """The fields, and the strength of the tongue at each time."""
    rng = np.random.default_rng(seed)
    years, month = months(first, last)
    strength = rng.normal(0, 1.5, len(years))
    season = 15 + 10 * np.cos(2 * np.pi * month / 12)[:, None, None]
    values = season * np.cos(np.deg2rad(LATS))[None, :, None] + np.zeros((1, 1, 180))
    values = values + strength[:, None, None] * tongue() + rng.normal(0, 0.2, values.shape)
    values[:, ~sea()] = np.nan
    grid = Grid(lats=LATS, lons=LONS, valid=sea())
    fields = Fields(
        values=values, years=years, months=month, grid=grid, name="sst", source="made.nc"
    )
    return fields, strength


def seasonless(strength: np.ndarray, month: np.ndarray) -> np.ndarray:
    """The strength without the mean of its calendar month."""
    return strength - np.array([strength[month == m].mean() for m in month])


def write_fields(
    path: Path,
    first: int = 1950,
    last: int = 1953,
    seed: int = 0,
    every: int = 1,
    change: Callable[[Any], None] | None = None,
) -> Path:
    """Write them as NetCDF, one row and column of `every`; needs xarray and netCDF4."""
    import xarray

    fields, _ = make(first, last, seed)
    stamps = [f"{y}-{m:02d}-01" for y, m in zip(fields.years, fields.months, strict=True)]
    values = fields.values[:, ::every, ::every].astype(np.float32)
    data = xarray.Dataset(
        {"sst": (("time", "lat", "lon"), values)},
        {
            "time": np.array(stamps, "datetime64[ns]"),
            "lat": ("lat", LATS[::every], {"units": "degrees_north"}),
            "lon": ("lon", LONS[::every], {"units": "degrees_east"}),
        },
    )
    if change is not None:
        change(data)
    path.parent.mkdir(exist_ok=True)
    data.to_netcdf(path)
    return path
