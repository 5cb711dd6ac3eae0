"""Relevance to heatmap values: channels summed, scaled symmetrically around zero."""

import numpy as np
import numpy.typing as npt

from onnxlrp.errors import InputError

Floats = npt.NDArray[np.float64]


def heatmap(relevance: npt.ArrayLike, layout: str = "NCHW") -> Floats:
    """Sum relevance over its channels: `[..., C, H, W]` or `[..., H, W, C]` to `[..., H, W]`."""
    array = np.asarray(relevance, np.float64)
    summed: Floats = array.sum(axis=-3 if layout == "NCHW" else -1)
    return summed


def limit(values: npt.ArrayLike, percentile: float = 99.5) -> float:
    """Return the |value| that gets the full colour.

    It is the given percentile of |values|; where that is 0 (sparse maps), the maximum.

    Raises:
        InputError: A value is not finite.
    """
    size = np.abs(np.asarray(values, np.float64))
    if not np.isfinite(size).all():
        raise InputError("relevance has values that are not finite (NaN: a target out of range?)")
    if not size.size:
        raise InputError("relevance is empty")
    found = float(np.percentile(size, percentile))
    return found or float(size.max())


def normalise(values: Floats, percentile: float) -> tuple[Floats, float]:
    """Return the values divided by their limit, and the limit; all zero stays zero."""
    top = limit(values, percentile)
    scaled: Floats = values / top if top else np.zeros_like(values)
    return scaled, top


def channel_layout(shape: tuple[int, ...], size: tuple[int, int] | None) -> str:
    """Guess where the channels of `[C, H, W]` or `[H, W, C]` stand, given the picture's size."""
    if size is not None and shape[1:] == size:
        return "NCHW"
    if size is not None and shape[:2] == size:
        return "NHWC"
    return "NCHW" if shape[0] <= shape[2] else "NHWC"
