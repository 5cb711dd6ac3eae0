"""What happens to a picture before a model sees it: presets and JSON files."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final, TypeAlias

from onnxlrp.data.pictures import read_bytes
from onnxlrp.errors import DataError

Size: TypeAlias = int | tuple[int, int]

MAX_SIDE: Final = 16_384
MAX_FILE: Final = 2**20
DTYPES: Final = (
    *("float16", "float32", "float64"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
)


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """What happens to a picture: `x = (pixel * scale - mean) / std`.

    Attributes:
        size: Length of the shorter side, or (height, width); None: covers the crop.
        crop: Side, or (height, width), cut out of the middle; None: the size of the model.
        scale: Factor of the pixels 0..255.
        mean: Subtracted per channel, after scaling, in the order of `channels`.
        std: Divisor per channel.
        layout: `NCHW`, `NHWC`, ...; None: as the shape of the input says.
        channels: `rgb`, `bgr` or `gray`; None: rgb, or gray for one channel.
        dtype: A numpy type; None: that of the input.
    """

    size: Size | None = None
    crop: Size | None = None
    scale: float = 1.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    layout: str | None = None
    channels: str | None = None
    dtype: str | None = None

    def __post_init__(self) -> None:
        for name in ("size", "crop"):
            _check_size(name, getattr(self, name))
        if not all(map(math.isfinite, (self.scale, *self.mean, *self.std))) or 0 in self.std:
            raise DataError("preprocessing: scale, mean and std must be finite, std not zero")
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, 3):
                raise DataError(f"preprocessing: {name} needs 1 or 3 numbers")
        if self.channels not in (None, "rgb", "bgr", "gray"):
            raise DataError(f"preprocessing: channels '{self.channels}' is not rgb, bgr or gray")
        if self.dtype not in (None, *DTYPES):
            raise DataError(f"preprocessing: dtype '{self.dtype}' is none of {', '.join(DTYPES)}")

    @classmethod
    def parse(cls, text: str) -> "Preprocessing":
        """Read a preset by name (`imagenet`, `unit`, `raw`, `tf`, `caffe`) or a JSON file.

        Raises:
            DataError: No such preset, or the file is not right.
        """
        if text in PRESETS:
            return PRESETS[text]
        if not text.endswith(".json"):
            raise DataError(
                f"unknown preprocessing '{text}'; known: {', '.join(PRESETS)}, or a .json file"
            )
        try:
            entries = json.loads(read_bytes(text, MAX_FILE))
        except (ValueError, RecursionError) as error:
            raise DataError(f"preprocessing file '{text}' is not JSON: {error}") from error
        if not isinstance(entries, dict):
            raise DataError(f"preprocessing file '{text}' is not a JSON object")
        return cls.from_json(entries)

    @classmethod
    def from_json(cls, entries: Mapping[str, object]) -> "Preprocessing":
        """Read the fields from a JSON object.

        Raises:
            DataError: An unknown field, or a value of the wrong form.
        """
        known = [field.name for field in fields(cls)]
        for name in entries:
            if name not in known:
                raise DataError(f"preprocessing: unknown field '{name}'; known: {', '.join(known)}")
        return cls(
            size=_size("size", entries.get("size")),
            crop=_size("crop", entries.get("crop")),
            scale=_numbers("scale", entries.get("scale", 1.0))[0],
            mean=_numbers("mean", entries.get("mean", 0.0)),
            std=_numbers("std", entries.get("std", 1.0)),
            layout=_text("layout", entries.get("layout")),
            channels=_text("channels", entries.get("channels")),
            dtype=_text("dtype", entries.get("dtype")),
        )

    def to_json(self) -> dict[str, object]:
        """Return the fields that say something, as a JSON object."""
        default = Preprocessing()
        return {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if getattr(self, field.name) != getattr(default, field.name)
        }


def _check_size(name: str, size: Size | None) -> None:
    sides = () if size is None else size if isinstance(size, tuple) else (size,)
    if any(not 1 <= side <= MAX_SIDE for side in sides):
        raise DataError(f"preprocessing: {name} {size} is not between 1 and {MAX_SIDE}")


def _size(name: str, value: object) -> Size | None:
    if value is None or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    if isinstance(value, list | tuple) and len(value) == 2 and all(type(v) is int for v in value):
        return value[0], value[1]
    raise DataError(f"preprocessing: {name} is a side or [height, width], not {value!r}")


def _numbers(name: str, value: object) -> tuple[float, ...]:
    given = value if isinstance(value, list | tuple) else [value]
    numbers = tuple(float(v) for v in given if isinstance(v, int | float) and v is not True)
    if not numbers or len(numbers) != len(given):
        raise DataError(f"preprocessing: {name} takes numbers, not {value!r}")
    return numbers


def _text(name: str, value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value.lower() if value else None
    raise DataError(f"preprocessing: {name} takes text, not {value!r}")


_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)

PRESETS: Final[Mapping[str, Preprocessing]] = {
    "imagenet": Preprocessing(scale=1 / 255, mean=_IMAGENET_MEAN, std=_IMAGENET_STD),
    "unit": Preprocessing(scale=1 / 255),
    "raw": Preprocessing(),
    "tf": Preprocessing(scale=1 / 127.5, mean=(1.0,)),
    "caffe": Preprocessing(mean=(103.939, 116.779, 123.68), channels="bgr"),
}
