"""From names of classes to indices: labels files, sorted folders, label files of ImageNet."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from onnxlrp.data.labels import load_labels
from onnxlrp.errors import DataError

_SYNSET: Final = re.compile(r"n\d{8}")


@dataclass(frozen=True)
class Classes:
    """Finds the index of a class.

    Attributes:
        labels: The names in the order of the output; may be empty.
        index: Index by name, spelled evenly; also by synset where a label begins with one.
    """

    labels: tuple[str, ...]
    index: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        found: dict[str, int] = {}
        for position, label in enumerate(self.labels):
            first = label.split()[0] if label.split() else ""
            for name in (label, first if _SYNSET.fullmatch(first) else label):
                found.setdefault(_even(name), position)
        object.__setattr__(self, "index", found)

    def find(self, text: str) -> int | None:
        """Return the index for an index or a name; None where there is no such name."""
        if text.isdecimal():
            return int(text)
        return self.index.get(_even(text))


def _even(name: str) -> str:
    return re.sub(r"[\s_-]+", " ", name.strip()).lower()


def by_folder(names: Sequence[str], labels: Sequence[str]) -> tuple[dict[str, int], bool, str]:
    """Give folders that stand for classes their indices.

    Returns:
        Index by folder; whether it is only the order of the folders; how it was found, in words.

    Raises:
        DataError: Some folders are labels, others are not.
    """
    ordered = sorted(names)
    found = {name: Classes(tuple(labels)).index.get(_even(name)) for name in ordered}
    known = {name: index for name, index in found.items() if index is not None}
    if len(known) == len(ordered):
        return known, False, "classes: folder names found in the labels file"
    if known or (labels and len(labels) != len(ordered)):
        missing = next(name for name in ordered if name not in known)
        raise DataError(f"folder '{missing}' is no class of the labels file")
    if all(name.isdecimal() for name in ordered):
        return {name: int(name) for name in ordered}, False, "classes: folder names are indices"
    said = f"classes: the {len(ordered)} folders in sorted order, '{ordered[0]}' is 0"
    return {name: index for index, name in enumerate(ordered)}, True, said


@dataclass(frozen=True)
class LabelFile:
    """A label for every picture of a folder.

    Attributes:
        labels: Index by name of the picture.
        classes: Number of classes where the indices are the order of the names; else None.
        note: How the indices were found, in words.
    """

    labels: dict[str, int]
    classes: int | None
    note: str


def read_label_file(path: str, pictures: Sequence[Path], classes: Classes) -> LabelFile:
    """Read lines `name index`, or one index a line in the sorted order of the pictures.

    In place of an index may stand a class of the labels file or a synset; synsets without a labels
    file are numbered in sorted order, as ImageNet's classes are.

    Raises:
        DataError: The file cannot be read, or does not fit the pictures.
    """
    lines = [re.split(r"[\s,]+", line, maxsplit=1) for line in load_labels(path)]
    if all(len(line) == 1 for line in lines):
        if len(lines) != len(pictures):
            raise DataError(f"'{path}' has {len(lines)} labels for {len(pictures)} pictures")
        texts = {file.name: line[0] for file, line in zip(pictures, lines, strict=True)}
    else:
        texts = _by_name(path, lines, pictures)
    return _indexed(path, texts, {line[-1].strip() for line in lines}, classes)


def _by_name(path: str, lines: Sequence[list[str]], pictures: Sequence[Path]) -> dict[str, str]:
    stated: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if len(line) != 2:
            raise DataError(f"'{path}', line {number}: expected a picture and its class")
        stated[Path(line[0]).name] = line[1].strip()
    names = {file.name: stated.get(file.name, stated.get(file.stem)) for file in pictures}
    texts = {name: text for name, text in names.items() if text is not None}
    if not texts:
        raise DataError(
            f"'{path}' names none of the pictures, such as '{pictures[0].name}': expected lines "
            "'name index', or one index per picture"
        )
    return texts


def _indexed(path: str, texts: dict[str, str], every: set[str], classes: Classes) -> LabelFile:
    if not classes.labels and all(_SYNSET.fullmatch(text) for text in every):
        order = {text: index for index, text in enumerate(sorted(every))}
        note = f"classes: the {len(order)} synsets of '{path}' in sorted order"
        return LabelFile({name: order[text] for name, text in texts.items()}, len(order), note)
    found = {}
    for name, text in texts.items():
        index = classes.find(text)
        if index is None:
            hint = (
                "is no class of the labels file" if classes.labels else "is no index; use --labels"
            )
            raise DataError(f"'{path}': label '{text}' of '{name}' {hint}")
        found[name] = index
    return LabelFile(found, None, f"classes: from '{path}'")
