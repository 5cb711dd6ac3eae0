"""Writes the results of a shard: to a temporary name, which is renamed once all is there."""

import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from onnxlrp.distribute.job import Format
from onnxlrp.distribute.parquet_sink import ParquetSink
from onnxlrp.distribute.rows import Row
from onnxlrp.errors import InputError
from onnxlrp.render.colors import colorize
from onnxlrp.render.heat import normalise

__all__ = ["Sink", "commit", "open_sink"]

Shapes: TypeAlias = Mapping[str, tuple[int, ...] | None]

_PERCENTILE: Final = 99.5
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")


class Sink(Protocol):
    """Takes results, one at a time."""

    def add(self, row: Row) -> None:
        """Take the result of a sample.

        Raises:
            InputError: It cannot be written in this format.
        """

    def close(self) -> None:
        """Write what is left."""


@dataclass(frozen=True, kw_only=True)
class PngSink:
    """A folder with a heatmap per sample, one pixel per value, and `index.jsonl`.

    Attributes:
        path: The folder.
        colors: The colour map.
    """

    path: Path
    colors: str

    def add(self, row: Row) -> None:
        """Draw a heatmap.

        Raises:
            InputError: It has no two axes.
        """
        heat = np.asarray(row.heat, np.float64)
        if heat.ndim != 2:
            raise InputError(f"a heatmap of shape {list(heat.shape)} is no picture: write parquet")
        scaled, top = normalise(heat, _PERCENTILE)
        name = f"{row.index:09d}-{_UNSAFE.sub('_', row.name)[-80:]}.png"
        Image.fromarray(colorize(scaled, self.colors)).save(self.path / name, "PNG")
        about = {"index": row.index, "name": row.name, "file": name, "target": row.target}
        with (self.path / "index.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps({**about, "full_colour": top}) + "\n")

    def close(self) -> None:
        """Nothing is left."""


class NpzSink:
    """One `.npz`: `index`, `name`, and every array with the samples as its first axis."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: list[Row] = []

    def add(self, row: Row) -> None:
        """Keep a result.

        Raises:
            InputError: Its arrays have other shapes than those before.
        """
        first = self._rows[0] if self._rows else row
        for name, array in row.arrays.items():
            if array.shape != first.arrays[name].shape:
                raise InputError(
                    f"'{name}' has shape {list(array.shape)}, before "
                    f"{list(first.arrays[name].shape)}: npz needs equal shapes, write parquet"
                )
        self._rows.append(row)

    def close(self) -> None:
        """Write the file."""
        rows = self._rows
        arrays = {name: np.stack([r.arrays[name] for r in rows]) for name in rows[0].arrays}
        with self._path.open("wb") as file:
            np.savez(
                file,
                index=np.array([row.index for row in rows], np.int64),
                name=np.array([row.name for row in rows]),
                target=_targets(rows),
                **arrays,  # type: ignore[arg-type]
            )


def _targets(rows: Sequence[Row]) -> npt.NDArray[np.int64]:
    """`[N, r]`; `[N, 0]` where they are not known for every sample."""
    length = len(rows[0].target)
    if any(len(row.target) != length for row in rows):
        length = 0
    flat = [index for row in rows for index in row.target[:length]]
    return np.array(flat, np.int64).reshape(len(rows), length)


def open_sink(kind: Format, path: Path, shapes: Shapes, colors: str) -> Sink:
    """Return a sink of a format that writes to a path.

    Raises:
        RuntimeMissing: Parquet without pyarrow.
    """
    if kind == "png":
        path.mkdir()
        return PngSink(path=path, colors=colors)
    return NpzSink(path) if kind == "npz" else ParquetSink(path, shapes)


def commit(temporary: Path, final: Path) -> None:
    """Give results their name.

    Where another worker has written the same shard meanwhile, its results stand: they are equal.

    Raises:
        OSError: They cannot be renamed.
    """
    try:
        temporary.replace(final)
    except OSError:
        if not (temporary.is_dir() and final.is_dir()):
            raise
        shutil.rmtree(temporary)
