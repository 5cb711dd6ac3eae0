"""Settings of the programs that run inside a server: how pictures come in and heatmaps go out."""

from dataclasses import asdict, dataclass

import numpy as np

from onnxlrp.errors import InputError
from onnxlrp.render.colors import colorize
from onnxlrp.serve.artefact import Pictures

_COLOURS = 513


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may ask for at most.

    Attributes:
        max_bytes: Bytes of a picture file.
        max_pixels: Pixels of a picture, also after resizing.
        max_elements: Values of one input.
    """

    max_bytes: int = 16 * 2**20
    max_pixels: int = 25_000_000
    max_elements: int = 2**24

    def __post_init__(self) -> None:
        """Check the limits.

        Raises:
            InputError: One is not positive.
        """
        for name, value in asdict(self).items():
            if value < 1:
                raise InputError(f"--{name.replace('_', '-')} must be at least 1, got {value}")


def picture_settings(pictures: Pictures, limits: Limits) -> dict[str, object]:
    """Return what `picture_steps.prepare` needs, as JSON."""
    steps = pictures.fitted.preprocessing
    return {
        "max_bytes": limits.max_bytes,
        "max_pixels": limits.max_pixels,
        "size": steps.size,
        "crop": steps.crop,
        "target": pictures.fitted.layout.size,
        "channels": steps.channels,
        "scale": steps.scale,
        "mean": steps.mean,
        "std": steps.std,
        "dtype": steps.dtype,
        "axes": pictures.fitted.layout.axes,
    }


def drawing_settings(pictures: Pictures) -> dict[str, object]:
    """Return what `heat_drawing.draw` needs, as JSON."""
    table = colorize(np.linspace(-1, 1, _COLOURS), pictures.style.colors)
    return {
        "relevance": pictures.relevance,
        "batch": "N" in pictures.fitted.layout.axes,
        "sum_axis": pictures.sum_axis,
        "percentile": pictures.style.percentile,
        "colors": table.tobytes().hex(),
    }
