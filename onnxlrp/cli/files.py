"""Output files: checked before long work, written whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from onnxlrp.errors import DataError


def check_writable(path: Path) -> None:
    """Check that a file can be written, without writing it.

    Raises:
        DataError: Its folder is missing, or it is a folder.
        OSError: Its folder cannot be written to.
    """
    if path.is_dir():
        raise DataError(f"cannot write '{path}': it is a folder")
    folder = path.parent
    if not folder.is_dir():
        raise DataError(f"cannot write '{path}': there is no folder '{folder}'")
    with tempfile.TemporaryFile(dir=folder):
        pass


def check_no_overwrite(out: Path, *sources: str | Path) -> None:
    """Check that an output file is none of the files that are read.

    Raises:
        DataError: It is one of them.
    """
    for source in sources:
        if out.is_file() and Path(source).exists() and os.path.samefile(out, source):
            raise DataError(f"'{out}' is read as an input: choose another name for the output")


def write_whole(path: Path, write: Callable[[IO[bytes]], None]) -> None:
    """Let a function write to a temporary file beside the path, then rename it.

    Raises:
        OSError: The file cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            write(file)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises:
        OSError: The file cannot be written.
    """

    def write(file: IO[bytes]) -> None:
        file.write(content)

    write_whole(path, write)


def make_folder(path: Path) -> None:
    """Make a folder for results, and check that it can be written to.

    Raises:
        DataError: Its parent is missing, or it is a file.
    """
    if path.exists() and not path.is_dir():
        raise DataError(f"cannot write to '{path}': it is a file, not a folder")
    if not path.exists() and not path.absolute().parent.is_dir():
        raise DataError(f"cannot make '{path}': there is no folder '{path.absolute().parent}'")
    path.mkdir(exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        pass
