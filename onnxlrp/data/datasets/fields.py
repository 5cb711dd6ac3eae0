"""Lists gridded fields as samples, labelled by the index of a region."""

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from onnxlrp.data.datasets.arrays import Array, Arrays
from onnxlrp.data.datasets.listing import Entry, Listing, unique
from onnxlrp.data.grids.climate import anomalies, label, region_index
from onnxlrp.data.grids.files import SUFFIXES, read_fields
from onnxlrp.data.grids.grid import Fields, Region, roll, where
from onnxlrp.data.grids.samples import Gaps, samples
from onnxlrp.data.layout import Dim, Port
from onnxlrp.errors import DataError

__all__ = ["FieldRows", "FieldSettings", "fit_fields", "is_gridded", "list_fields"]

_CLASSES: Final = (1, 0)
_SIGNS: Final = (1, -1)


@dataclass(frozen=True, kw_only=True)
class FieldSettings:
    """How fields become samples.

    Attributes:
        variable: Its name; None where the file has only one.
        climatology: Years whose mean of the calendar month is subtracted; None: values as they are.
        region: The box whose index labels the fields; None: no labels.
        threshold: Fields between minus this and this index are left out.
        cap: Largest size that is kept, and the divisor; None: values as they are.
        gaps: `zero`: land and gaps are 0. `drop`: vectors of the cells that are always known.
        west: The globe is turned so that the first column is there; None: as in the file.
    """

    variable: str | None = None
    climatology: tuple[int, int] | None = None
    region: Region | None = None
    threshold: float = 0.5
    cap: float | None = 5.0
    gaps: Gaps = "zero"
    west: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class FieldRows:
    """Samples in memory.

    Attributes:
        values: `[N, 1, lat, lon]` or `[N, P]`.
        grid: Numbers of latitudes and longitudes.
        source: The file and variable in words.
    """

    values: npt.NDArray[np.float32]
    grid: tuple[int, int]
    source: str

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all samples."""
        return self.values.shape

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """The type of the values."""
        return self.values.dtype

    def row(self, index: int) -> Array:
        """Return one sample."""
        found: Array = self.values[index].copy()
        return found

    def fit(self, port: Port, layout: str | None = None) -> "FieldRows":
        """Shape the samples as an input takes them.

        Fields go into `[N, 1, lat, lon]`, `[N, lat, lon, 1]`, `[N, lat, lon]` or, row by row,
        `[N, lat * lon]`; vectors into `[N, P]`.

        Raises:
            DataError: The input is for another grid.
        """
        for form in self._forms(len(port.shape), layout):
            if _fits(form, port.shape):
                return replace(self, values=self.values.reshape(len(self.values), *form))
        size = " x ".join(map(str, self.grid))
        given = f"fields of {size} cells (latitude x longitude)"
        if self.values.ndim == 2:
            given = f"vectors of the {self.shape[1]} cells with a value, of {size}"
        raise DataError(
            f"input '{port.name}' ({port}) does not take {given} from {self.source}: use the grid "
            "of the training data; --gaps zero gives fields, --gaps drop vectors"
        )

    def _forms(self, rank: int, layout: str | None) -> Sequence[tuple[int, ...]]:
        """Shapes of one sample for an input of this rank, the likeliest first."""
        if self.values.ndim == 2:
            return [self.values.shape[1:]] if rank == 2 else []
        height, width = self.grid
        if rank == 2:
            return [(height * width,), (height, width)]
        forms = [(1, height, width), (height, width, 1)] if rank in (3, 4) else []
        return forms[::-1] if layout is not None and layout.upper().endswith("C") else forms


def _fits(form: tuple[int, ...], shape: Sequence[Dim]) -> bool:
    """Whether a sample has the sizes of the last axes; a free first axis is one sample."""
    sizes = [dim if isinstance(dim, int) else None for dim in shape[-len(form) :]]
    if len(form) == len(shape) and sizes[0] is None:
        sizes[0] = 1
    return all(size in (None, want) for want, size in zip(form, sizes, strict=True))


def is_gridded(source: str | os.PathLike[str]) -> bool:
    """Tell by its suffix whether a file or folder holds gridded fields."""
    return Path(source).suffix.lower() in SUFFIXES


def list_fields(
    source: str | os.PathLike[str], settings: FieldSettings | None = None, signed: bool = False
) -> Listing:
    """Read a file of fields; a sample per time, by the name of its month.

    Args:
        source: A NetCDF file, a Zarr folder or a GRIB file.
        settings: How fields become samples.
        signed: Labels are 1 and -1, the sign of one score; else the classes 1 and 0.

    Raises:
        RuntimeMissing: xarray, or its reader for such files, is not installed.
        DataError: The file cannot be read, or the settings do not fit it.
    """
    settings = settings or FieldSettings()
    fields = _prepare(read_fields(source, settings.variable), settings)
    given = samples(fields, settings.gaps, settings.cap)
    signs = None if settings.region is None else _signs(fields, settings)
    known = np.full(len(given.x), 1) if signs is None else signs
    names = unique([fields.when(k) for k in range(len(known))])
    above, below = _SIGNS if signed else _CLASSES
    entries = tuple(
        Entry(name=names[k], row=k, label=None if signs is None else above if sign > 0 else below)
        for k, sign in enumerate(known.tolist())
        if sign
    )
    content = hashlib.sha256(given.x.tobytes()).hexdigest()
    rows = FieldRows(values=given.x, grid=given.grid.shape, source=where(fields))
    arrays = Arrays(path=Path(source), x=rows, mask=None, labels=(), content=content)
    notes = () if signs is None else (_note(signs, settings.threshold, (above, below)),)
    return Listing(kind="gridded fields", entries=entries, arrays=arrays, notes=notes)


def _prepare(fields: Fields, settings: FieldSettings) -> Fields:
    if settings.west is not None:
        fields = roll(fields, settings.west)
    return fields if settings.climatology is None else anomalies(fields, settings.climatology)


def _signs(fields: Fields, settings: FieldSettings) -> npt.NDArray[np.int8]:
    """+1, 0 or -1 for each field by the index of the region."""
    if not 0 <= settings.threshold < float("inf"):
        raise DataError(f"threshold {settings.threshold} must be 0 or more")
    assert settings.region is not None
    index = region_index(fields, settings.region)
    signs = label(index, settings.threshold)
    if not signs.any():
        raise DataError(
            f"{where(fields)}: no field has an index beyond +-{settings.threshold:g}, the largest "
            f"is {np.abs(index).max():.3g}: lower the threshold"
        )
    return signs


def _note(signs: npt.NDArray[np.int8], threshold: float, names: tuple[int, int]) -> str:
    high, low = int((signs > 0).sum()), int((signs < 0).sum())
    return (
        f"classes: {names[0]} for {high} fields with an index above {threshold:g}, {names[1]} for "
        f"{low} below -{threshold:g}; {len(signs) - high - low} fields in between are left out"
    )


def fit_fields(listing: Listing, port: Port, layout: str | None = None) -> Listing:
    """Shape fields as an input takes them; other data sets stay as they are.

    Raises:
        DataError: The input is for another grid.
    """
    arrays = listing.arrays
    if arrays is None or not isinstance(arrays.x, FieldRows):
        return listing
    return replace(listing, arrays=replace(arrays, x=arrays.x.fit(port, layout)))
