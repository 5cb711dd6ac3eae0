"""Reads one sample: the input of the model, without a batch axis."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from onnxlrp.data.datasets.arrays import Array, open_arrays
from onnxlrp.data.datasets.fields import fit_fields, list_fields
from onnxlrp.data.fit import Fitted, fit
from onnxlrp.data.grids.files import SUFFIXES as FIELDS
from onnxlrp.data.layout import Port
from onnxlrp.data.pictures import SUFFIXES as PICTURES
from onnxlrp.data.pictures import load_picture, read_bytes
from onnxlrp.data.preprocess import Preprocessing
from onnxlrp.distribute.items import Item, Source, inside
from onnxlrp.distribute.parquet_rows import ParquetRows
from onnxlrp.distribute.tars import read_member
from onnxlrp.errors import DataError, InputError

__all__ = ["Reader", "only_input"]


class _Rows(Protocol):
    def row(self, index: int) -> bytes | Array: ...


def only_input(ports: Mapping[str, Port]) -> Port:
    """Return the one input of a model.

    Raises:
        InputError: It has several.
    """
    if len(ports) != 1:
        names = ", ".join(f"'{name}'" for name in ports)
        raise InputError(f"a data set gives one input, this model takes {names}: use the Explainer")
    return next(iter(ports.values()))


class Reader:
    """Reads samples for one input of a model; the last file of arrays stays open."""

    def __init__(
        self,
        source: Source,
        port: Port,
        preprocessing: Preprocessing | None = None,
        layout: str | None = None,
    ) -> None:
        """Keep the choices; the preprocessing of pictures is fitted at the first one."""
        self._source, self._port = source, port
        self._preprocessing, self._layout = preprocessing, layout
        self._fitted: Fitted | None = None
        self._open: tuple[str, _Rows | None] = ("", None)
        self.notes: tuple[str, ...] = ()
        """What was assumed so far, in words."""

    def read(self, item: Item) -> Array:
        """Read a sample.

        Raises:
            DataError: It cannot be read, is too large, or lies outside of the folder.
        """
        if item.fault:
            raise DataError(item.fault)
        path = inside(self._source.folder, item.file)
        suffix = path.suffix.lower()
        if suffix in PICTURES:
            content: bytes | Array = read_bytes(path)
        elif suffix == ".tar":
            content = read_member(path, item.at, item.size)
        else:
            content = self._rows(item.file, path).row(item.at)
        if isinstance(content, bytes):
            return self._picture(content, item.name)
        return self._shaped(content)

    def _picture(self, content: bytes, name: str) -> Array:
        if self._fitted is None:
            self._fitted = fit(self._preprocessing, self._port, self._layout)
            self.notes += self._fitted.notes
        array, _ = self._fitted.apply(load_picture(content, name))
        return array[0] if "N" in self._fitted.layout.axes else array

    def _rows(self, file: str, path: Path) -> _Rows:
        if self._open[0] != file or self._open[1] is None:
            self._open = ("", None)
            self._open = (file, self._opened(path))
        rows = self._open[1]
        assert rows is not None
        return rows

    def _opened(self, path: Path) -> _Rows:
        suffix = path.suffix.lower()
        if suffix == ".parquet":
            return ParquetRows(path, self._source.column)
        if suffix in FIELDS:
            listing = fit_fields(list_fields(path, self._source.fields), self._port, self._layout)
            assert listing.arrays is not None
            self.notes += tuple(note for note in listing.notes if note not in self.notes)
            return listing.arrays.x
        return open_arrays(path).x

    def _shaped(self, values: Array) -> Array:
        """A flat list of numbers in the shape of the input, where that is known."""
        known = [dim for dim in self._port.shape[1:] if isinstance(dim, int)]
        whole = len(known) == len(self._port.shape) - 1
        if values.ndim == 1 and whole and int(np.prod(known)) == values.size:
            return values.reshape(known)
        return values
