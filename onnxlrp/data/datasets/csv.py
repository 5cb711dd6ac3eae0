"""Reads `images.csv`: file, label, mask, box."""

import csv
import io
import math
import re
from pathlib import Path
from typing import Final

from onnxlrp.data.datasets.labels import Classes
from onnxlrp.data.datasets.listing import Box, Entry, Listing, unique
from onnxlrp.data.pictures import read_bytes
from onnxlrp.errors import DataError

_COLUMNS: Final = ("file", "label", "mask", "box")


def list_csv(path: Path, classes: Classes) -> Listing:
    """Read a table whose header names `file`, and any of `label`, `mask` and `box`.

    Paths are relative to the folder of the table. A label is an index, or a class of the labels
    file. A mask is a picture file, not zero inside. A box is `left top right bottom` in pixels of
    the picture; several are separated by `;`.

    Raises:
        DataError: No such columns, or a label or box that cannot be read; the text names the row.
    """
    rows = _rows(path)
    names = unique([row["file"] for row in rows])
    entries = []
    for number, (row, name) in enumerate(zip(rows, names, strict=True), 2):
        where = f"'{path}', line {number}"
        mask = row.get("mask", "")
        entries.append(
            Entry(
                name=name,
                picture=path.parent / row["file"],
                label=_label(row.get("label", ""), classes, where),
                mask=path.parent / mask if mask else None,
                boxes=_boxes(row.get("box", ""), where),
            )
        )
    return Listing(kind="images.csv", entries=tuple(entries))


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"'{path}' is not UTF-8 text") from error
    reader = csv.reader(io.StringIO(text))
    head = [column.strip().lower() for column in next(reader, [])]
    if "file" not in head or set(head) - set(_COLUMNS):
        raise DataError(
            f"'{path}': its first line names the columns {', '.join(head) or 'nothing'}; known are "
            f"{', '.join(_COLUMNS)}, and file is needed"
        )
    rows = []
    for number, line in enumerate(reader, 2):
        if not line:
            continue
        if len(line) != len(head):
            raise DataError(f"'{path}', line {number}: {len(line)} entries instead of {len(head)}")
        row = {name: entry.strip() for name, entry in zip(head, line, strict=True)}
        if not row["file"]:
            raise DataError(f"'{path}', line {number}: no file is named")
        rows.append(row)
    return rows


def _label(text: str, classes: Classes, where: str) -> int | None:
    if not text:
        return None
    found = classes.find(text)
    if found is None:
        hint = "is no class of the labels file" if classes.labels else "needs --labels, or an index"
        raise DataError(f"{where}: label '{text[:40]}' {hint}")
    return found


def _boxes(text: str, where: str) -> tuple[Box, ...]:
    return tuple(_box(part, where) for part in text.split(";") if part.strip())


def _box(text: str, where: str) -> Box:
    parts = [part for part in re.split(r"[\s,]+", text.strip()) if part]
    try:
        left, top, right, bottom = (float(part) for part in parts)
    except ValueError as error:
        raise DataError(
            f"{where}: box '{text[:40].strip()}' is not 'left top right bottom'"
        ) from error
    if not all(map(math.isfinite, (left, top, right, bottom))) or right <= left or bottom <= top:
        raise DataError(f"{where}: box '{text.strip()}' is empty: right > left and bottom > top")
    return left, top, right, bottom
