"""Fits a preprocessing to an input of a model and applies it to pictures."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from PIL import Image

from onnxlrp.data.layout import Layout, Port, find_layout
from onnxlrp.data.pictures import MAX_PIXELS
from onnxlrp.data.preprocess import DTYPES, MAX_SIDE, PRESETS, Preprocessing, Size
from onnxlrp.errors import DataError


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a picture comes to lie in the input: resized, then cut.

    Attributes:
        resized: Height and width of the whole picture after resizing.
        window: Left, top, right and bottom of the part of it that the model sees.
    """

    resized: tuple[int, int]
    window: tuple[int, int, int, int]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A preprocessing fitted to an input of a model.

    Attributes:
        preprocessing: The steps, with nothing left open but the size of a model of free size.
        layout: The axes of the input.
        notes: What was assumed, in words.
    """

    preprocessing: Preprocessing
    layout: Layout
    notes: tuple[str, ...]

    def apply(self, picture: Image.Image) -> tuple[npt.NDArray[np.generic], Image.Image]:
        """Return the model input and the picture as the model sees it.

        Raises:
            DataError: The picture does not come out in the size of the model.
        """
        shown = _crop(_resize(picture, self.preprocessing, self.layout), self._cut())
        height_width = (shown.height, shown.width)
        if self.layout.size not in (None, height_width):
            raise DataError(
                f"preprocessing gives {shown.height}x{shown.width} pixels, the model takes "
                f"{self.layout.size[0]}x{self.layout.size[1]}: change size or crop"
            )
        return _arrange(_pixels(shown, self.preprocessing), self.preprocessing, self.layout), shown

    def place(self, size: tuple[int, int]) -> Placement:
        """Return where a picture of this height and width comes to lie in the input.

        Raises:
            DataError: It cannot be cut to the size of the model.
        """
        resized = _resized(size, self.preprocessing, self.layout)
        return Placement(resized=resized, window=_window(resized, self._cut()))

    def _cut(self) -> Size | None:
        return self.preprocessing.crop or self.layout.size


def fit(preprocessing: Preprocessing | None, port: Port, said: str | None = None) -> Fitted:
    """Fill in what the user left open from the shape and type of the input.

    Raises:
        DataError: The input takes no picture, or not of so many channels.
    """
    notes: list[str] = []
    layout = find_layout(port, said or (preprocessing.layout if preprocessing else None))
    if layout.guessed:
        notes.append(f"assumed layout {layout.axes} (change it with --layout)")
    if preprocessing is None:
        name = _assumed(port, layout)
        preprocessing = PRESETS[name]
        notes.append(f"assumed preprocessing '{name}' (change it with --preprocess)")
    if layout.channels == 1 and len(preprocessing.mean) == 3:
        gray = (sum(preprocessing.mean) / 3,), (sum(preprocessing.std) / len(preprocessing.std),)
        preprocessing = replace(preprocessing, mean=gray[0], std=gray[1], channels="gray")
        notes.append("one channel: used the average of the means and standard deviations")
    channels = preprocessing.channels or ("gray" if layout.channels == 1 else "rgb")
    if (channels == "gray") != (layout.channels == 1):
        raise DataError(
            f"preprocessing makes {channels} pictures, input '{port.name}' ({port}) takes "
            f"{layout.channels} channels"
        )
    dtype = {"float": "float32", "double": "float64"}.get(port.kind, port.kind)
    if dtype not in DTYPES:
        raise DataError(f"input '{port.name}' ({port}) takes no picture: its type is {port.kind}")
    dtype = preprocessing.dtype or dtype
    fitted = replace(preprocessing, layout=layout.axes, channels=channels, dtype=dtype)
    return Fitted(preprocessing=fitted, layout=layout, notes=tuple(notes))


def _assumed(port: Port, layout: Layout) -> str:
    if "int" in port.kind:
        return "raw"
    return "imagenet" if layout.channels == 3 else "unit"


def _resize(picture: Image.Image, steps: Preprocessing, layout: Layout) -> Image.Image:
    height, width = _resized((picture.height, picture.width), steps, layout)
    if (height, width) == (picture.height, picture.width):
        return picture
    return picture.resize((width, height), Image.Resampling.BILINEAR)


def _resized(size: tuple[int, int], steps: Preprocessing, layout: Layout) -> tuple[int, int]:
    cover = steps.crop or layout.size
    if isinstance(steps.size, tuple):
        height, width = steps.size
    elif steps.size is not None or cover is not None:
        least = _pair(steps.size if steps.size is not None else cover or 1)
        factor = max(least[0] / size[0], least[1] / size[1])
        height, width = (max(round(side * factor), 1) for side in size)
        height, width = max(height, least[0]), max(width, least[1])
    else:
        return size
    if max(height, width) > MAX_SIDE or height * width > MAX_PIXELS:
        raise DataError(f"preprocessing makes a picture of {height}x{width} pixels: too large")
    return height, width


def _crop(picture: Image.Image, size: Size | None) -> Image.Image:
    left, top, right, bottom = _window((picture.height, picture.width), size)
    if (left, top, right, bottom) == (0, 0, picture.width, picture.height):
        return picture
    return picture.crop((left, top, right, bottom))


def _window(size: tuple[int, int], cut: Size | None) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of the part that is kept."""
    height, width = size if cut is None else _pair(cut)
    if height > size[0] or width > size[1]:
        raise DataError(
            f"preprocessing cannot crop {height}x{width} from {size[0]}x{size[1]} "
            "pixels: make size larger"
        )
    left, top = (size[1] - width) // 2, (size[0] - height) // 2
    return left, top, left + width, top + height


def _pixels(picture: Image.Image, steps: Preprocessing) -> npt.NDArray[np.float64]:
    """Return `[H, W, C]`, scaled and normalised."""
    gray = steps.channels == "gray"
    pixels = np.asarray(picture.convert("L" if gray else "RGB"), np.float64)
    pixels = pixels[:, :, None] if gray else pixels
    if steps.channels == "bgr":
        pixels = pixels[:, :, ::-1]
    scaled: npt.NDArray[np.float64] = pixels * steps.scale
    scaled -= np.array(steps.mean)
    scaled /= np.array(steps.std)
    return scaled


def _arrange(
    pixels: npt.NDArray[np.float64], steps: Preprocessing, layout: Layout
) -> npt.NDArray[np.generic]:
    dtype = np.dtype(steps.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(steps.dtype or "uint8")
        pixels = np.clip(np.rint(pixels), limits.min, limits.max)
    array = np.ascontiguousarray(pixels.astype(dtype))
    if "C" not in layout.axes:
        array = array[:, :, 0]
    elif layout.axes.index("C") < layout.axes.index("H"):
        array = np.ascontiguousarray(array.transpose(2, 0, 1))
    return array[None] if "N" in layout.axes else array


def _pair(size: Size) -> tuple[int, int]:
    return size if isinstance(size, tuple) else (size, size)
