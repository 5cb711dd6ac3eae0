"""Draws the pictures of docs/choosing.md and docs/gallery.md into docs/img.

    python -m tools.docs_pictures                all of them, about a minute
    python -m tools.docs_pictures vgg gallery    some of them

Figures of docs/choosing.md are drawn here; the pictures of docs/gallery.md are made by the commands
that stand on that page, run as they are.
"""

import contextlib
import io
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

import onnxlrp
from models import shapes
from onnxlrp.cli.app import main as command
from onnxlrp.composites.presets import PRESETS
from onnxlrp.data import load_picture
from onnxlrp.render import colorize, limit
from tools.agf_figure import scene

ROOT = Path(__file__).parents[1]
MODELS, OUT, GALLERY = ROOT / "models", ROOT / "docs/img", ROOT / "docs/gallery.md"
SIDE, GAP, TEXT, COLUMNS = 128, 8, 34, 6
STARTS = {preset.name: preset.start for preset in PRESETS}

METHODS = (
    "epsilon-plus", "auto", "epsilon-plus-flat", "epsilon-alpha2-beta1",
    "epsilon-alpha2-beta1-flat", "excitation-backprop", "epsilon-gamma-box:low=0,high=1",
    "deep-taylor:low=0,high=1", "montavon:low=0,high=1", "otsuki", "otsuki:dead=keep", "rap",
    "epsilon", "captum-gamma", "captum-alpha1-beta0", "innvestigate-b", "dynamic-lrp", "chefer",
    "gradient", "gradient-x-input", "integrated-gradients", "smoothgrad", "guided-backprop",
    "deconvnet", "grad-cam", "guided-grad-cam", "score-cam", "agf", "agf:split=ratio", "clrp",
    "sglrp",
)  # fmt: skip
CONTRASTS = (
    "epsilon-plus", "otsuki", "epsilon-gamma-box:low=0,high=1", "clrp", "agf:split=ratio",
    "gradient-x-input", "grad-cam",
)  # fmt: skip
SPLITS = ("proportional", "ratio", "symmetric", "skip", "branch")

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tile:
    """A picture `[h, w, 3]` of colours 0 to 255 and the lines above it."""

    pixels: NDArray[np.uint8]
    lines: Sequence[str]


@dataclass(frozen=True)
class Found:
    """What a method gave for one picture: heat `[H, W]` and the sum of relevance, as a share."""

    heat: NDArray[np.float64]
    share: float | None


def explained(net: str, method: str, x: Floats, target: int | None = None) -> Found:
    """Heat of one picture `[3, H, W]`, and the sum of relevance over its start."""
    graph = onnxlrp.compile(
        MODELS / f"{net}.onnx",
        composite=method,
        target="argmax" if target is None else target,
        heatmap=True,
    )
    result = onnxlrp.Explainer(graph)({"image": x[None]})
    heat = result.heatmap["image"][0].astype(np.float64)
    begin = started(method, result.outputs["logits"][0], target)
    if begin is None or "image" not in result.relevance:
        return Found(heat, None)
    return Found(heat, float(result.relevance["image"].sum(dtype=np.float64)) / begin)


def started(method: str, logits: Floats, target: int | None) -> float | None:
    """The score or the probability with which relevance starts; None where it starts with one."""
    name = method.partition(":")[0]
    index = int(logits.argmax()) if target is None else target
    start = "logit" if name == "auto" else STARTS.get(name, "one")
    if start == "one":
        return None
    powers = np.exp(logits.astype(np.float64) - logits.max())
    return float(logits[index]) if start == "logit" else float(powers[index] / powers.sum())


def drawn(found: Found, *lines: str) -> Tile:
    """A map in the colours of `onnxlrp explain`: red for, blue against."""
    size = limit(found.heat) or 1.0
    below = "" if found.share is None else f"sum {number(100 * found.share)} %"
    return Tile(colorize(found.heat / size), (*lines, below))


def number(value: float) -> str:
    """A percentage with at most four digits."""
    return f"{value:.0f}" if abs(value) < 9999.5 else f"{value:.0e}"


