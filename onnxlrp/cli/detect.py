"""Reads the metadata of a model file without the onnx package and without loading the model."""

import os
from pathlib import Path
from typing import IO, Final

from onnxlrp.metadata import is_explanation

_METADATA_PROPS: Final = 14
_MAX_ENTRY: Final = 64 * 2**20
_MAX_FIELDS: Final = 100_000


def is_explanation_graph(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is an explanation graph; what is no model at all is not.

    Raises:
        OSError: The file cannot be read.
    """
    with Path(path).open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        file.seek(0)
        try:
            return is_explanation(_properties(file, end))
        except (ValueError, UnicodeDecodeError):
            return False


def _properties(file: IO[bytes], end: int) -> dict[str, str]:
    """Read `metadata_props` of a ModelProto; other fields are skipped, not read."""
    found: dict[str, str] = {}
    for _ in range(_MAX_FIELDS):
        if file.tell() >= end:
            return found
        key = _varint(file)
        number, wire = key >> 3, key & 7
        if wire == 2:
            length = _varint(file)
            if length > end - file.tell():
                raise ValueError("a field is longer than the file")
            if number == _METADATA_PROPS and length <= _MAX_ENTRY:
                found.update([_entry(file.read(length))])
            else:
                file.seek(length, os.SEEK_CUR)
        elif wire == 0:
            _varint(file)
        else:
            file.seek({1: 8, 5: 4}.get(wire, end), os.SEEK_CUR)
    raise ValueError("too many fields")


def _entry(content: bytes) -> tuple[str, str]:
    """Read a StringStringEntryProto: key 1, value 2."""
    parts = {1: b"", 2: b""}
    at = 0
    while at < len(content):
        number = content[at] >> 3
        length, at = _length(content, at + 1)
        parts[number] = content[at : at + length]
        at += length
    return parts[1].decode(), parts[2].decode()


def _length(content: bytes, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        if at >= len(content) or shift > 63:
            raise ValueError("damaged entry")
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _varint(file: IO[bytes]) -> int:
    value = 0
    for shift in range(0, 70, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("the file ends in the middle of a field")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("a number has too many bytes")
