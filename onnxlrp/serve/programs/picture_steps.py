"""Bytes of a picture to the input of a model: `x = (pixel * scale - mean) / std`, with limits."""

import io
import struct
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import ExifTags, Image

_REFUSED = (
    *(OSError, SyntaxError, ValueError, EOFError, TypeError, LookupError, struct.error),
    Image.DecompressionBombError,
)
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def prepare(
    content: bytes, steps: Mapping[str, Any]
) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.uint8]]:
    """Return the model input and the picture that the model sees, `[H, W, 3]`.

    Args:
        content: A png, jpg or webp file.
        steps: `max_bytes`, `max_pixels`, `size`, `crop`, `target`, `channels`, `scale`, `mean`,
            `std`, `dtype` and `axes`.

    Raises:
        ValueError: It is no picture, or too large.
    """
    shown = _cut(_resized(_open(content, steps), steps), steps)
    pixels = np.asarray(shown.convert("L" if steps["channels"] == "gray" else "RGB"), np.float64)
    pixels = pixels[:, :, None] if pixels.ndim == 2 else pixels
    if steps["channels"] == "bgr":
        pixels = pixels[:, :, ::-1]
    scaled = (pixels * steps["scale"] - np.array(steps["mean"])) / np.array(steps["std"])
    return _arranged(scaled, steps), np.asarray(shown.convert("RGB"))


def _open(content: bytes, steps: Mapping[str, Any]) -> Image.Image:
    if len(content) > steps["max_bytes"]:
        raise ValueError(f"the picture has {len(content)} bytes, more than {steps['max_bytes']}")
    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG", "WEBP")) as picture:
            if picture.width * picture.height > steps["max_pixels"]:
                raise ValueError(
                    f"it has {picture.width} x {picture.height} pixels, more than "
                    f"{steps['max_pixels']}"
                )
            picture.load()
            turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
            return _rgb(picture if turn is None else picture.transpose(turn))
    except _REFUSED as error:
        raise ValueError(f"cannot read the picture: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "not a png, jpg or webp file" if "cannot identify" in text else text


def _rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):
        deep = np.asarray(picture).astype(np.float64)
        return Image.fromarray(np.clip(deep / 257, 0, 255).astype(np.uint8)).convert("RGB")
    if picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info:
        whole = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", whole.size, "white"), whole).convert("RGB")
    return picture.convert("RGB")


def _resized(picture: Image.Image, steps: Mapping[str, Any]) -> Image.Image:
    height, width = picture.height, picture.width
    least = steps["size"] or steps["crop"] or steps["target"]
    if least is None:
        return picture
    new = steps["size"] if isinstance(steps["size"], list) else _covering(height, width, least)
    if new[0] * new[1] > steps["max_pixels"]:
        raise ValueError("the picture is too narrow: it would become too large to cover the input")
    if tuple(new) == (height, width):
        return picture
    return picture.resize((new[1], new[0]), Image.Resampling.BILINEAR)


def _covering(height: int, width: int, least: int | list[int]) -> list[int]:
    tall, wide = least if isinstance(least, list) else (least, least)
    factor = max(tall / height, wide / width)
    return [max(round(height * factor), 1, tall), max(round(width * factor), 1, wide)]


def _cut(picture: Image.Image, steps: Mapping[str, Any]) -> Image.Image:
    cut = steps["crop"] or steps["target"]
    if cut is None:
        return picture
    height, width = cut if isinstance(cut, list) else (cut, cut)
    if height > picture.height or width > picture.width:
        raise ValueError(
            f"cannot cut {height}x{width} from {picture.height}x{picture.width} pixels"
        )
    left, top = (picture.width - width) // 2, (picture.height - height) // 2
    return picture.crop((left, top, left + width, top + height))


def _arranged(pixels: npt.NDArray[np.float64], steps: Mapping[str, Any]) -> npt.NDArray[np.generic]:
    dtype, axes = np.dtype(steps["dtype"]), steps["axes"]
    if dtype.kind in "iu":
        limits = np.iinfo(steps["dtype"])
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    array = pixels.astype(dtype)
    if "C" not in axes:
        array = array[:, :, 0]
    elif axes.index("C") < axes.index("H"):
        array = array.transpose(2, 0, 1)
    return np.ascontiguousarray(array[None] if "N" in axes else array)
