"""Relevance of a picture to a PNG: the picture in gray, coloured where relevance is."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

_GROUND = 0.55


def draw(
    relevance: npt.NDArray[np.generic], shown: npt.NDArray[np.uint8], drawing: Mapping[str, Any]
) -> bytes:
    """Return a PNG of the size of the picture.

    Args:
        relevance: Of one sample: `[C, H, W]`, `[H, W, C]` or `[H, W]`.
        shown: The picture that the model saw, `[H, W, 3]`.
        drawing: `sum_axis`, `percentile`, and `colors`: RGB bytes in hexadecimal, from the most
            negative to the most positive value.

    Raises:
        ValueError: The relevance is not finite.
    """
    values = relevance.astype(np.float64)
    if drawing["sum_axis"] is not None:
        values = values.sum(axis=drawing["sum_axis"])
    values = _scaled(values, drawing["percentile"])
    heat = Image.fromarray(values.astype(np.float32)).resize(
        (shown.shape[1], shown.shape[0]), Image.Resampling.BILINEAR
    )
    strength = np.clip(np.asarray(heat, np.float64), -1, 1)
    table = np.frombuffer(bytes.fromhex(drawing["colors"]), np.uint8).reshape(-1, 3)
    colour = table[np.rint((strength + 1) / 2 * (len(table) - 1)).astype(np.intp)]
    alpha = np.sqrt(np.abs(strength))[:, :, None]
    gray = np.asarray(Image.fromarray(shown).convert("L"), np.float64)[:, :, None]
    dark = int(table[len(table) // 2].max()) < 96
    ground = gray * _GROUND if dark else 255 - (255 - gray) * _GROUND
    mixed = np.rint(ground * (1 - alpha) + colour * alpha).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(mixed).save(stream, "PNG")
    return stream.getvalue()


def _scaled(values: npt.NDArray[np.float64], percentile: float) -> npt.NDArray[np.float64]:
    """Divide by a percentile of |values|; by the maximum where that is 0."""
    size = np.abs(values)
    if not np.isfinite(size).all():
        raise ValueError("relevance is not finite")
    top = float(np.percentile(size, percentile)) or float(size.max())
    return values / top if top else np.zeros_like(values)
