"""The page around the drawing: title, panels, numbers at the side, colour legend."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from onnxlrp.render.colors import colorize

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

MARGIN: Final = 28
GAP: Final = 18
SIDE: Final = 300
INK: Final = (32, 36, 42)
FAINT: Final = (110, 118, 128)
RULE: Final = (218, 222, 228)
BAR: Final = (76, 120, 168)
PAPER: Final = (255, 255, 255)


@dataclass(frozen=True, kw_only=True)
class Caption:
    """Words and numbers beside the drawing.

    Attributes:
        title: What was predicted.
        subtitle: How it was explained.
        top: Best classes: name, score in words, length of the bar in [0, 1].
        heading: What the scores of the best classes are.
        numbers: Names and values.
    """

    title: str = ""
    subtitle: str = ""
    top: tuple[tuple[str, str, float], ...] = ()
    heading: str = ""
    numbers: tuple[tuple[str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.title or self.subtitle or self.top or self.numbers)


@functools.cache
def font(size: int) -> Font:
    """Return Pillow's own font."""
    return ImageFont.load_default(size)


def text_width(text: str, size: int) -> int:
    """Return the width of a text in pixels."""
    return int(font(size).getlength(text)) + 1


def fit_text(text: str, size: int, width: int) -> str:
    """Cut a text so that it fits the width, with dots at its end."""
    text = " ".join(text.split())
    if text_width(text, size) <= width:
        return text
    while text and text_width(text + "...", size) > width:
        text = text[:-1]
    return text.rstrip(" ,;") + "..."


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    size: int = 15,
    color: tuple[int, int, int] = INK,
    anchor: str = "la",
) -> None:
    """Write one line of text."""
    draw.text(at, text, fill=color, font=font(size), anchor=anchor)


def make_page(panels: Sequence[Image.Image], caption: Caption) -> Image.Image:
    """Put the panels in a row under the title, the numbers at their right."""
    top = MARGIN + (34 if caption.title else 0) + (24 if caption.subtitle else 0)
    top += 8 if caption.title or caption.subtitle else 0
    side = draw_side(caption) if caption.top or caption.numbers else None
    blocks = [*panels, side] if side else list(panels)
    width = sum(block.width for block in blocks) + GAP * (len(blocks) - 1) + 2 * MARGIN
    height = top + max(block.height for block in blocks) + MARGIN
    page = Image.new("RGB", (width, height), PAPER)
    draw = ImageDraw.Draw(page)
    if caption.title:
        write(draw, (MARGIN, MARGIN), fit_text(caption.title, 26, width - 2 * MARGIN), 26)
    if caption.subtitle:
        text = fit_text(caption.subtitle, 15, width - 2 * MARGIN)
        write(draw, (MARGIN, MARGIN + (36 if caption.title else 0)), text, 15, FAINT)
    left = MARGIN
    for block in blocks:
        page.paste(block, (left, top))
        left += block.width + GAP
    return page


def draw_side(caption: Caption) -> Image.Image:
    """Draw the column of numbers: best classes with bars, then names and values."""
    height = 46 * len(caption.top) + 30 * len(caption.numbers) + 40
    side = Image.new("RGB", (SIDE, height), PAPER)
    draw = ImageDraw.Draw(side)
    y = 0
    if caption.top and caption.heading:
        write(draw, (0, y), fit_text(caption.heading, 13, SIDE), 13, FAINT)
        y += 22
    for label, value, share in caption.top:
        room = SIDE - text_width(value, 15) - 12
        write(draw, (0, y), fit_text(label, 15, room))
        write(draw, (SIDE, y), value, anchor="ra")
        draw.rectangle((0, y + 23, SIDE - 1, y + 29), fill=RULE)
        draw.rectangle((0, y + 23, int((SIDE - 1) * min(max(share, 0), 1)), y + 29), fill=BAR)
        y += 46
    y += 8 if caption.top else 0
    for name, value in caption.numbers:
        write(draw, (0, y), name, 15, FAINT)
        room = SIDE - text_width(name, 15) - 12
        write(draw, (SIDE, y), fit_text(value, 15, room), anchor="ra")
        draw.line((0, y + 23, SIDE - 1, y + 23), fill=RULE)
        y += 30
    return side


def with_label(
    panel: Image.Image, label: str, legend: tuple[str, float] | None = None
) -> Image.Image:
    """Write a label under a panel, or, given colours and their limit, a colour legend."""
    whole = Image.new("RGB", (panel.width, panel.height + 44), PAPER)
    whole.paste(panel, (0, 0))
    draw = ImageDraw.Draw(whole)
    draw.rectangle((0, 0, panel.width - 1, panel.height - 1), outline=RULE)
    below = panel.height + 10
    if legend is None:
        write(draw, (panel.width // 2, below), label, 15, FAINT, "ma")
        return whole
    colors, top = legend
    ends = (f"-{top:.3g}", f"+{top:.3g}")
    room = max(text_width(ends[1], 13), text_width(ends[0], 13)) + 8
    ramp = np.linspace(-1, 1, max(panel.width - 2 * room, 8))
    strip = Image.fromarray(np.repeat(colorize(ramp, colors)[None], 12, axis=0))
    whole.paste(strip, (room, below))
    draw.rectangle((room, below, room + strip.width - 1, below + 11), outline=RULE)
    write(draw, (room - 6, below - 2), ends[0], 13, FAINT, "ra")
    write(draw, (room + strip.width + 6, below - 2), ends[1], 13, FAINT, "la")
    write(draw, (panel.width // 2, below + 16), label, 13, FAINT, "ma")
    return whole


def stack(pages: Sequence[Image.Image]) -> Image.Image:
    """Put pages below each other."""
    if len(pages) == 1:
        return pages[0]
    width = max(page.width for page in pages)
    sheet = Image.new("RGB", (width, sum(page.height for page in pages)), PAPER)
    top = 0
    for page in pages:
        sheet.paste(page, (0, top))
        top += page.height
    return sheet
