"""Names of classes, and their scores as shares of one."""

import json
import os
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt

from onnxlrp.data.pictures import read_bytes
from onnxlrp.errors import DataError

__all__ = ["label", "load_labels", "shares"]

Floats: TypeAlias = npt.NDArray[np.float64]

_MOST_BYTES: Final = 16 * 2**20


def load_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the names of the classes in the order of the output: one per line, or a JSON list.

    Raises:
        DataError: The file cannot be read, is no text or has no names.
    """
    name = os.fspath(path)
    try:
        text = read_bytes(path, _MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"labels file '{name}' is not UTF-8 text") from error
    labels = _from_json(text, name) if text.lstrip().startswith("[") else text.splitlines()
    while labels and not labels[-1].strip():
        labels.pop()
    if not labels:
        raise DataError(f"labels file '{name}' has no labels; write one per line")
    return tuple(label.strip() for label in labels)


def label(labels: Sequence[str], index: int) -> str:
    """Return the name of a class, or its number where it has none."""
    return labels[index] if 0 <= index < len(labels) else f"class {index}"


def shares(scores: Floats) -> Floats:
    """Return probabilities `[K]`: the scores where they are such, else their softmax."""
    if (scores >= 0).all() and abs(scores.sum() - 1) < 1e-2:
        return scores
    powers: Floats = np.exp(scores - scores.max())
    powers /= powers.sum()
    return powers


def _from_json(text: str, name: str) -> list[str]:
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"labels file '{name}' starts like a JSON list, but is none") from error
    return [str(label) for label in labels]
