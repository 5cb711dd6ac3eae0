"""Tells pictures, signals and rows apart by shape, and takes batches apart."""

from collections.abc import Sequence
from typing import Final

from PIL import Image

from onnxlrp.errors import InputError
from onnxlrp.render.heat import Floats, channel_layout, heatmap
from onnxlrp.render.style import Kind

_LEAST_SIDE: Final = 8
_MOST_BARS: Final = 64


def guess_kind(shape: tuple[int, ...], image: object, features: Sequence[str]) -> Kind:
    """Guess what relevance of this shape belongs to."""
    rank = len(shape)
    if isinstance(image, Image.Image) or rank >= 4:
        return "picture"
    if features or rank == 0:
        return "bars"
    sides = shape[:2] if rank == 3 and shape[2] in (1, 3) else shape[-2:]
    if rank > 1 and min(sides) >= _LEAST_SIDE:
        return "picture"
    return "curve" if rank == 3 or shape[-1] > _MOST_BARS else "bars"


def split_samples(
    array: Floats, kind: Kind, layout: str | None, size: tuple[int, int] | None
) -> list[Floats]:
    """Return a heatmap `[H, W]`, a signal `[C, L]` or a row `[F]` per sample.

    Args:
        array: Relevance, or a signal or row of its shape.
        kind: What it is.
        layout: `NCHW` or `NHWC`, where known.
        size: Height and width of the picture, where known.

    Raises:
        InputError: The shape does not fit the kind.
    """
    if kind == "picture":
        return _heatmaps(array, layout, size)
    if kind == "curve":
        return _signals(array)
    return list(array.reshape(-1, array.shape[-1] if array.ndim else 1))


def _heatmaps(array: Floats, layout: str | None, size: tuple[int, int] | None) -> list[Floats]:
    while array.ndim > 4 and 1 in array.shape[:-2]:
        array = array.squeeze(array.shape.index(1))
    if not 2 <= array.ndim <= 4:
        raise InputError(f"relevance of shape {list(array.shape)} is no picture: pass a part of it")
    if array.ndim == 2:
        return [array]
    if array.ndim == 3 and layout is None and _is_batch_of_heatmaps(array.shape, size):
        return list(array)
    found = layout or channel_layout(array.shape[-3:], size)
    return [heatmap(array, found)] if array.ndim == 3 else list(heatmap(array, found))


def _is_batch_of_heatmaps(shape: tuple[int, ...], size: tuple[int, int] | None) -> bool:
    if shape[0] in (1, 3) or shape[2] in (1, 3):
        return False
    return size is None or shape[1:] == size


def _signals(array: Floats) -> list[Floats]:
    if array.ndim <= 2:
        return [row[None] for row in array.reshape(-1, array.shape[-1])]
    if array.ndim > 3:
        raise InputError(f"relevance of shape {list(array.shape)} is no signal: pass a part of it")
    return [row if row.shape[0] <= row.shape[1] else row.T for row in array]
