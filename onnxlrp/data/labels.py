"""Reads class names: one per line, or a JSON list."""

import json
import os

from onnxlrp.data.pictures import read_bytes
from onnxlrp.errors import DataError


def load_labels(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Read the names of the classes in the order of the output.

    Raises:
        DataError: The file cannot be read, is no text or has no names.
    """
    name = os.fspath(path)
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"labels file '{name}' is not UTF-8 text") from error
    labels = _from_json(text, name) if text.lstrip().startswith("[") else text.splitlines()
    while labels and not labels[-1].strip():
        labels.pop()
    if not labels:
        raise DataError(f"labels file '{name}' has no labels; write one per line")
    return tuple(label.strip() for label in labels)


def _from_json(text: str, name: str) -> list[str]:
    try:
        labels = json.loads(text)
    except ValueError as error:
        raise DataError(f"labels file '{name}' starts like a JSON list, but is none") from error
    return [str(label) for label in labels]
