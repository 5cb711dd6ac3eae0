"""Tabular rows: one bar per feature, the largest first."""

from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from onnxlrp.render.colors import colorize
from onnxlrp.render.heat import Floats
from onnxlrp.render.page import FAINT, PAPER, RULE, Caption, fit_text, make_page, text_width, write
from onnxlrp.render.style import Style

_MAX_BARS: Final = 20
_LINE: Final = 28


def draw_bars(
    relevance: Floats,
    values: Floats | None,
    features: Sequence[str],
    style: Style,
    caption: Caption,
) -> Image.Image:
    """Draw relevance `[F]` as bars, sorted by size, with names and values of the features."""
    relevance = relevance + 0.0  # no -0
    order = np.argsort(-np.abs(relevance), kind="stable")[:_MAX_BARS]
    names = [_name(int(k), values, features) for k in order]
    rest = len(relevance) - len(order)
    name_width = min(max(text_width(name, 15) for name in names), style.panel)
    width, line = style.panel * 2, _LINE
    panel = Image.new("RGB", (width, line * (len(order) + (rest > 0))), PAPER)
    draw = ImageDraw.Draw(panel)
    top = float(np.abs(relevance[order]).max()) or 1.0
    number = max(text_width(f"{value:+.3g}", 14) for value in relevance[order]) + 10
    left, right = name_width + 14 + number, width - number
    middle = (left + right) // 2
    for row, k in enumerate(order):
        share = float(relevance[k]) / top
        y = row * line
        end = middle + round(share * (right - left) / 2)
        colour = tuple(colorize(np.array([share * 0.4 + 0.35 * np.sign(share)]), style.colors)[0])
        write(draw, (name_width, y + 5), fit_text(names[row], 15, name_width), anchor="ra")
        draw.rectangle((min(middle, end), y + 4, max(middle, end), y + line - 6), fill=colour)
        beside = (end + 6, "la") if share >= 0 else (end - 6, "ra")
        write(draw, (beside[0], y + 6), f"{float(relevance[k]):+.3g}", 14, FAINT, beside[1])
    draw.line((middle, 0, middle, line * len(order) - 4), fill=RULE)
    if rest > 0:
        others = float(np.delete(relevance, order).sum())
        text = f"{rest} others, together {others:+.3g}"
        write(draw, (name_width, len(order) * line + 5), text, 14, FAINT)
    return make_page([panel], caption)


def _name(index: int, values: Floats | None, features: Sequence[str]) -> str:
    name = features[index] if index < len(features) else f"feature {index}"
    if values is None:
        return name
    return f"{name} = {float(values[index]):.4g}"
