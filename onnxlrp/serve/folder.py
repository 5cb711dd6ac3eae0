"""Folders of files, written whole or not at all; the files that this package brings along."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from onnxlrp.errors import DataError


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Give an empty folder beside `out`, which becomes `out` when the block ends well.

    Raises:
        DataError: `out` exists and is not an empty folder, or its parent is missing.
    """
    if out.is_symlink() or (out.exists() and (not out.is_dir() or any(out.iterdir()))):
        raise DataError(f"'{out}' exists already: name a new folder, or remove it first")
    with _beside(out) as folder:
        yield folder
        folder.replace(out)


def add_models(repository: Path, names: tuple[str, ...], write: Callable[[Path], None]) -> None:
    """Let a function write the folders `names`, then move them into a repository, all or none.

    Raises:
        DataError: One of them exists already, or the parent of the repository is missing.
    """
    for name in names:
        if os.path.lexists(repository / name):
            raise DataError(f"'{repository / name}' exists already: choose another --name")
    if repository.exists() and not repository.is_dir():
        raise DataError(f"'{repository}' is a file, not a model repository")
    with _beside(repository) as folder:
        write(folder)
        if not repository.exists():
            folder.replace(repository)
            return
        moved: list[Path] = []
        try:
            for name in names:
                (folder / name).replace(repository / name)
                moved.append(repository / name)
        except OSError:
            for path in moved:
                shutil.rmtree(path, ignore_errors=True)
            raise


def package_files(names: Mapping[str, str]) -> dict[str, bytes]:
    """Return files of `onnxlrp/serve`: the path in the package to the name asked for."""
    root = files("onnxlrp.serve")
    return {out: root.joinpath(*path.split("/")).read_bytes() for path, out in names.items()}


def copy_files(names: Mapping[str, str], folder: Path) -> None:
    """Copy files of `onnxlrp/serve` into a folder, under the names asked for."""
    for name, content in package_files(names).items():
        (folder / name).write_bytes(content)


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    parent = out.absolute().parent
    if not parent.is_dir():
        raise DataError(f"cannot make '{out}': there is no folder '{parent}'")
    folder = Path(tempfile.mkdtemp(dir=parent, prefix=f".{out.name}."))
    umask = os.umask(0)
    os.umask(umask)
    folder.chmod(0o777 & ~umask)
    try:
        yield folder
    finally:
        if folder.exists():
            shutil.rmtree(folder, ignore_errors=True)
