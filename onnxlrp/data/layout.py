"""Where batch, channels, height and width stand in the shape of a picture input."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from onnxlrp.errors import DataError

Dim: TypeAlias = int | str | None

_CHANNELS: Final = (1, 3)
_LEAST_SIDE: Final = 8


class Port(Protocol):
    """An input of a model, as `onnxlrp.runtime` describes it."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def kind(self) -> str:
        """Its type in words of ONNX."""

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Its sizes; a name or None for a free one."""


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The axes of a picture input.

    Attributes:
        axes: One letter per axis: `NCHW`, `NHWC`, `CHW`, `HWC`, `NHW`, `HW`.
        size: Height and width where the model fixes them.
        channels: 1 or 3.
        guessed: The shape allows another reading too.
    """

    axes: str
    size: tuple[int, int] | None
    channels: int
    guessed: bool


def find_layout(port: Port, said: str | None = None) -> Layout:
    """Read the layout from the shape of an input, or check the one that the user says.

    Raises:
        DataError: The input takes no picture, or not in this layout.
    """
    fitting = [axes for axes in _candidates(len(port.shape)) if _fits(axes, port.shape)]
    if said is not None:
        wanted = said.upper()
        fitting = [axes for axes in fitting if wanted in (axes, axes.replace("N", ""))]
    if not fitting:
        asked = f" in layout {said.upper()}" if said else ""
        raise DataError(
            f"input '{port.name}' ({port}) does not take a picture of 1 or 3 channels{asked}: pass "
            "the values as .npy or .npz"
        )
    axes = fitting[0]
    dims = dict(zip(axes, port.shape, strict=True))
    height, width, channels = dims["H"], dims["W"], dims.get("C", 1)
    fixed = isinstance(height, int) and isinstance(width, int)
    return Layout(
        axes=axes,
        size=(int(height or 0), int(width or 0)) if fixed else None,
        channels=channels if isinstance(channels, int) else 3,
        guessed=len(fitting) > 1 and said is None,
    )


def _candidates(rank: int) -> tuple[str, ...]:
    return {4: ("NCHW", "NHWC"), 3: ("CHW", "HWC", "NHW"), 2: ("HW",)}.get(rank, ())


def _fits(axes: str, shape: Sequence[Dim]) -> bool:
    if axes == "HW":
        return all(isinstance(dim, int) and dim >= _LEAST_SIDE for dim in shape)
    for axis, dim in zip(axes, shape, strict=True):
        if not isinstance(dim, int):
            if axes in ("CHW", "HWC") and axis == "C":
                return False
            continue
        if axis == "N" and dim != 1:
            return False
        if axis == "C" and dim not in _CHANNELS:
            return False
        if axis in "HW" and dim < 2:
            return False
    return True
