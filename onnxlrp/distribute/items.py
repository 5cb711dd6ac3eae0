"""Lists what is to be explained, without reading it: files, members of tars, rows of arrays."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count, islice
from pathlib import Path
from typing import Final, TypeAlias

from onnxlrp.data.datasets.arrays import open_arrays
from onnxlrp.data.datasets.fields import FieldSettings, list_fields
from onnxlrp.data.grids.files import SUFFIXES as FIELDS
from onnxlrp.data.pictures import SUFFIXES as PICTURES
from onnxlrp.distribute.parquet_rows import ParquetRows
from onnxlrp.distribute.tars import list_members
from onnxlrp.errors import DataError

KNOWN: Final = PICTURES | FIELDS | {".tar", ".parquet", ".npz"}

Place: TypeAlias = tuple[str, int, int]
"""Name inside the file, row or offset, and size in bytes."""


@dataclass(frozen=True, slots=True)
class Item:
    """One sample that is listed, not read yet.

    Attributes:
        index: Its position in the data set: what identifies it.
        name: What it is called.
        file: The file, relative to the folder of the data.
        at: Row of an array, or offset of a member of a tar.
        size: Bytes of a member of a tar.
        fault: Why it cannot be read, where that is known.
    """

    index: int
    name: str
    file: str
    at: int = 0
    size: int = 0
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Shard:
    """Consecutive samples that are explained, written and resumed as one.

    Attributes:
        number: Its position.
        items: The samples.
    """

    number: int
    items: tuple[Item, ...]

    @property
    def name(self) -> str:
        """The name of its results."""
        return f"shard-{self.number:06d}"


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the samples are, and how arrays are found in it.

    Attributes:
        folder: The folder that no file may leave, without links.
        file: The one file in it that is listed; empty: all.
        column: The column of Parquet files; empty: the only one that fits.
        fields: How gridded fields become samples.
    """

    folder: str
    file: str = ""
    column: str = ""
    fields: FieldSettings = field(default_factory=FieldSettings)

    @classmethod
    def of(cls, data: str, column: str = "", fields: FieldSettings | None = None) -> "Source":
        """Return the source behind a path.

        Raises:
            DataError: Nothing there, or a file of a kind that is not read.
        """
        path = Path(data).resolve()
        single = path.is_file() or path.suffix.lower() in FIELDS
        if not path.exists():
            raise DataError(f"there is no file or folder '{data}'")
        if single and path.suffix.lower() not in KNOWN:
            raise DataError(f"cannot read '{data}': its name should end in {_words(KNOWN)}")
        folder, file = (path.parent, path.name) if single else (path, "")
        return cls(folder=str(folder), file=file, column=column, fields=fields or FieldSettings())


def inside(folder: str, file: str) -> Path:
    """Return the path of a file in a folder.

    Raises:
        DataError: It leads out of the folder, as through a link.
    """
    path = Path(folder, file).resolve()
    if not path.is_relative_to(folder):
        raise DataError(f"'{file}' leads out of the folder '{folder}'")
    return path


def list_items(source: Source, skip: Path | None = None) -> Iterator[Item]:
    """Yield the samples in the order of the names of their files.

    A file that cannot be listed becomes one item with a fault.

    Args:
        source: Where they are.
        skip: A folder that is left out: that of the results.
    """
    numbers = count()
    files = [source.file] if source.file else _files(Path(source.folder), skip)
    for file in files:
        try:
            for name, at, size in _places(source, file):
                yield Item(next(numbers), f"{file}/{name}" if name else file, file, at, size)
        except (DataError, OSError) as error:
            yield Item(next(numbers), file, file, fault=" ".join(str(error).split()))


def into_shards(items: Iterable[Item], size: int) -> Iterator[Shard]:
    """Yield shards of `size` items, the last one smaller."""
    left = iter(items)
    for number in count():
        part = tuple(islice(left, size))
        if not part:
            return
        yield Shard(number, part)


def _files(folder: Path, skip: Path | None) -> Iterator[str]:
    """Yield the files of known kinds, by name; hidden ones are left out, links to folders, too."""
    for where, folders, files in os.walk(folder):
        here = Path(where)
        stores = [name for name in folders if Path(name).suffix.lower() in FIELDS]
        folders[:] = sorted(
            name
            for name in folders
            if name not in stores and not name.startswith(".") and here / name != skip
        )
        for name in sorted([*files, *stores]):
            if Path(name).suffix.lower() in KNOWN and not name.startswith("."):
                yield str((here / name).relative_to(folder))


def _places(source: Source, file: str) -> Iterator[Place]:
    suffix = Path(file).suffix.lower()
    if suffix in PICTURES:
        yield "", 0, 0
        return
    path = inside(source.folder, file)
    if suffix == ".tar":
        yield from list_members(path)
    elif suffix in FIELDS:
        for entry in list_fields(path, source.fields).entries:
            yield entry.name, entry.row, 0
    else:
        rows = (
            len(ParquetRows(path, source.column))
            if suffix == ".parquet"
            else open_arrays(path).x.shape[0]
        )
        for row in range(rows):
            yield str(row), row, 0


def _words(suffixes: Iterable[str]) -> str:
    return ", ".join(sorted(suffixes))
