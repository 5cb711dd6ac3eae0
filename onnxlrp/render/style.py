"""How relevance is drawn."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

from onnxlrp.errors import InputError
from onnxlrp.render.colors import COLORS

Kind: TypeAlias = Literal["picture", "curve", "bars"]


@dataclass(frozen=True, kw_only=True)
class Style:
    """Choices for drawing.

    Attributes:
        colors: Name of a colour map in `COLORS`.
        percentile: The value of |R| at this percentile, and above, gets the full colour; 100: max.
        kind: `picture`, `curve` or `bars`; None: as the shape suggests.
        layout: `NCHW` or `NHWC`; None: as the shape suggests.
        plain: The bare heatmap, one pixel per value, without page, numbers and legend.
        panel: Length of the longer side of a panel in pixels, about.
    """

    colors: str = "seismic"
    percentile: float = 99.5
    kind: Kind | None = None
    layout: str | None = None
    plain: bool = False
    panel: int = 400

    def __post_init__(self) -> None:
        if self.colors not in COLORS:
            raise InputError(f"unknown colours '{self.colors}'; known: {', '.join(COLORS)}")
        if not 0 < self.percentile <= 100:
            raise InputError(f"percentile must be in (0, 100], got {self.percentile}")
        if self.layout not in (None, "NCHW", "NHWC"):
            raise InputError(f"layout '{self.layout}' is not NCHW or NHWC")
        if not 16 <= self.panel <= 4096:
            raise InputError(f"panel must be between 16 and 4096 pixels, got {self.panel}")
