"""`render`: chooses a drawing for an array of relevance, draws and saves it."""

import os
from collections.abc import Sequence
from typing import Final, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from onnxlrp.errors import InputError
from onnxlrp.render.bars import draw_bars
from onnxlrp.render.curve import draw_curve
from onnxlrp.render.heat import Floats
from onnxlrp.render.page import Caption, stack
from onnxlrp.render.picture import as_picture, draw_picture
from onnxlrp.render.save import save
from onnxlrp.render.shapes import guess_kind, split_samples
from onnxlrp.render.style import Kind, Style

Shown: TypeAlias = Image.Image | npt.ArrayLike | None

_MOST_SAMPLES: Final = 64


def render(
    relevance: npt.ArrayLike,
    image: Shown = None,
    path: str | os.PathLike[str] | None = None,
    style: Style | None = None,
    caption: Caption | None = None,
    features: Sequence[str] = (),
) -> Image.Image:
    """Draw relevance as a person would put it into a report.

    Pictures (`[N, C, H, W]`, `[N, H, W, C]`, `[N, H, W]`, also without N): picture, heatmap and
    overlay side by side. Signals (`[N, C, L]`): curves coloured by relevance. Rows (`[N, F]`):
    sorted bars. Several samples stand below each other.

    Args:
        relevance: Relevance of an input.
        image: What was explained: the picture (or several), the signals, or the rows.
        path: Where the drawing is written, whole or not at all.
        style: Colours, scaling, kind of drawing.
        caption: Title and numbers beside the drawing.
        features: Names of the columns of a row.

    Raises:
        InputError: The relevance is not finite, or the image does not fit it.
        DataError: The path names no format for pictures.
    """
    style, caption = style or Style(), caption or Caption()
    array = np.asarray(relevance, np.float64)
    kind = style.kind or guess_kind(array.shape, image, features)
    if kind == "picture":
        pages = _pictures(array, image, style, caption)
    elif kind == "curve":
        pairs = _pairs(array, image, kind)
        pages = [draw_curve(sample, values, style, caption) for sample, values in pairs]
    else:
        pairs = _pairs(array, image, kind)
        pages = [draw_bars(sample, values, features, style, caption) for sample, values in pairs]
    drawing = stack(pages)
    if path is not None:
        save(drawing, path)
    return drawing


def _pictures(array: Floats, image: Shown, style: Style, caption: Caption) -> list[Image.Image]:
    size = (image.height, image.width) if isinstance(image, Image.Image) else None
    samples = _counted(split_samples(array, "picture", style.layout, size))
    if image is None:
        return [draw_picture(sample, None, style, caption) for sample in samples]
    images = [image] if len(samples) == 1 else _several(image, len(samples))
    pictures = [as_picture(each) for each in images]
    return [
        draw_picture(sample, picture, style, caption)
        for sample, picture in zip(samples, pictures, strict=True)
    ]


def _several(image: Image.Image | npt.ArrayLike, count: int) -> list[npt.ArrayLike]:
    if isinstance(image, Sequence | np.ndarray) and len(image) == count:
        return list(image)
    raise InputError(f"relevance has {count} samples: pass as many images")


def _pairs(array: Floats, image: Shown, kind: Kind) -> list[tuple[Floats, Floats | None]]:
    samples = _counted(split_samples(array, kind, None, None))
    if image is None:
        return [(sample, None) for sample in samples]
    if isinstance(image, Image.Image):
        raise InputError("the relevance is not that of a picture: pass the signal or row instead")
    values = np.asarray(image, np.float64)
    if values.size != array.size:
        raise InputError(
            f"relevance has shape {list(array.shape)}, what was explained {list(values.shape)}"
        )
    return list(
        zip(samples, split_samples(values.reshape(array.shape), kind, None, None), strict=True)
    )


def _counted(samples: list[Floats]) -> list[Floats]:
    if not 0 < len(samples) <= _MOST_SAMPLES:
        raise InputError(
            f"render draws 1 to {_MOST_SAMPLES} samples, got {len(samples)}: pass some of them"
        )
    return samples
