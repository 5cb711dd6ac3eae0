"""Reads CUB-200-2011 (Wah et al. 2011) from its own text files."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from onnxlrp.data.datasets.listing import Box, Entry, Listing
from onnxlrp.data.pictures import read_bytes
from onnxlrp.errors import DataError

_FILES: Final = ("images.txt", "image_class_labels.txt")
_MOST_ANNOTATORS: Final = 128


def is_cub(folder: Path) -> bool:
    """Tell whether a folder has the text files of the data set."""
    return all((folder / name).is_file() for name in _FILES)


def list_cub(folder: Path) -> Listing:
    """List the test split; without a split, all pictures.

    Classes count from 1 in the files, from 0 here. Masks lie in `segmentations/`, in the folder or
    beside it; a pixel belongs to the bird where at least half of the annotators saw it.

    Raises:
        DataError: A file that is not as the data set has it; the text names file and line.
    """
    files = _read(folder / "images.txt", 2)
    labels = _read(folder / "image_class_labels.txt", 2)
    boxes = _read(folder / "bounding_boxes.txt", 5, needed=False)
    split = _read(folder / "train_test_split.txt", 2, needed=False)
    masks = _masks(folder)
    entries = []
    for key, (name,) in files.items():
        if split and split.get(key, ["0"]) != ["0"]:
            continue
        if key not in labels:
            raise DataError(f"'{folder / _FILES[1]}' has no label for picture {key}, '{name}'")
        entries.append(
            Entry(
                name=name,
                picture=folder / "images" / name,
                label=_whole(labels[key][0], folder / _FILES[1]) - 1,
                mask=None if masks is None else masks / Path(name).with_suffix(".png"),
                boxes=_box(boxes[key], folder) if key in boxes else (),
            )
        )
    notes = ("split: " + ("test" if split else "all pictures, no train_test_split.txt"),)
    entries.sort(key=lambda entry: entry.name)
    return Listing(kind="CUB-200-2011", entries=tuple(entries), level=_MOST_ANNOTATORS, notes=notes)


def _read(path: Path, columns: int, *, needed: bool = True) -> dict[str, list[str]]:
    if not needed and not path.is_file():
        return {}
    found: dict[str, list[str]] = {}
    lines = read_bytes(path).decode("utf-8", errors="replace").splitlines()
    for number, line in enumerate(lines, 1):
        parts = line.split(maxsplit=columns - 1)
        if parts and len(parts) != columns:
            raise DataError(f"'{path}', line {number}: expected {columns} entries")
        if parts:
            found[parts[0]] = [part.strip() for part in parts[1:]]
    return found


def _masks(folder: Path) -> Path | None:
    places = (folder / "segmentations", folder.parent / "segmentations")
    return next((place for place in places if place.is_dir()), None)


def _whole(text: str, path: Path) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise DataError(f"'{path}': '{text}' is no class, which count from 1")
    return int(text)


def _box(parts: Sequence[str], folder: Path) -> tuple[Box, ...]:
    """From x, y, width, height."""
    try:
        left, top, width, height = (float(part) for part in parts)
    except ValueError as error:
        raise DataError(
            f"'{folder / 'bounding_boxes.txt'}': {' '.join(parts)} is no box"
        ) from error
    return ((left, top, left + width, top + height),)
