"""Colour maps for signed values, from a few points of our own, straight lines between them."""

import functools
from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt

from onnxlrp.errors import InputError

# Evenly spaced from the most negative to the most positive value.
COLORS: Final[Mapping[str, tuple[str, ...]]] = {
    "seismic": ("00004c", "0000ff", "ffffff", "ff0000", "800000"),
    "bwr": ("0000ff", "ffffff", "ff0000"),
    "rdbu": ("0b3c6f", "3a87bd", "a9cfe4", "f8f7f6", "f5b596", "d0574b", "74091f"),
    "coldnhot": ("00e6ff", "0032ff", "00003c", "000000", "3c0000", "ff3200", "ffe600"),
    "viridis": ("440154", "46327e", "365c8d", "277f8e", "1fa187", "4ac16d", "a0da39", "fde725"),
    "gray": ("000000", "ffffff"),
}

_STEPS: Final = 513


def colorize(values: npt.NDArray[np.floating], colors: str = "seismic") -> npt.NDArray[np.uint8]:
    """Return the RGB colours `[..., 3]` of values in [-1, 1]; what lies outside is clipped.

    Raises:
        InputError: No such colour map.
    """
    table = _table(colors)
    clipped = np.clip(np.nan_to_num(values.astype(np.float64)), -1, 1)
    return table[np.rint((clipped + 1) / 2 * (_STEPS - 1)).astype(np.intp)]


def is_dark(colors: str) -> bool:
    """Tell whether the colour of zero is dark."""
    return int(_table(colors)[_STEPS // 2].max()) < 96


@functools.cache
def _table(colors: str) -> npt.NDArray[np.uint8]:
    if colors not in COLORS:
        raise InputError(f"unknown colours '{colors}'; known: {', '.join(COLORS)}")
    points = np.array([list(bytes.fromhex(point)) for point in COLORS[colors]], np.float64)
    at = np.linspace(0, len(points) - 1, _STEPS)
    channels = [np.interp(at, np.arange(len(points)), points[:, c]) for c in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)
