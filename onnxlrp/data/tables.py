"""Reads tabular rows: csv with or without a header, JSON rows, objects or named inputs."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from onnxlrp.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows of numbers.

    Attributes:
        rows: `[rows, columns]`, or any shape for JSON without feature names.
        features: Names of the columns, where the file has them.
        named: Arrays by input name, for JSON objects that name inputs; then there are no rows.
    """

    rows: npt.NDArray[np.float64] | None = None
    features: tuple[str, ...] = ()
    named: Mapping[str, npt.NDArray[np.generic]] = field(default_factory=dict)


def read_csv(content: bytes, name: str) -> Table:
    """Read rows of numbers; a first row that is not all numbers names the features.

    Raises:
        DataError: No text, no rows, rows of unequal length, or an entry that is no number.
    """
    lines = [row for row in csv.reader(io.StringIO(_text(content, name))) if row]
    features: tuple[str, ...] = ()
    if lines and any(_number(entry) is None for entry in lines[0]):
        features = tuple(entry.strip() for entry in lines.pop(0))
    if not lines:
        raise DataError(f"'{name}' has no rows of numbers")
    width = len(features) or len(lines[0])
    rows = np.empty((len(lines), width))
    for number, line in enumerate(lines):
        where = f"'{name}', row {number + 1}"
        if len(line) != width:
            raise DataError(f"{where}: {len(line)} entries instead of {width}")
        for column, entry in enumerate(line):
            value = _number(entry)
            if value is None:
                raise DataError(f"{where}, column {column + 1}: '{entry[:40]}' is no number")
            rows[number, column] = value
    return Table(rows=rows, features=features)


def read_json(content: bytes, name: str, inputs: Sequence[str]) -> Table:
    """Read a row, a list of rows, a list of objects by feature, or an object by input name.

    Raises:
        DataError: Not JSON, or of another form.
    """
    try:
        data = json.loads(_text(content, name))
    except ValueError as error:
        raise DataError(f"'{name}' is not JSON: {error}") from error
    if isinstance(data, dict) and set(data) & set(inputs):
        named = {key: _array(value, f"'{name}', '{key}'") for key, value in data.items()}
        return Table(named={key: named[key] for key in named if key in inputs})
    records = [data] if isinstance(data, dict) else data
    if isinstance(records, list) and records and all(isinstance(r, dict) for r in records):
        features = tuple(records[0])
        for number, record in enumerate(records):
            if set(record) != set(features):
                raise DataError(f"'{name}', row {number + 1}: other features than row 1")
        rows = [[record[feature] for feature in features] for record in records]
        return Table(rows=_floats(rows, name), features=features)
    array = _floats(data, name)
    return Table(rows=array[None] if array.ndim == 1 else array)


def _floats(data: object, name: str) -> npt.NDArray[np.float64]:
    return _array(data, f"'{name}'").astype(np.float64)


def _array(data: object, where: str) -> npt.NDArray[np.generic]:
    try:
        array = np.array(data)
    except ValueError as error:
        raise DataError(f"{where}: rows of unequal length") from error
    if array.dtype.kind not in "fiub" or not array.size:
        raise DataError(f"{where}: expected numbers")
    return array


def _text(content: bytes, name: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"'{name}' is not UTF-8 text") from error


def _number(entry: str) -> float | None:
    try:
        return float(entry)
    except ValueError:
        return None
