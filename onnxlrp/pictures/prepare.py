"""From uint8 pictures to the input of a model: resized as pillow does, cut, normalised."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper

from onnxlrp.errors import InputError
from onnxlrp.metadata import PICTURE
from onnxlrp.pictures.port import Port
from onnxlrp.pictures.sheet import Sheet

__all__ = ["Cut", "arrange", "gray", "shown"]

LUMA: Final = (19595.0, 38470.0, 7471.0)
"""2^16 times the share of red, green and blue in gray, as ITU-R 601-2 and pillow have them."""

HALF: Final = 2**11
"""Weights of pixels have twice 11 bits."""


@dataclass(frozen=True)
class Cut:
    """How large the picture becomes, and what of it is kept; None: all."""

    sides: tuple[int, int] | None
    least: tuple[int, int] | None
    kept: tuple[int, int] | None

    @classmethod
    def of(cls, entries: Mapping[str, object], port: Port) -> "Cut":
        """Read size and crop; what is left open comes from the model.

        Raises:
            InputError: They do not give a picture of the size of the model.
        """
        size, crop = entries.get("size"), _pair(entries.get("crop"))
        kept = crop or port.size
        if port.size not in (None, kept):
            raise InputError(
                f"preprocessing crops to {kept}, the model takes {port.size}: change crop"
            )
        whole = None if isinstance(size, int) else _pair(size)
        least = (_pair(size) or kept) if whole is None else None
        room = whole or (least if isinstance(size, int) else None)
        if kept and room and (kept[0] > room[0] or kept[1] > room[1]):
            raise InputError(f"preprocessing cannot crop {kept} from size {size}: make it larger")
        return cls(whole, least, kept)


def _pair(given: object) -> tuple[int, int] | None:
    if given is None:
        return None
    if isinstance(given, Sequence):
        return int(given[0]), int(given[1])
    return int(str(given)), int(str(given))


def shown(t: Sheet, cut: Cut) -> str:
    """The picture as the model sees it: float32 `[N, 3, h, w]` of whole numbers 0..255."""
    pixels = t("Cast", t("Transpose", PICTURE, perm=[0, 3, 1, 2]), to=TensorProto.FLOAT)
    if cut.sides is None and cut.least is None:
        return pixels
    size = t("Shape", PICTURE, start=1, end=3)
    resized = t.constant(cut.sides) if cut.sides else _sides(t, size, cut.least or (1, 1))
    kept = t.constant(cut.kept) if cut.kept else resized
    start = t("Div", t("Sub", resized, kept), 2)
    rows, columns = (_filter(t, axis, (size, resized, start, kept)) for axis in (0, 1))
    flat = _rounded(t, t("MatMul", pixels, t("Transpose", columns, perm=[1, 0])), 3)
    found = _rounded(t, t("MatMul", rows, flat), 2)
    return found if cut.kept is None else t("Reshape", found, [0, 3, *cut.kept])


def _rounded(t: Sheet, sums: str, axis: int) -> str:
    """Whole pixels from sums with the higher and the lower half of the weights, side by side."""
    high, low = t.several("Split", 2, sums, axis=axis, num_outputs=2)
    carried = t("Add", high, t("Floor", t("Mul", low, np.float32(1 / HALF))))
    return t("Floor", t("Mul", t("Add", carried, np.float32(HALF / 2)), np.float32(1 / HALF)))


def _sides(t: Sheet, size: str, least: tuple[int, int]) -> str:
    """Height and width that cover `least` and keep the proportions; halves go to the even side.

    `round(size * least_k / size_k)` for the side k that needs the larger factor, in integers.
    """
    height, width = (t("Gather", size, [axis], axis=0) for axis in (0, 1))
    tall = t("GreaterOrEqual", t("Mul", width, least[0]), t("Mul", height, least[1]))
    to, of = t("Where", tall, least[0], least[1]), t("Where", tall, height, width)
    twice = t("Mul", of, 2)
    above = t("Add", t("Mul", t("Mul", size, to), 2), of)
    quotient = t("Div", above, twice)
    exact = t("Equal", above, t("Mul", quotient, twice))
    odd = t("Equal", t("Sub", quotient, t("Mul", t("Div", quotient, 2), 2)), 1)
    lower = t("Cast", t("And", exact, odd), to=TensorProto.INT64)
    return t("Max", t("Sub", quotient, lower), list(least))


def _filter(t: Sheet, axis: int, sides: tuple[str, str, str, str]) -> str:
    """The matrix `[2 kept, L]` that resizes L pixels to R and keeps some of them, from `start`.

    Weights are whole numbers of 22 bits as in pillow, in two halves of 11 bits below each other, so
    that float32 holds every product and (of up to 32 pixels, the rest does not matter) every sum.
    """
    length, becomes, start, kept = (t("Gather", side, axis, axis=0) for side in sides)
    rows = t("Range", start, t("Add", start, kept), 1)
    columns = t("Range", 0, length, 1)
    centre = t("Mul", t("Add", t("Mul", rows, 2), 1), length)
    place = t("Mul", t("Add", t("Mul", columns, 2), 1), becomes)
    away = t("Abs", t("Sub", place, t("Unsqueeze", centre, [1])))
    width = t("Mul", t("Max", length, becomes), 2)
    near = t("Max", t("Sub", width, away), 0)
    total = t("ReduceSum", near, [1], keepdims=1)
    scaled = t("Mul", near, HALF)
    high = t("Div", scaled, total)
    rest = t("Sub", scaled, t("Mul", high, total))
    low = t("Div", t("Add", t("Mul", rest, 2 * HALF), total), t("Mul", total, 2))
    return t("Cast", t("Concat", high, low, axis=0), to=TensorProto.FLOAT)


def gray(t: Sheet, shown: str) -> str:
    """`[N, 1, h, w]`, the whole numbers that pillow gives."""
    weights = np.array(LUMA, np.float32).reshape(1, 3, 1, 1)
    total = t("ReduceSum", t("Mul", shown, weights), [1], keepdims=1)
    return t("Floor", t("Mul", t("Add", total, np.float32(2**15)), np.float32(2**-16)))


def arrange(t: Sheet, port: Port, entries: Mapping[str, object], shown: str) -> None:
    """Write the input of the model: normalised by a table, in its layout and type."""
    channels = str(entries.get("channels") or ("gray" if port.gray else "rgb"))
    if (channels == "gray") != port.gray:
        raise InputError(
            f"preprocessing makes {channels} pictures, input '{port.name}' takes "
            f"{port.dim('C')} channels"
        )
    table = _table(port, entries)
    pixels = gray(t, shown) if port.gray else shown
    if channels == "bgr":
        pixels = t("Gather", pixels, [2, 1, 0], axis=1)
    if not port.gray:
        offsets = np.array([0, 256, 512], np.float32).reshape(1, 3, 1, 1)
        pixels = t("Add", pixels, offsets)
    index = t("Cast", pixels, to=TensorProto.INT32)
    if port.axes == "NHWC":
        index = t("Transpose", index, perm=[0, 2, 3, 1])
    t("Gather", table, index, axis=0, name=port.name)


def _table(port: Port, entries: Mapping[str, object]) -> NDArray[np.generic]:
    """What each of the 256 values of each channel becomes: `(pixel scale - mean) / std`."""
    channels = 1 if port.gray else 3
    mean, std = (_column(entries.get(name, plain)) for name, plain in (("mean", 0), ("std", 1)))
    if port.gray and len(mean) == 3:
        mean, std = mean.mean(keepdims=True), np.array([std.sum() / len(std)])
    steps = np.arange(256.0)[None, :] * float(_column(entries.get("scale", 1.0))[0])
    values = np.broadcast_to((steps - mean[:, None]) / std[:, None], (channels, 256)).reshape(-1)
    dtype = helper.tensor_dtype_to_np_dtype(port.kind)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)


def _column(given: object) -> NDArray[np.float64]:
    return np.atleast_1d(np.asarray(given, np.float64))
