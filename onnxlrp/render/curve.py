"""1-D signals: the curve of each channel, coloured by its relevance."""

from typing import Final

import numpy as np
from PIL import Image, ImageDraw

from onnxlrp.render.colors import colorize
from onnxlrp.render.heat import Floats, normalise
from onnxlrp.render.page import (
    FAINT,
    PAPER,
    RULE,
    Caption,
    make_page,
    text_width,
    with_label,
    write,
)
from onnxlrp.render.style import Style

_FINE: Final = 3
_MAX_CHANNELS: Final = 12


def draw_curve(
    relevance: Floats, signal: Floats | None, style: Style, caption: Caption
) -> Image.Image:
    """Draw relevance `[C, L]` along its signal; without one, the relevance is the curve."""
    values, top = normalise(relevance, style.percentile)
    shown = relevance if signal is None else signal
    if len(values) > _MAX_CHANNELS:
        keep = np.sort(np.argsort(-np.abs(values).sum(axis=1))[:_MAX_CHANNELS])
        values, shown = values[keep], shown[keep]
    width, height = style.panel * 2, max(style.panel // 2 // len(values), 72)
    panel = Image.new("RGB", (width, height * len(values)), PAPER)
    for row, (line, heat) in enumerate(zip(shown, values, strict=True)):
        panel.paste(_strip(line, heat, style.colors, (width, height)), (0, row * height))
    name = "relevance" if signal is None else "signal, coloured by relevance"
    return make_page([with_label(panel, name, (style.colors, top))], caption)


def _strip(line: Floats, heat: Floats, colors: str, size: tuple[int, int]) -> Image.Image:
    """Draw one channel: relevance as bands behind the curve, drawn large and made smaller."""
    width, height = size[0] * _FINE, size[1] * _FINE
    band = Image.fromarray(colorize(heat[None], colors)).resize(
        (width, height), Image.Resampling.NEAREST
    )
    strip = Image.blend(band, Image.new("RGB", band.size, PAPER), 0.4)
    low, high = float(line.min()), float(line.max())
    span = (high - low) or 1.0
    inner = height - 16 * _FINE
    xs = (np.arange(len(line)) + 0.5) * width / len(line)
    ys = 8 * _FINE + (high - line) / span * inner
    draw = ImageDraw.Draw(strip)
    draw.line(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=(20, 20, 20), width=4)
    strip = strip.resize(size, Image.Resampling.LANCZOS)
    frame = ImageDraw.Draw(strip)
    frame.rectangle((0, 0, size[0] - 1, size[1] - 1), outline=RULE)
    for y, value in ((3, high), (size[1] - 17, low)):
        text = f"{value:.3g}"
        frame.rectangle((3, y, 8 + text_width(text, 12), y + 14), fill=PAPER)
        write(frame, (5, y), text, 12, FAINT)
    return strip
