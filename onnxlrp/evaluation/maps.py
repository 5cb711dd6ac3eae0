"""Pictures of the first samples and their maps, for the report."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from onnxlrp.data.datasets.items import Item
from onnxlrp.evaluation.frame import Frame
from onnxlrp.render import Style, render, save
from onnxlrp.render.picture import as_picture
from onnxlrp.runtime.result import Array

_SIDE: Final = 224
_LEAST: Final = 16
_COLOUR: Final = (0, 200, 90)
_DARK: Final = (10, 30, 20)


@dataclass(frozen=True)
class Maps:
    """A folder of pictures: `000003.png`, and a map of it per method.

    Attributes:
        folder: Where they lie.
        count: Of how many samples.
    """

    folder: Path
    count: int

    def picture(self, sample: int) -> Path:
        """Return the file of the picture of a sample."""
        return self.folder / f"{sample:06d}.png"

    def map(self, sample: int, method: str) -> Path:
        """Return the file of the map of a sample by a method."""
        name = "".join(c if c.isalnum() or c in "-.=" else "_" for c in method)[:60]
        mark = "" if name == method else "-" + hashlib.sha256(method.encode()).hexdigest()[:6]
        return self.folder / f"{sample:06d}-{name}{mark}.png"

    def clear(self) -> None:
        """Remove the pictures of an earlier run."""
        for file in self.folder.glob("[0-9]*.png"):
            file.unlink()

    def lack(self, sample: int, method: str) -> bool:
        """Tell whether a picture or map is not written yet."""
        return not (self.picture(sample).is_file() and self.map(sample, method).is_file())

    def write(self, sample: int, method: str, item: Item, frame: Frame, heat: Array) -> None:
        """Write the picture, with what is to be found outlined, and the map."""
        self.folder.mkdir(exist_ok=True)
        if not self.picture(sample).is_file():
            save(_outlined(_shown(item, frame), item), self.picture(sample))
        save(_fitted(_coloured(heat)), self.map(sample, method))


def _shown(item: Item, frame: Frame) -> Image.Image:
    if item.picture is not None:
        return item.picture
    x = frame.to_case(item.x)
    if x.shape[0] not in (1, 3):
        x = x.mean(axis=0, keepdims=True)
    return as_picture(np.asarray(x, np.float64))


def _coloured(heat: Array) -> Image.Image:
    finite = np.nan_to_num(np.asarray(heat, np.float64), posinf=0, neginf=0)
    return render(finite, style=Style(plain=True, kind="picture"))


def _outlined(picture: Image.Image, item: Item) -> Image.Image:
    whole = _fitted(picture.convert("RGB"))
    sx, sy = whole.width / picture.width, whole.height / picture.height
    if item.mask is not None and item.mask.ndim == 2:
        whole = _with_edge(whole, item.mask)
    draw = ImageDraw.Draw(whole)
    for left, top, right, bottom in item.boxes:
        corners = (left * sx, top * sy, right * sx - 1, bottom * sy - 1)
        draw.rectangle(corners, outline=_DARK, width=3)
        draw.rectangle(corners, outline=_COLOUR, width=2)
    return whole


def _with_edge(picture: Image.Image, mask: npt.NDArray[np.bool_]) -> Image.Image:
    inside = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
    padded = np.pad(inside, 2)
    height, width = inside.shape
    near = [padded[2 + v : 2 + v + height, 2 + u : 2 + u + width] for v, u in _AROUND]
    pixels = np.asarray(picture).copy()
    pixels[~inside & np.any(near, axis=0)] = _COLOUR
    return Image.fromarray(pixels)


_AROUND: Final = [(v, u) for v in (-2, -1, 0, 1, 2) for u in (-2, -1, 0, 1, 2)]


def _fitted(picture: Image.Image) -> Image.Image:
    """Make small pictures larger by whole factors, large ones smaller, signals higher."""
    width, height = picture.size
    if height < _LEAST <= width:
        return picture.resize((max(width, _SIDE), 32), Image.Resampling.NEAREST)
    factor = _SIDE / max(width, height)
    if factor >= 2:
        size = (width * int(factor), height * int(factor))
        return picture.resize(size, Image.Resampling.NEAREST)
    if factor < 1:
        size = (max(round(width * factor), 1), max(round(height * factor), 1))
        return picture.resize(size, Image.Resampling.BICUBIC)
    return picture
