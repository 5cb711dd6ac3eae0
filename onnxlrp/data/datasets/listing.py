"""Data sets: which samples there are, with what is known about them, before any is read."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np

from onnxlrp.data.datasets.arrays import Arrays
from onnxlrp.errors import DataError

Box: TypeAlias = tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A sample that is listed, not read yet.

    Attributes:
        name: Its name, once per data set: the path inside the folder, or the row of the arrays.
        picture: The file; None for a row of arrays.
        row: The row of the arrays.
        label: The true class, None where it is not known.
        mask: A picture file that marks what is to be found.
        boxes: Left, top, right, bottom in pixels of the original picture.
    """

    name: str
    picture: Path | None = None
    row: int = 0
    label: int | None = None
    mask: Path | None = None
    boxes: tuple[Box, ...] = ()

    def describe(self) -> list[object]:
        """Return all that decides what the sample is, but for the pixels."""
        files = [file for file in (self.picture, self.mask) if file is not None]
        sizes = [file.stat().st_size if file.is_file() else -1 for file in files]
        return [self.name, self.row, self.label, sizes, [list(box) for box in self.boxes]]


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The samples of a data set in their order.

    Attributes:
        kind: What kind of data set it is, in words.
        entries: The samples.
        arrays: The arrays that the rows belong to, for a `.npz` or gridded fields.
        classes: Number of classes where it was read off the data; None where labels are indices or
            come from a labels file.
        level: A pixel of a mask belongs to it from this level on.
        notes: What was assumed, in words.
    """

    kind: str
    entries: tuple[Entry, ...]
    arrays: Arrays | None = None
    classes: int | None = None
    level: int = 1
    notes: tuple[str, ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether a sample has a label."""
        return any(entry.label is not None for entry in self.entries)

    @property
    def masked(self) -> bool:
        """Whether a sample has a mask."""
        stored = self.arrays is not None and self.arrays.mask is not None
        return stored or any(entry.mask is not None for entry in self.entries)

    @property
    def boxed(self) -> bool:
        """Whether a sample has a box."""
        return any(entry.boxes for entry in self.entries)

    def digest(self) -> str:
        """Return the SHA-256 of the names, sizes, labels and boxes of all samples, in order."""
        total = hashlib.sha256(self.kind.encode())
        if self.arrays is not None:
            total.update(self.arrays.describe().encode())
        for entry in self.entries:
            total.update(json.dumps(entry.describe()).encode())
        return total.hexdigest()


def choose(
    listing: Listing,
    limit: int | None = None,
    per_class: int | None = None,
    shuffle: int | None = None,
) -> Listing:
    """Return a part of a data set, in the order of the whole.

    Args:
        listing: The whole.
        limit: Most samples.
        per_class: Most samples of one class.
        shuffle: Seed of a random choice; None: the first ones.

    Raises:
        DataError: A number that is not positive, or no labels to choose by.
    """
    for name, number in (("--limit", limit), ("--per-class", per_class)):
        if number is not None and number < 1:
            raise DataError(f"{name} must be at least 1, got {number}")
    order: Sequence[int] = range(len(listing.entries))
    if shuffle is not None:
        if shuffle < 0:
            raise DataError(f"--shuffle takes a seed of 0 or more, got {shuffle}")
        order = [int(k) for k in np.random.default_rng(shuffle).permutation(len(listing.entries))]
    if per_class is not None:
        if not listing.labelled:
            raise DataError("--per-class needs labels, and the data has none")
        order = _per_class(listing.entries, order, per_class)
    kept = sorted(order[:limit])
    return replace(listing, entries=tuple(listing.entries[k] for k in kept))


def _per_class(entries: Sequence[Entry], order: Sequence[int], most: int) -> list[int]:
    seen: Counter[int] = Counter()
    kept = []
    for k in order:
        label = entries[k].label
        if label is not None and seen[label] < most:
            seen[label] += 1
            kept.append(k)
    return kept


def unique(names: Sequence[str]) -> list[str]:
    """Number the names that come again: `a.png`, `a.png#2`."""
    seen: Counter[str] = Counter()
    found = []
    for name in names:
        seen[name] += 1
        found.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return found
