"""Reads gridded fields from NetCDF, Zarr and GRIB files through xarray."""

import importlib
import importlib.util
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from onnxlrp.data.grids.grid import Fields, Grid
from onnxlrp.errors import DataError, RuntimeMissing

__all__ = ["SUFFIXES", "read_fields"]

_READERS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys((".nc", ".nc4", ".cdf", ".netcdf"), ("h5netcdf", "netCDF4")),
    ".zarr": ("zarr",),
    **dict.fromkeys((".grib", ".grib2", ".grb", ".grb2"), ("cfgrib",)),
}
_FAULTS: Final = (OSError, ImportError, ValueError, KeyError, TypeError, RuntimeError, EOFError)
"""What the readers raise where a file is none of theirs."""

SUFFIXES: Final = frozenset(_READERS)
"""The names of gridded files end so."""

_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "latitude": ("lat", "latitude", "y", "nav_lat", "ylat"),
    "longitude": ("lon", "longitude", "x", "nav_lon", "xlon", "long"),
    "time": ("time", "t", "date", "valid_time", "month"),
}
_UNITS: Final[Mapping[str, tuple[str, ...]]] = {
    "latitude": ("degrees_north", "degree_north", "degrees_n", "degreen"),
    "longitude": ("degrees_east", "degree_east", "degrees_e", "degreee"),
    "time": (),
}
_AXES: Final = {"latitude": "Y", "longitude": "X", "time": "T"}


def read_fields(path: str | os.PathLike[str], variable: str | None = None) -> Fields:
    """Read one variable `[T, lat, lon]`.

    The axes are found by their CF attributes (standard_name, units, axis), then by usual names.
    They may stand in any order; an axis of length 1 (a level) is dropped.

    Args:
        path: A NetCDF file, a Zarr folder, or a GRIB file.
        variable: Its name; None where there is only one.

    Raises:
        RuntimeMissing: xarray, or its reader for such files, is not installed.
        DataError: The file cannot be read, has no such variable, or no regular latitude-longitude
            grid.
    """
    source = os.fspath(path)
    if not Path(source).exists():
        raise DataError(f"there is no file or folder '{source}'")
    with _open(source) as data:
        return _fields(data, source, _choose(data, source, variable))


def _open(source: str) -> Any:
    try:
        xarray = importlib.import_module("xarray")
    except ImportError as error:
        raise RuntimeMissing(
            "xarray is not installed: install the extra `geo` (pip install 'onnxlrp[geo]')"
        ) from error
    readers = _READERS.get(Path(source).suffix.lower(), ())
    # cfgrib would write an index beside the file.
    options = {"backend_kwargs": {"indexpath": ""}} if "cfgrib" in readers else {}
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*consolidated")
            return xarray.open_dataset(source, **options)
    except _FAULTS as error:
        if readers and not any(importlib.util.find_spec(name) for name in readers):
            raise RuntimeMissing(
                f"no reader for '{source}' is installed: install {' or '.join(readers)}"
            ) from error
        reason = str(error).partition("Consider")[0].strip() or type(error).__name__
        raise DataError(f"cannot read '{source}': {reason}") from error


def _choose(data: Any, source: str, variable: str | None) -> str:
    """The variable that was asked for, or the only one on a grid."""
    names = [str(name) for name in data.data_vars]
    if variable is not None:
        if variable in names:
            return variable
        raise DataError(f"'{source}' has no variable '{variable}'; it has {', '.join(names)}")
    gridded = [name for name in names if _has_grid(data[name])]
    if len(gridded) != 1:
        found = ", ".join(gridded or names) or "none"
        raise DataError(f"'{source}': say which variable; it has {found}")
    return gridded[0]


def _has_grid(array: Any) -> bool:
    return all(_axis(array, kind) is not None for kind in ("latitude", "longitude"))


def _axis(array: Any, kind: str) -> str | None:
    """The dimension that is the latitude, longitude or time."""
    best: dict[int, str] = {}
    for dim in map(str, array.dims):
        coordinate = array.coords.get(dim)
        attributes = {} if coordinate is None else coordinate.attrs
        units = str(attributes.get("units", "")).lower()
        dated = coordinate is not None and np.asarray(coordinate.values).dtype.kind in "MO"
        if str(attributes.get("standard_name", "")).lower() == kind or units in _UNITS[kind]:
            best.setdefault(0, dim)
        elif kind == "time" and dated:
            best.setdefault(1, dim)
        elif str(attributes.get("axis", "")).upper() == _AXES[kind]:
            best.setdefault(2, dim)
        elif dim.lower() in _NAMES[kind]:
            best.setdefault(3, dim)
    return best[min(best)] if best else None


def _fields(data: Any, source: str, name: str) -> Fields:
    array = data[name]
    where = f"'{source}', variable '{name}'"
    lat, lon, time = (_axis(array, kind) for kind in ("latitude", "longitude", "time"))
    if lat is None or lon is None or lat == lon:
        axes = ", ".join(map(str, array.dims))
        raise DataError(
            f"{where} has no latitude and longitude axis (axes: {axes}): "
            "a regular grid is needed, regrid curvilinear ones first"
        )
    others = [dim for dim in map(str, array.dims) if dim not in {lat, lon, time}]
    long = [f"{dim} ({array.sizes[dim]})" for dim in others if array.sizes[dim] != 1]
    if long:
        raise DataError(f"{where} has more axes: select one entry of {', '.join(long)} first")
    array = array.squeeze(others, drop=True).transpose(*(d for d in (time, lat, lon) if d))
    values = _numbers(array, where)
    values = values if time else values[None]
    lats, lons = (_degrees(array, dim, where) for dim in (lat, lon))
    if np.abs(lats).max() > 90 + 1e-6:
        raise DataError(f"{where}: '{lat}' has values beyond 90 degrees, it is no latitude")
    years, months = _months(array, time, where)
    valid = np.asarray(np.isfinite(values).any(axis=0))
    if not valid.any():
        raise DataError(f"{where} has no value at all: every cell of every field is missing")
    grid = Grid(lats=lats, lons=lons, valid=valid)
    return Fields(values=values, years=years, months=months, grid=grid, name=name, source=source)


def _numbers(array: Any, where: str) -> npt.NDArray[np.float64]:
    try:
        values = np.asarray(array.values)
    except (OSError, ValueError, RuntimeError) as error:
        raise DataError(f"{where}: cannot read its values: {error}") from error
    if values.dtype.kind not in "fiu":
        raise DataError(f"{where} holds {values.dtype}, not numbers")
    result = values.astype(np.float64)
    result[~np.isfinite(result)] = np.nan
    return result


def _degrees(array: Any, dim: str, where: str) -> npt.NDArray[np.float64]:
    coordinate = array.coords.get(dim)
    if coordinate is None or np.asarray(coordinate.values).dtype.kind not in "fiu":
        raise DataError(f"{where}: axis '{dim}' has no degrees")
    degrees = np.asarray(coordinate.values, np.float64)
    steps = np.diff(degrees)
    if not np.isfinite(degrees).all() or not ((steps > 0).all() or (steps < 0).all()):
        raise DataError(f"{where}: '{dim}' does not rise or fall throughout: sort it first")
    return degrees


def _months(
    array: Any, time: str | None, where: str
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    if time is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    try:
        dates = array[time].dt
        return np.asarray(dates.year, np.int64), np.asarray(dates.month, np.int64)
    except (AttributeError, TypeError, ValueError) as error:
        raise DataError(
            f"{where}: axis '{time}' holds no dates: it needs units like 'days since 1800-01-01'"
        ) from error
