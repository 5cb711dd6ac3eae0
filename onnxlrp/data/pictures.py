"""Reads pictures: png, jpg and webp as upright RGB, with limits on their size."""

import io
import os
import struct
from pathlib import Path
from typing import Final

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from onnxlrp.errors import DataError

SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".webp"})
MAX_BYTES: Final = 256 * 2**20
MAX_PIXELS: Final = 100_000_000

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_UNREADABLE: Final = (
    UnidentifiedImageError,
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    TypeError,
    LookupError,
    struct.error,
    Image.DecompressionBombError,
)
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def load_picture(
    source: str | os.PathLike[str] | bytes, name: str = "picture", most_pixels: int | None = None
) -> Image.Image:
    """Read a picture as RGB, turned as its EXIF entry says, transparent parts on white.

    Args:
        source: Path, or the bytes of the file.
        name: What errors call the picture where it is given as bytes.
        most_pixels: A larger picture is refused before it is decoded; None: `MAX_PIXELS`.

    Raises:
        DataError: It cannot be read, or is too large.
    """
    if not isinstance(source, bytes):
        name, source = os.fspath(source), read_bytes(source)
    most_pixels = MAX_PIXELS if most_pixels is None else most_pixels
    try:
        with Image.open(io.BytesIO(source), formats=_FORMATS) as picture:
            if picture.width * picture.height > most_pixels:
                raise DataError(
                    f"'{name}' has {picture.width} x {picture.height} pixels, more than "
                    f"{most_pixels}: make it smaller first"
                )
            picture.load()
            return _as_rgb(_upright(picture))
    except _UNREADABLE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, UnidentifiedImageError):
            reason = "not a png, jpg or webp file"
        raise DataError(f"cannot read the picture '{name}': {reason}") from error


def read_bytes(path: str | os.PathLike[str], limit: int = MAX_BYTES) -> bytes:
    """Read a file of bounded size.

    Raises:
        DataError: It cannot be read, is empty or too large.
    """
    try:
        size = Path(path).stat().st_size
        if size > limit:
            raise DataError(f"'{os.fspath(path)}' has {size} bytes, more than {limit}")
        content = Path(path).read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise DataError(f"cannot read '{os.fspath(path)}': {reason}") from error
    if not content:
        raise DataError(f"'{os.fspath(path)}' is empty")
    return content


def _upright(picture: Image.Image) -> Image.Image:
    """Turn a picture as EXIF says; its other entries may be damaged, they are not written again."""
    turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
    return picture if turn is None else picture.transpose(turn)


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        deep = np.asarray(picture).astype(np.float64)
        return Image.fromarray(np.clip(deep / 257, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        whole = picture.convert("RGBA")
        ground = Image.new("RGBA", whole.size, "white")
        return Image.alpha_composite(ground, whole).convert("RGB")
    return picture.convert("RGB")
