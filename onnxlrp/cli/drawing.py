"""Chooses how the relevance of one sample is drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from onnxlrp.cli.findings import Finding
from onnxlrp.data import Sample
from onnxlrp.render import Caption, Style, render
from onnxlrp.render.style import Kind
from onnxlrp.runtime import Result

_LEAST_SIDE: Final = 8
_MOST_BARS: Final = 64


def draw(
    sample: Sample,
    result: Result,
    findings: Sequence[Finding],
    inputs: Sequence[str],
    style: Style,
) -> Iterator[Image.Image]:
    """Yield a page per sample and explained input; numbers stand beside the first input."""
    for index, finding in enumerate(findings):
        yield from draw_one(sample, result, index, finding.caption(), inputs, style)


def draw_one(
    sample: Sample,
    result: Result,
    index: int,
    caption: Caption,
    inputs: Sequence[str],
    style: Style,
) -> Iterator[Image.Image]:
    """Yield a page per explained input of one sample of a file."""
    maps = [name for name in inputs if name in result.relevance or name in result.heatmap]
    for name in maps:
        found = result.relevance.get(name, result.heatmap.get(name))
        if found is not None:
            said = caption if len(maps) == 1 else _titled(caption, name, first=name == maps[0])
            shown = _shown(sample, name, index)
            yield _page(found[index : index + 1], shown, sample.features, style, said)


def _titled(caption: Caption, name: str, *, first: bool) -> Caption:
    title = f"{caption.title}: input '{name}'" if caption.title else f"input '{name}'"
    return replace(caption, title=title) if first else Caption(title=title)


def _shown(sample: Sample, name: str, index: int) -> Image.Image | npt.NDArray[np.generic] | None:
    """Return the picture or the values of one sample; None where they cannot be told apart."""
    if sample.picture is not None:
        return sample.picture
    array = sample.inputs.get(name, next(iter(sample.inputs.values())))
    return array[index] if array.ndim and index < len(array) else None


def _page(
    relevance: npt.NDArray[np.generic],
    shown: Image.Image | npt.NDArray[np.generic] | None,
    features: Sequence[str],
    style: Style,
    caption: Caption,
) -> Image.Image:
    kind = _kind(relevance.shape, shown, features)
    if isinstance(shown, np.ndarray):
        fits = _is_picture(shown) if kind == "picture" else shown.size == relevance.size
        shown = shown if fits and shown.dtype.kind in "fiu" else None
    return render(
        relevance, shown, style=replace(style, kind=kind), caption=caption, features=features
    )


def _kind(shape: tuple[int, ...], shown: object, features: Sequence[str]) -> Kind:
    if isinstance(shown, Image.Image) or len(shape) >= 4:
        return "picture"
    if len(shape) == 3:
        return "picture" if min(shape[1:]) >= _LEAST_SIDE else "curve"
    return "bars" if features or shape[-1] <= _MOST_BARS else "curve"


def _is_picture(values: npt.NDArray[np.generic]) -> bool:
    shape = [size for size in values.shape if size != 1]
    return len(shape) == 2 or (len(shape) == 3 and 3 in (shape[0], shape[2]))
