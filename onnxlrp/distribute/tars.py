"""Pictures in WebDataset tars: found once, then read at their offsets; nothing is unpacked."""

import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from onnxlrp.data.pictures import MAX_BYTES, SUFFIXES
from onnxlrp.errors import DataError

__all__ = ["list_members", "read_member"]

_BLOCK: Final = 512


def list_members(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield name, offset and size of the pictures in a tar that is not compressed.

    Links, devices, folders and sparse files are left out. A name is a word for people: it never
    becomes a path.

    Raises:
        DataError: It is no such tar, or damaged; what came before was yielded.
    """
    try:
        with tarfile.open(path, "r:") as tar:
            while (member := tar.next()) is not None:
                tar.members = []  # type: ignore[attr-defined]  # or it remembers every one
                picture = Path(member.name).suffix.lower() in SUFFIXES
                if member.isreg() and not member.issparse() and picture:
                    yield member.name, member.offset_data, member.size
            end = tar.offset
        if any(read_member(path, end, min(_BLOCK, path.stat().st_size - end))):
            raise DataError(f"cannot read the tar '{path}' to its end: a header is damaged")
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise DataError(f"cannot read the tar '{path}' to its end: {error}") from error


def read_member(path: Path, at: int, size: int) -> bytes:
    """Read the bytes of a member.

    Raises:
        DataError: There are too many, or fewer than its header says.
    """
    if size > MAX_BYTES:
        raise DataError(f"a member of '{path.name}' has {size} bytes, more than {MAX_BYTES}")
    with path.open("rb") as file:
        file.seek(at)
        content = file.read(size)
    if len(content) < size:
        raise DataError(f"'{path.name}' ends inside of a member")
    return content