def picture(x: Floats, *lines: str) -> Tile:
    """The picture itself."""
    return Tile(np.uint8(np.rint(x.transpose(1, 2, 0) * 255)), lines)


def sheet(tiles: Sequence[Tile], columns: int, side: int = SIDE) -> Image.Image:
    """Tiles in rows, the lines of each above it."""
    rows = -(-len(tiles) // columns)
    page = Image.new("RGB", (columns * (side + GAP) + GAP, rows * (side + TEXT + GAP)), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    for index, tile in enumerate(tiles):
        left = GAP + index % columns * (side + GAP)
        top = index // columns * (side + TEXT + GAP)
        for line, text in enumerate(tile.lines):
            pen.text((left, top + 3 + 15 * line), text, "black", font)
        image = Image.fromarray(tile.pixels).resize((side, side), Image.Resampling.NEAREST)
        page.paste(image, (left, top + TEXT))
        pen.rectangle((left - 1, top + TEXT - 1, left + side, top + TEXT + side), outline="#bbb")
    return page


def shorter(method: str) -> str:
    """The name without the parameters that only say that pixels lie between 0 and 1."""
    return method.replace(":low=0,high=1", "")


def shown(name: str) -> Floats:
    """A picture of models/pictures as the networks take it."""
    image = load_picture(MODELS / f"pictures/{name}.png").resize(
        (64, 64), Image.Resampling.BILINEAR
    )
    return np.asarray(image, np.float32).transpose(2, 0, 1) / 255


def methods(net: str) -> Image.Image:
    """One picture, one network, many methods."""
    x = shown("shapes_star")
    tiles = [picture(x, f"{net}", "input: a star")]
    tiles += [drawn(explained(net, method, x), shorter(method)) for method in METHODS]
    return sheet(tiles, COLUMNS)


def classes() -> Image.Image:
    """A scene with a cross and a star, which have nearly the same score, explained for both."""
    pair = (shapes.LABELS.index("cross"), shapes.LABELS.index("star"))
    x = scene([4, 5], *pair)[0]
    names = [shapes.LABELS[index] for index in pair]
    upper = [picture(x, "shapes_resnet", "two shapes"), picture(x, "shapes_resnet", "two shapes")]
    tiles: list[list[Tile]] = [[tile] for tile in upper]
    for method in CONTRASTS:
        for row, (target, name) in enumerate(zip(pair, names, strict=True)):
            found = explained("shapes_resnet", method, x, target)
            tiles[row].append(drawn(Found(found.heat, None), shorter(method), f"for the {name}"))
    return sheet([tile for row in tiles for tile in row], len(tiles[0]), 108)


def splits() -> Image.Image:
    """One picture, the splits of a residual Add under epsilon-plus."""
    x = shown("shapes_star")
    tiles = [picture(x, "shapes_resnet", "epsilon-plus with")]
    tiles += [
        drawn(explained("shapes_resnet", f"epsilon-plus:split={split}", x), f"split={split}")
        for split in SPLITS
    ]
    return sheet(tiles, COLUMNS)


def gallery() -> None:
    """Run the commands of docs/gallery.md that write into docs/img."""
    for line in GALLERY.read_text().replace("\\\n", " ").splitlines():
        words = shlex.split(line) if line.startswith("onnxlrp ") else []
        if any(word.startswith("docs/img/") for word in words):
            with contextlib.chdir(ROOT), contextlib.redirect_stdout(io.StringIO()):
                status = command(words[1:])
            if status:
                sys.exit(f"failed: {line}")


FIGURES: dict[str, Callable[[], Image.Image]] = {
    "vgg": lambda: methods("shapes_vgg"),
    "resnet": lambda: methods("shapes_resnet"),
    "classes": classes,
    "splits": splits,
}


def main() -> None:
    """Draw what is asked for."""
    asked = sys.argv[1:] or [*FIGURES, "gallery"]
    for name in asked:
        if name == "gallery":
            gallery()
            continue
        path = OUT / f"choose_{name}.png"
        path.parent.mkdir(exist_ok=True)
        FIGURES[name]().save(path, optimize=True)
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
