"""Pictures and arrays in a column of a Parquet file, by row."""

import importlib
import json
import math
from pathlib import Path
from typing import Any, Final

import numpy as np

from onnxlrp.data.datasets.arrays import Array
from onnxlrp.errors import DataError, RuntimeMissing

__all__ = ["SHAPE", "ParquetRows", "import_arrow"]

SHAPE: Final = b"shape"
"""Key in the metadata of a column: the shape of one entry, as JSON."""

_MOST_BYTES: Final = 2 * 2**30


def import_arrow(name: str = "pyarrow") -> Any:
    """Import pyarrow, or a module of it.

    Raises:
        RuntimeMissing: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise RuntimeMissing(
            "pyarrow is not installed: install the extra `batch` (pip install 'onnxlrp[batch]'), "
            "or write png or npz"
        ) from error


class ParquetRows:
    """The entries of one column: pictures as bytes, or arrays.

    Read are `binary`, `struct<bytes, path>` (whose path is not followed), lists of numbers with
    their shape in the metadata of the column, and fixed-shape tensors.
    """

    def __init__(self, path: Path, column: str = "") -> None:
        """Open the file and find the column.

        Raises:
            DataError: The file is damaged, or it is not clear which column is meant.
            RuntimeMissing: pyarrow is not installed.
        """
        arrow = import_arrow()
        self._path = path
        try:
            self._file = import_arrow("pyarrow.parquet").ParquetFile(path)
        except (arrow.ArrowException, OSError) as error:
            raise DataError(f"cannot read '{path}' as Parquet: {error}") from error
        self._field = _choose(self._file.schema_arrow, column, path)
        self._shape = _shape(self._field)
        groups = range(self._file.metadata.num_row_groups)
        counts = [self._file.metadata.row_group(k).num_rows for k in groups]
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(int)
        self._cached: tuple[int, Any] = (-1, None)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def row(self, index: int) -> bytes | Array:
        """Return an entry.

        Raises:
            DataError: It is empty, too large or damaged.
        """
        group = int(np.searchsorted(self._starts, index, "right")) - 1
        entry = self._group(group)[index - int(self._starts[group])]
        if _is_struct(entry.type):
            entry = entry["bytes"]
        if not entry.is_valid:
            raise DataError(f"'{self._path.name}', row {index}: the entry is empty")
        if not hasattr(entry, "values"):
            content: bytes = entry.as_py()
            return content
        values: Array = entry.values.to_numpy(zero_copy_only=False)
        if values.dtype == object:
            raise DataError(f"'{self._path.name}', row {index}: no plain list of numbers")
        return values if self._shape is None else _reshaped(values, self._shape, self._path)

    def _group(self, group: int) -> Any:
        if self._cached[0] == group:
            return self._cached[1]
        about = self._file.metadata.row_group(group)
        if about.total_byte_size > _MOST_BYTES:
            raise DataError(
                f"'{self._path.name}': a row group of {about.total_byte_size} bytes is larger than "
                f"{_MOST_BYTES}: write smaller row groups"
            )
        self._cached = (-1, None)
        try:
            table = self._file.read_row_group(group, columns=[self._field.name], use_threads=False)
        except (import_arrow().ArrowException, OSError) as error:
            raise DataError(f"cannot read a row group of '{self._path.name}': {error}") from error
        column = table.column(0).combine_chunks()
        self._cached = (group, getattr(column, "storage", column))
        return self._cached[1]


def _choose(schema: Any, column: str, path: Path) -> Any:
    fields = [schema.field(k) for k in range(len(schema.names))]
    if column:
        found = [field for field in fields if field.name == column]
    else:
        found = [f for f in fields if _is_bytes(f.type)] or [f for f in fields if _is_list(f.type)]
    if len(found) == 1:
        return found[0]
    wanted = f"no column '{column}'" if column else f"{len(found)} columns of pictures or arrays"
    names = ", ".join(schema.names)
    raise DataError(f"'{path.name}' has {wanted} (it has {names}): pass --column NAME")


def _is_bytes(kind: Any) -> bool:
    return "binary" in str(kind) if not _is_struct(kind) else True


def _is_struct(kind: Any) -> bool:
    return str(kind).startswith("struct<") and kind.get_field_index("bytes") >= 0


def _is_list(kind: Any) -> bool:
    return str(getattr(kind, "storage_type", kind)).startswith(("list", "large_list", "fixed_size"))


def _shape(field: Any) -> tuple[int, ...] | None:
    if hasattr(field.type, "storage_type"):
        fixed = tuple(map(int, getattr(field.type, "shape", ())))
        return fixed or None
    said = (field.metadata or {}).get(SHAPE)
    try:
        shape = None if said is None else json.loads(said)
    except ValueError:
        return None
    if not isinstance(shape, list) or not all(type(n) is int and n >= 0 for n in shape):
        return None
    return tuple(shape)


def _reshaped(values: Array, shape: tuple[int, ...], path: Path) -> Array:
    if math.prod(shape) != values.size:
        raise DataError(f"'{path.name}': {values.size} numbers are no array of shape {shape}")
    return values.reshape(shape)
