"""Rows of the arrays in a `.npz`, one at a time, without reading the arrays whole."""

import math
import os
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np
import numpy.typing as npt

from onnxlrp.errors import DataError

Array = npt.NDArray[np.generic]

_FAULTS: Final = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


class Rows(Protocol):
    """Samples, or masks, that are read one at a time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all, the number of samples first."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the values."""

    def row(self, index: int) -> Array:
        """Return one."""


class Member:
    """One array of a `.npz`, read row by row; rows in rising order are read in one pass.

    Attributes:
        name: Its name.
        shape: Its shape.
        dtype: Its type.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str) -> None:
        """Read the header.

        Raises:
            DataError: The array is damaged, or of a kind that is not read.
        """
        self.name = name
        self._where = f"'{archive.filename}', array '{name}'"
        try:
            self._file: IO[bytes] = archive.open(f"{name}.npy")
            version = np.lib.format.read_magic(self._file)
            old = version == (1, 0)
            read = (
                np.lib.format.read_array_header_1_0 if old else np.lib.format.read_array_header_2_0
            )
            self.shape, fortran, self.dtype = read(self._file)
        except _FAULTS as error:
            raise DataError(f"{self._where}: cannot read it: {_reason(error)}") from error
        if fortran or self.dtype.hasobject or not self.shape:
            raise DataError(
                f"{self._where}: it must hold numbers, with an axis of samples, in C order "
                "(numpy.ascontiguousarray)"
            )
        self._start = self._file.tell()
        self._bytes = math.prod(self.shape[1:]) * self.dtype.itemsize

    def row(self, index: int) -> Array:
        """Return one row.

        Raises:
            DataError: The file is damaged there.
        """
        try:
            self._file.seek(self._start + index * self._bytes)
            content = self._file.read(self._bytes)
        except _FAULTS as error:
            raise DataError(f"{self._where}, row {index}: {_reason(error)}") from error
        if len(content) < self._bytes:
            raise DataError(f"{self._where}, row {index}: the file ends before it")
        return np.frombuffer(content, self.dtype).reshape(self.shape[1:]).copy()

    def whole(self) -> Array:
        """Return all rows."""
        rows = [self.row(index) for index in range(self.shape[0])]
        return np.stack(rows) if rows else np.empty(self.shape, self.dtype)


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """The arrays of a data set: x `[N, ...]` as the model takes it, y `[N]`, mask `[N, H, W]`.

    Attributes:
        path: The file.
        x: The samples.
        mask: What is to be found, not zero inside.
        labels: The true classes; empty without `y`.
        content: Digest of samples that are in memory, which more than the file decides.
    """

    path: Path
    x: Rows
    mask: Rows | None
    labels: tuple[int, ...]
    content: str = ""

    def describe(self) -> str:
        """Return shapes, size and content, to tell one file from another."""
        mask = list(self.mask.shape) if self.mask else None
        size = self.path.stat().st_size
        return f"{list(self.x.shape)} {self.x.dtype} {mask} {size}{self.content}"


def open_arrays(path: str | os.PathLike[str]) -> Arrays:
    """Open a `.npz` with x (or one array of another name), and optionally y and mask.

    Raises:
        DataError: It cannot be read, has no x, or arrays of unequal length.
    """
    try:
        archive = zipfile.ZipFile(path)
    except _FAULTS as error:
        raise DataError(f"cannot read '{os.fspath(path)}': {_reason(error)}") from error
    names = [name.removesuffix(".npy") for name in archive.namelist()]
    rest = [name for name in names if name not in ("y", "mask")]
    if "x" not in names and len(rest) != 1:
        raise DataError(
            f"'{os.fspath(path)}' has no array 'x' (it has {', '.join(names) or 'none'}): save x "
            "[N, ...], and y [N] and mask [N, H, W] where they are known"
        )
    x = Member(archive, "x" if "x" in names else rest[0])
    mask = Member(archive, "mask") if "mask" in names else None
    labels = _labels(Member(archive, "y"), os.fspath(path)) if "y" in names else ()
    for name, count in (("y", len(labels)), ("mask", mask.shape[0] if mask else 0)):
        if name in names and count != x.shape[0]:
            raise DataError(f"'{os.fspath(path)}': x has {x.shape[0]} samples, {name} has {count}")
    return Arrays(path=Path(path), x=x, mask=mask, labels=labels)


def _labels(member: Member, path: str) -> tuple[int, ...]:
    if len(member.shape) > 1 or member.dtype.kind not in "iu":
        raise DataError(
            f"'{path}': y holds one class index per sample, not {member.dtype} {list(member.shape)}"
        )
    return tuple(int(label) for label in member.whole())


def _reason(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__
