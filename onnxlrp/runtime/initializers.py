"""Reads the weights of a model file without the onnx package, mapped into memory where possible."""

import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from onnxlrp.errors import ModelError
from onnxlrp.runtime.result import Array

__all__ = ["read_weights"]

Bytes: TypeAlias = bytes | mmap.mmap
Field: TypeAlias = tuple[int, int, int]

_DTYPES: Final[dict[int, np.dtype[Any]]] = {
    1: np.dtype("<f4"),
    2: np.dtype("u1"),
    3: np.dtype("i1"),
    4: np.dtype("<u2"),
    5: np.dtype("<i2"),
    6: np.dtype("<i4"),
    7: np.dtype("<i8"),
    10: np.dtype("<f2"),
    11: np.dtype("<f8"),
    12: np.dtype("<u4"),
    13: np.dtype("<u8"),
}
"""Element types by their number in onnx.proto, those that ONNX Runtime can share."""

_GRAPH, _INITIALIZER, _EXTERNAL = 7, 5, 1
_DIMS, _TYPE, _NAME, _RAW, _ENTRIES, _LOCATION = 1, 2, 8, 9, 13, 14
_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


@dataclass
class _Tensor:
    name: str = ""
    kind: int = 0
    dims: list[int] = field(default_factory=list)
    raw: tuple[int, int] | None = None
    location: int = 0
    entries: dict[str, str] = field(default_factory=dict)


def read_weights(
    source: str | bytes, least: int = 1024, rank: int | None = None
) -> dict[str, Array]:
    """Return the initializers of a model with at least so many bytes, by name.

    Arrays are views into the file, mapped read-only, where their place is aligned; else copies.

    Args:
        source: Path or bytes of the model.
        least: Smaller ones are left out.
        rank: Number of axes of those that are read; None: any.

    Raises:
        ModelError: The file cannot be read, or is no model.
    """
    folder = Path(source).parent if isinstance(source, str) else None
    try:
        data = _mapped(Path(source)) if isinstance(source, str) else source
        tensors = [
            _tensor(data, place, size)
            for _, graph, length in _inside(data, 0, len(data), _GRAPH)
            for _, place, size in _inside(data, graph, length, _INITIALIZER)
        ]
        wanted = [tensor for tensor in tensors if rank is None or len(tensor.dims) == rank]
        found = {tensor.name: _array(data, tensor, folder) for tensor in wanted}
    except (OSError, IndexError, ValueError, UnicodeDecodeError) as error:
        raise ModelError(f"the weights of the model cannot be read: {error}") from error
    return {name: a for name, a in found.items() if a is not None and a.nbytes >= least}


def _mapped(path: Path) -> Bytes:
    if not path.stat().st_size:
        return b""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def _inside(data: Bytes, start: int, size: int, wanted: int) -> Iterator[Field]:
    return (item for item in _fields(data, start, size) if item[0] == wanted)


def _fields(data: Bytes, start: int, size: int) -> Iterator[Field]:
    """Yield number, place and length of the fields of a message; the value of a varint as place."""
    at, end = start, start + size
    while at < end:
        tag, at = _varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == _VARINT:
            value, at = _varint(data, at)
            yield number, value, 0
            continue
        if wire == _LENGTH:
            length, at = _varint(data, at)
        elif wire in (_FIXED32, _FIXED64):
            length = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError("it is no ONNX model")
        if at + length > end:
            raise ValueError("the file is cut off")
        yield number, at, length
        at += length


def _varint(data: Bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
        if shift > 63:
            raise ValueError("it is no ONNX model")


def _tensor(data: Bytes, start: int, size: int) -> _Tensor:
    tensor = _Tensor()
    for number, place, length in _fields(data, start, size):
        if number == _DIMS:
            tensor.dims += _packed(data, place, length) if length else [place]
        elif number == _TYPE:
            tensor.kind = place
        elif number == _NAME:
            tensor.name = data[place : place + length].decode()
        elif number == _RAW:
            tensor.raw = (place, length)
        elif number == _LOCATION:
            tensor.location = place
        elif number == _ENTRIES:
            key, value = (
                data[p : p + n].decode() for _, p, n in sorted(_fields(data, place, length))
            )
            tensor.entries[key] = value
    return tensor


def _packed(data: Bytes, start: int, size: int) -> list[int]:
    found, at = [], start
    while at < start + size:
        value, at = _varint(data, at)
        found.append(value)
    return found


def _array(data: Bytes, tensor: _Tensor, folder: Path | None) -> Array | None:
    dtype = _DTYPES.get(tensor.kind)
    count = int(np.prod(tensor.dims, dtype=np.int64))
    if dtype is None or not count:
        return None
    if tensor.location == _EXTERNAL:
        if folder is None:
            return None
        data = _mapped(folder / os.path.normpath(tensor.entries["location"]))
        start = int(tensor.entries.get("offset", 0))
    elif tensor.raw is not None:
        start, size = tensor.raw
        if size != count * dtype.itemsize:
            raise ValueError(f"'{tensor.name}' has {size} bytes for {count} values")
    else:
        return None
    flat: Array = np.frombuffer(data, dtype=dtype, count=count, offset=start)
    array = flat.reshape(tensor.dims)
    return array if array.flags.aligned else array.copy()
