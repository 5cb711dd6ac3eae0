"""Writes results as Parquet: a column per array, fixed-size lists with their shape."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from onnxlrp.data.datasets.arrays import Array
from onnxlrp.distribute.parquet_rows import SHAPE, import_arrow
from onnxlrp.distribute.rows import Row
from onnxlrp.errors import InputError

__all__ = ["ParquetSink"]

_GROUP_BYTES: Final = 32 * 2**20


class ParquetSink:
    """One Parquet file: `index`, `name`, `target` and a column per array.

    Arrays of a known shape are fixed-size lists, row-major, with the shape as JSON in the metadata
    of their column. Others are lists, with their shape in a column `<name>.shape`.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...] | None]) -> None:
        """Keep the path.

        Args:
            path: The file.
            shapes: Shape of each array by name; None or missing: it differs from sample to sample.
        """
        self._arrow = import_arrow()
        self._path, self._shapes = path, shapes
        self._rows: list[Row] = []
        self._bytes = 0
        self._writer: Any = None

    def add(self, row: Row) -> None:
        """Keep a result; write a row group where many bytes are kept.

        Raises:
            InputError: An array has another shape than the graph says.
        """
        for name, array in row.arrays.items():
            known = self._shapes.get(name)
            if known is not None and known != array.shape:
                raise InputError(
                    f"'{name}' has shape {list(array.shape)}, the graph says {list(known)}"
                )
        self._rows.append(row)
        self._bytes += sum(array.nbytes for array in row.arrays.values())
        if self._bytes >= _GROUP_BYTES:
            self._flush()

    def close(self) -> None:
        """Write the rest and the footer."""
        if self._rows:
            self._flush()
        if self._writer is not None:
            self._writer.close()

    def _flush(self) -> None:
        columns = self._columns()
        fields, arrays = [field for field, _ in columns], [array for _, array in columns]
        table = self._arrow.Table.from_arrays(arrays, schema=self._arrow.schema(fields))
        if self._writer is None:
            parquet = import_arrow("pyarrow.parquet")
            self._writer = parquet.ParquetWriter(self._path, table.schema, compression="zstd")
        self._writer.write_table(table)
        self._rows, self._bytes = [], 0

    def _columns(self) -> list[tuple[Any, Any]]:
        pa, rows = self._arrow, self._rows
        plain = {
            "index": pa.array([row.index for row in rows], pa.int64()),
            "name": pa.array([row.name for row in rows], pa.string()),
            "target": pa.array([row.target for row in rows], pa.list_(pa.int64())),
        }
        columns = [(pa.field(name, array.type), array) for name, array in plain.items()]
        for name in rows[0].arrays:
            values = [row.arrays[name] for row in rows]
            shape = self._shapes.get(name)
            if shape is not None and values[0].size:
                columns.append(self._fixed(name, values, shape))
            else:
                columns.extend(self._free(name, values))
        return columns

    def _fixed(self, name: str, values: list[Array], shape: tuple[int, ...]) -> tuple[Any, Any]:
        pa = self._arrow
        flat = pa.array(np.concatenate([value.ravel() for value in values]))
        array = pa.FixedSizeListArray.from_arrays(flat, values[0].size)
        return pa.field(name, array.type, metadata={SHAPE: json.dumps(shape)}), array

    def _free(self, name: str, values: list[Array]) -> list[tuple[Any, Any]]:
        pa = self._arrow
        sizes = np.cumsum([0, *(value.size for value in values)])
        flat = pa.array(np.concatenate([value.ravel() for value in values]))
        array = pa.LargeListArray.from_arrays(pa.array(sizes, pa.int64()), flat)
        shapes = pa.array([list(value.shape) for value in values], pa.list_(pa.int64()))
        pairs = ((name, array), (f"{name}.shape", shapes))
        return [(pa.field(label, column.type), column) for label, column in pairs]
