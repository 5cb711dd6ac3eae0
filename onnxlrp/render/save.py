"""Writes pictures whole or not at all."""

import os
import tempfile
from pathlib import Path

from PIL import Image

from onnxlrp.errors import DataError


def save(image: Image.Image, path: str | os.PathLike[str]) -> None:
    """Write a picture to a temporary file beside the path, then rename it.

    Raises:
        DataError: The suffix names no format for pictures.
        OSError: The file cannot be written.
    """
    target = Path(path)
    kind = Image.registered_extensions().get(target.suffix.lower())
    if kind is None or kind not in Image.SAVE:
        raise DataError(f"cannot write '{target}': its name should end in .png, .jpg or .webp")
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            image.save(file, kind)
        umask = os.umask(0)
        os.umask(umask)
        Path(name).chmod(0o666 & ~umask)
        Path(name).replace(target)
    finally:
        Path(name).unlink(missing_ok=True)
