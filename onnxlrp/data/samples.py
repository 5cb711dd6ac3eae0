"""Samples from files: a picture, numpy file or table becomes the inputs of a model."""

import io
import sys
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from onnxlrp.data.fit import fit
from onnxlrp.data.layout import Port
from onnxlrp.data.pictures import MAX_BYTES, SUFFIXES, load_picture, read_bytes
from onnxlrp.data.preprocess import Preprocessing
from onnxlrp.data.tables import Table, read_csv, read_json
from onnxlrp.errors import DataError

STDIN: Final = "-"

_READERS: Final = {".npy": "npy", ".npz": "npz", ".csv": "csv", ".json": "json"}
_ARRAYS_MAX_BYTES: Final = 16 * MAX_BYTES


@dataclass(frozen=True, kw_only=True)
class Sample:
    """The inputs that one file gives: one sample or several.

    Attributes:
        name: Name of the file without its suffix.
        inputs: Arrays by input name, with a batch axis.
        picture: The picture as the model sees it.
        features: Names of the features of a table.
        notes: What was assumed, in words.
    """

    name: str
    inputs: Mapping[str, npt.NDArray[np.generic]]
    picture: Image.Image | None = None
    features: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def expand(sources: Sequence[str]) -> tuple[str, ...]:
    """Return the files behind the sources: a folder stands for the files in it, sorted by name.

    Raises:
        DataError: Nothing there, or a folder without files that we read.
    """
    files: list[str] = []
    for source in sources:
        path = Path(source)
        if source == STDIN or path.is_file():
            files.append(source)
        elif path.is_dir():
            known = SUFFIXES | set(_READERS)
            inside = sorted(str(file) for file in path.iterdir() if file.suffix.lower() in known)
            if not inside:
                raise DataError(f"folder '{source}' has no {', '.join(sorted(known))} file")
            files.extend(inside)
        else:
            raise DataError(f"there is no file or folder '{source}'")
    return tuple(files)


def load_sample(
    source: str,
    ports: Mapping[str, Port],
    preprocessing: Preprocessing | None = None,
    layout: str | None = None,
) -> Sample:
    """Read one file (or `-`, standard input) as inputs of a model.

    Args:
        source: Path, or `-`.
        ports: The inputs of the model.
        preprocessing: How pictures are prepared; None: assumed, and noted.
        layout: Layout of the picture input; None: that of the preprocessing, or as its shape says.

    Raises:
        DataError: The file cannot be read, or does not give the inputs that the model has.
    """
    content, kind, name = _open(source)
    if kind == "picture":
        port = _only(ports, source)
        fitted = fit(preprocessing, port, layout)
        array, picture = fitted.apply(load_picture(content, source))
        return Sample(name=name, inputs={port.name: array}, picture=picture, notes=fitted.notes)
    if kind in ("npy", "npz"):
        arrays = _read_numpy(content, source)
        inputs = _match(arrays, ports, source) if kind == "npz" else None
        if inputs is None:
            inputs = {_only(ports, source).name: arrays[""]}
        return Sample(name=name, inputs=_with_batch(inputs, ports))
    table = read_csv(content, source) if kind == "csv" else read_json(content, source, list(ports))
    return _from_table(table, ports, name, source)


def _open(source: str) -> tuple[bytes, str, str]:
    if source == STDIN:
        content = sys.stdin.buffer.read(_ARRAYS_MAX_BYTES)
        if not content:
            raise DataError("standard input is empty")
        return content, _sniff(content), "stdin"
    path = Path(source)
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return read_bytes(path), "picture", path.stem
    if suffix in _READERS:
        return read_bytes(path, _ARRAYS_MAX_BYTES), _READERS[suffix], path.stem
    known = ", ".join(sorted(SUFFIXES | set(_READERS)))
    raise DataError(f"cannot tell what '{source}' is: its name should end in {known}")


def _sniff(content: bytes) -> str:
    if content.startswith((b"\x89PNG", b"\xff\xd8", b"RIFF")):
        return "picture"
    if content.startswith(b"\x93NUMPY"):
        return "npy"
    if content.startswith(b"PK"):
        return "npz"
    return "json" if content.lstrip()[:1] in (b"[", b"{") else "csv"


def _read_numpy(content: bytes, source: str) -> dict[str, npt.NDArray[np.generic]]:
    try:
        loaded = np.load(io.BytesIO(content), allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {"": loaded}
        return {key: loaded[key] for key in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, KeyError) as error:
        reason = " ".join(str(error).split()).split(" (Hint", maxsplit=1)[0]
        raise DataError(f"cannot read the arrays in '{source}': {reason}") from error


def _match(
    arrays: Mapping[str, npt.NDArray[np.generic]], ports: Mapping[str, Port], source: str
) -> dict[str, npt.NDArray[np.generic]]:
    found = {key.replace("|", "/") if key not in ports else key: a for key, a in arrays.items()}
    if len(ports) == 1 and len(found) == 1:
        return dict(zip(ports, found.values(), strict=True))
    missing = [name for name in ports if name not in found]
    if missing:
        raise DataError(
            f"'{source}' has no array '{missing[0]}': the model needs {_quoted(ports)}, the file "
            f"has {_quoted(arrays) or 'nothing'}"
        )
    return {name: found[name] for name in ports}


def _from_table(table: Table, ports: Mapping[str, Port], name: str, source: str) -> Sample:
    if table.rows is None:
        inputs = _match(table.named, ports, source)
    else:
        port = _only(ports, source)
        whole = "int" in port.kind and bool(np.all(table.rows == np.rint(table.rows)))
        inputs = {port.name: table.rows.astype(np.int64) if whole else table.rows}
    return Sample(name=name, inputs=_with_batch(inputs, ports), features=table.features)


def _only(ports: Mapping[str, Port], source: str) -> Port:
    if len(ports) != 1:
        raise DataError(
            f"'{source}' gives one input, the model needs {_quoted(ports)}: pass a .npz with these"
        )
    return next(iter(ports.values()))


def _with_batch(
    inputs: Mapping[str, npt.NDArray[np.generic]], ports: Mapping[str, Port]
) -> dict[str, npt.NDArray[np.generic]]:
    """Add the batch axis where the model has one and a single sample came without it."""
    result = {}
    for name, array in inputs.items():
        shape = ports[name].shape
        lacks = array.ndim == len(shape) - 1 and shape[0] in (1, None, *_symbols(shape))
        result[name] = array[None] if lacks else array
    return result


def _symbols(shape: Sequence[int | str | None]) -> tuple[str, ...]:
    return tuple(dim for dim in shape if isinstance(dim, str))


def _quoted(names: Mapping[str, object]) -> str:
    return ", ".join(f"'{name}'" for name in names)
