"""Draws measurements over a size with the straight line that fits them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from onnxlrp.render.page import FAINT, PAPER, RULE, Caption, make_page, write

__all__ = ["Straight", "draw", "straight"]

Points = Sequence[tuple[float, float]]
Place = Callable[[float, float], tuple[float, float]]

SIZE = (860, 520)
FRAME = (80, 20, 840, 460)
INKS = ((76, 120, 168), (214, 96, 77), (84, 150, 90), (140, 100, 170), (90, 90, 90))


@dataclass(frozen=True)
class Straight:
    """y = start + slope x by least squares.

    Attributes:
        start: y at 0.
        slope: Per unit of x.
        worst: Largest distance of a point from the line, as a share of the largest y.
    """

    start: float
    slope: float
    worst: float


def straight(points: Points) -> Straight:
    """Fit a line."""
    x, y = np.array(points, dtype=float).T
    slope, start = np.polyfit(x, y, 1)
    worst = np.abs(start + slope * x - y).max() / y.max()
    return Straight(float(start), float(slope), float(worst))


def draw(
    title: str,
    axes: tuple[str, str],
    series: Mapping[str, Points],
    legend: Sequence[str] | None = None,
) -> Image.Image:
    """Draw each series and its line; without a legend one says how far its points are off it."""
    panel = Image.new("RGB", SIZE, PAPER)
    pen = ImageDraw.Draw(panel)
    every = [point for points in series.values() for point in points]
    most = max(x for x, _ in every), max(y for _, y in every)
    steps = _step(most[0]), _step(most[1])
    place = _scale(most[0] + steps[0] / 2, most[1] + steps[1] / 2)
    _grid(pen, place, steps, most)
    for row, (ink, (name, points)) in enumerate(zip(INKS, series.items(), strict=False)):
        line = straight(points)
        first, last = min(x for x, _ in points), max(x for x, _ in points)
        ends = [place(x, line.start + line.slope * x) for x in (first, last)]
        pen.line(ends, fill=ink, width=2)
        for x, y in (place(*point) for point in points):
            pen.ellipse((x - 4, y - 4, x + 4, y + 4), fill=ink)
        said = (
            f"{name}: off the line by at most {line.worst:.0%}" if legend is None else legend[row]
        )
        write(pen, (FRAME[0] + 14, FRAME[1] + 12 + 22 * row), said, 15, ink)
    write(pen, ((FRAME[0] + FRAME[2]) // 2, FRAME[3] + 30), axes[0], 15, FAINT, "ma")
    write(pen, (8, 2), axes[1], 15, FAINT)
    return make_page([panel], Caption(title=title))


def _scale(widest: float, tallest: float) -> Place:
    left, top, right, bottom = FRAME
    return lambda x, y: (left + x / widest * (right - left), bottom - y / tallest * (bottom - top))


def _grid(
    pen: ImageDraw.ImageDraw, place: Place, steps: tuple[float, float], most: tuple[float, float]
) -> None:
    left, top, right, bottom = FRAME
    for k in range(int(most[1] / steps[1]) + 1):
        y = place(0, k * steps[1])[1]
        pen.line((left, y, right, y), fill=RULE)
        write(pen, (left - 8, int(y) - 9), f"{k * steps[1]:,g}", 14, FAINT, "ra")
    for k in range(int(most[0] / steps[0]) + 1):
        x = place(k * steps[0], 0)[0]
        pen.line((x, bottom, x, bottom + 5), fill=FAINT)
        write(pen, (int(x), bottom + 8), f"{k * steps[0]:,g}", 14, FAINT, "ma")
    pen.line((left, top, left, bottom, right, bottom), fill=FAINT)


def _step(most: float) -> float:
    """1, 2 or 5 times a power of ten, so that there are four to nine steps."""
    power = 10.0 ** np.floor(np.log10(most / 4))
    return float(max(k * power for k in (1, 2, 5) if k * power <= most / 4))
