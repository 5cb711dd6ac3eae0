"""Pictures: the picture, its heatmap and both on top of each other, side by side."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from onnxlrp.errors import InputError
from onnxlrp.render.colors import colorize, is_dark
from onnxlrp.render.heat import Floats, normalise
from onnxlrp.render.page import Caption, make_page, with_label
from onnxlrp.render.style import Style


def draw_picture(
    heat: Floats, picture: Image.Image | None, style: Style, caption: Caption
) -> Image.Image:
    """Draw a heatmap `[H, W]`, beside and over the picture where there is one."""
    values, top = normalise(heat, style.percentile)
    coloured = Image.fromarray(colorize(values, style.colors))
    if style.plain:
        return coloured
    size = _panel_size(coloured.size if picture is None else picture.size, style.panel)
    legend = with_label(_scaled(coloured, size), "relevance", (style.colors, top))
    if picture is None:
        return make_page([legend], caption)
    shown = _scaled(picture, size)
    mixed = overlay(values, shown, style.colors)
    panels = [with_label(shown, "picture"), legend, with_label(mixed, "overlay")]
    return make_page(panels, caption)


def overlay(values: Floats, picture: Image.Image, colors: str = "seismic") -> Image.Image:
    """Colour the gray picture where |values| in [0, 1] is large."""
    heat = Image.fromarray(values.astype(np.float32)).resize(picture.size, _filter(values, picture))
    strength = np.clip(np.asarray(heat, np.float64), -1, 1)
    gray = np.asarray(picture.convert("L"), np.float64)[:, :, None]
    ground = gray * 0.55 if is_dark(colors) else 255 - (255 - gray) * 0.55
    colour = colorize(strength, colors).astype(np.float64)
    alpha = np.sqrt(np.abs(strength))[:, :, None]
    return Image.fromarray(np.rint(ground * (1 - alpha) + colour * alpha).astype(np.uint8))


def as_picture(image: Image.Image | npt.ArrayLike) -> Image.Image:
    """Return a picture for an array `[H, W]`, `[H, W, C]` or `[C, H, W]` of any scale.

    Raises:
        InputError: The array is no picture of 1 or 3 channels.
    """
    if isinstance(image, Image.Image):
        return image.convert("RGB")
    array = np.asarray(image)
    while array.ndim > 3 and array.shape[0] == 1:
        array = array[0]
    if array.ndim == 2:
        array = array[:, :, None]
    if array.ndim == 3 and array.shape[2] not in (1, 3) and array.shape[0] in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim != 3 or array.shape[2] not in (1, 3):
        raise InputError(f"image of shape {list(np.shape(image))} is no picture of 1 or 3 channels")
    if array.dtype != np.uint8:
        array = _stretched(array.astype(np.float64))
    return Image.fromarray(np.ascontiguousarray(np.broadcast_to(array, (*array.shape[:2], 3))))


def _stretched(array: Floats) -> npt.NDArray[np.uint8]:
    low, high = float(array.min()), float(array.max())
    if low >= 0 and high <= 1:
        low, high = 0.0, 1.0
    scaled: npt.NDArray[np.uint8] = ((array - low) / ((high - low) or 1) * 255).astype(np.uint8)
    return scaled


def _panel_size(size: tuple[int, int], panel: int) -> tuple[int, int]:
    factor = panel / max(size)
    if factor >= 3:
        factor = round(factor)
    return max(round(size[0] * factor), 1), max(round(size[1] * factor), 1)


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if size[0] >= image.width * 3:
        return image.resize(size, Image.Resampling.NEAREST)
    return image.resize(size, Image.Resampling.BICUBIC)


def _filter(values: Floats, picture: Image.Image) -> Image.Resampling:
    small = picture.height >= values.shape[0] * 3
    return Image.Resampling.NEAREST if small else Image.Resampling.BILINEAR
