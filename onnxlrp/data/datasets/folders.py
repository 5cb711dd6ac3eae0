"""Finds the samples of a data set: folders, `images.csv`, CUB-200-2011, ImageNet, `.npz`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from onnxlrp.data.datasets.arrays import open_arrays
from onnxlrp.data.datasets.csv import list_csv
from onnxlrp.data.datasets.cub import is_cub, list_cub
from onnxlrp.data.datasets.labels import Classes, by_folder, read_label_file
from onnxlrp.data.datasets.listing import Entry, Listing
from onnxlrp.data.pictures import SUFFIXES
from onnxlrp.errors import DataError


def list_data(source: str, labels: Sequence[str] = (), label_file: str | None = None) -> Listing:
    """List the samples behind a path.

    Args:
        source: A folder of pictures, a folder with a folder per class, a folder with `images.csv`
            or that file, the folder of CUB-200-2011, or a `.npz` with x, y and mask.
        labels: Names of the classes in the order of the output.
        label_file: Labels for a folder of pictures: lines `name index`, or one index a line.

    Raises:
        DataError: Nothing there, nothing in it, or labels that do not fit.
    """
    path = Path(source)
    if label_file is not None and not (path.is_dir() and _pictures(path)):
        raise DataError(f"--label-file is for a folder of pictures, '{source}' is none")
    if path.is_file():
        listing = _list_file(path, labels)
    elif path.is_dir():
        listing = _list_folder(path, labels, label_file)
    else:
        raise DataError(f"there is no file or folder '{source}'")
    if not listing.entries:
        raise DataError(f"'{source}' ({listing.kind}) has no samples")
    return listing


def _list_file(path: Path, labels: Sequence[str]) -> Listing:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        return list_csv(path, Classes(tuple(labels)))
    if suffix == ".npz":
        return _list_arrays(path)
    raise DataError(
        f"cannot read '{path}' as a data set: pass a folder of pictures, an images.csv, a .npz or "
        "gridded fields (.nc, .zarr, .grib)"
    )


def _list_arrays(path: Path) -> Listing:
    arrays = open_arrays(path)
    known = arrays.labels or (None,) * arrays.x.shape[0]
    width = len(str(max(len(known) - 1, 0)))
    entries = tuple(
        Entry(name=f"{row:0{width}d}", row=row, label=label) for row, label in enumerate(known)
    )
    return Listing(kind="arrays", entries=entries, arrays=arrays)


def _list_folder(path: Path, labels: Sequence[str], label_file: str | None) -> Listing:
    classes = Classes(tuple(labels))
    if (path / "images.csv").is_file():
        return list_csv(path / "images.csv", classes)
    if is_cub(path):
        return list_cub(path)
    pictures = _pictures(path)
    if pictures and label_file:
        read = read_label_file(label_file, pictures, classes)
        entries = tuple(
            Entry(name=file.name, picture=file, label=read.labels.get(file.name))
            for file in pictures
        )
        lacking = sum(entry.label is None for entry in entries)
        notes = (read.note, *([f"{lacking} pictures have no label"] if lacking else []))
        kind = "pictures with a label file"
        return Listing(kind=kind, entries=entries, classes=read.classes, notes=notes)
    if pictures:
        entries = tuple(Entry(name=file.name, picture=file) for file in pictures)
        return Listing(kind="a folder of pictures", entries=entries)
    return _list_classes(path, labels)


def _list_classes(path: Path, labels: Sequence[str]) -> Listing:
    folders = [f for f in path.iterdir() if f.is_dir() and not f.name.startswith(".")]
    inside = {folder.name: _pictures(folder) for folder in folders}
    inside = {name: files for name, files in sorted(inside.items()) if files}
    kind = "a folder per class"
    if not inside:
        raise DataError(
            f"folder '{path}' has no pictures ({', '.join(sorted(SUFFIXES))}), no folders of "
            "pictures, no images.csv and no files of CUB-200-2011"
        )
    index, counted, note = by_folder(list(inside), labels)
    entries = tuple(
        Entry(name=f"{name}/{file.name}", picture=file, label=index[name])
        for name, files in inside.items()
        for file in files
    )
    number = len(index) if counted else None
    return Listing(kind=kind, entries=entries, classes=number, notes=(note,))


def _pictures(folder: Path) -> list[Path]:
    files: Iterable[Path] = (f for f in folder.iterdir() if f.suffix.lower() in SUFFIXES)
    return sorted(file for file in files if file.is_file() and not file.name.startswith("."))
