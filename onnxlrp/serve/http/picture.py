"""A picture in; best classes, the explained class and the heatmap as a PNG out."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from onnxlrp.data import load_picture
from onnxlrp.data.labels import Floats, label, shares
from onnxlrp.errors import InputError
from onnxlrp.metadata import TARGET, Metadata
from onnxlrp.render import Caption, Style, render
from onnxlrp.render.heat import limit
from onnxlrp.runtime import Request, Result
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.signature import Signature
from onnxlrp.serve.pages import PictureInput

TOP = 5


@dataclass(frozen=True, kw_only=True)
class PictureModel:
    """A graph that explains pictures.

    Attributes:
        signature: Its inputs and outputs.
        metadata: What it says about itself.
        port: The input that takes the picture.
        labels: Names of the classes; may be empty.
        style: How relevance is drawn.
    """

    signature: Signature
    metadata: Metadata
    port: PictureInput
    labels: Sequence[str]
    style: Style

    @property
    def chooses(self) -> bool:
        """Whether a request says which class is explained."""
        return TARGET in self.signature.extra

    def read(self, content: bytes, most_pixels: int) -> tuple[Array, Image.Image]:
        """Return the model input and the picture as the model sees it.

        Raises:
            DataError: No picture, or one of too many pixels.
        """
        return self.port.fitted.apply(load_picture(content, "the picture", most_pixels))

    def request(self, array: Array, target: tuple[int, ...]) -> Request:
        """Return the request for a picture; an empty target: any, to learn the prediction."""
        if not self.chooses:
            return Request(inputs={self.port.name: array})
        rank = self.signature.extra[TARGET].shape[1:]
        filled = target or (0,) * (rank[-1] if rank and isinstance(rank[-1], int) else 1)
        index: list[object] = [filled] if rank else list(filled)
        return Request(inputs={self.port.name: array}, target=np.array(index, np.int64))

    def scores(self, result: Result) -> Floats:
        """Return the explained output of the only sample."""
        scores: Floats = np.asarray(result.outputs[self.metadata.output][0], np.float64)
        return scores

    def best(self, result: Result) -> tuple[int, ...]:
        """Return the index of the largest score; axes of size 1 have none."""
        scores = np.squeeze(self.scores(result))
        return tuple(int(index) for index in np.unravel_index(scores.argmax(), scores.shape))

    def answer(self, result: Result, shown: Image.Image) -> dict[str, object]:
        """Return what the page shows, as a JSON object.

        Raises:
            InputError: The relevance is not finite.
        """
        target = () if result.target is None else tuple(np.ravel(result.target[0]).tolist())
        heat, scores = self._heat(result), self.scores(result).reshape(-1)
        return {
            "top": self._top(scores),
            "target": list(target),
            "label": label(self.labels, target[0]) if len(target) == 1 else "",
            "score": float(scores[target[0]]) if len(target) == 1 else None,
            "relevance": float(np.sum(heat)),
            "full_colour": limit(heat, self.style.percentile),
            "composite": str(self.metadata.composite.get("name", "")),
            "picture": _url(shown),
            "heatmap": _url(render(heat, style=_plain(self.style))),
        }

    def page(self, result: Result, shown: Image.Image) -> bytes:
        """Return picture, heatmap and overlay side by side, as a PNG.

        Raises:
            InputError: The relevance is not finite.
        """
        answer = self.answer(result, shown)
        caption = Caption(title=str(answer["label"]), subtitle=f"composite {answer['composite']}")
        return _png(render(self._heat(result), shown, style=self.style, caption=caption))

    def _top(self, scores: Floats) -> list[dict[str, object]]:
        if scores.size < 2 or len(np.shape(scores)) != 1 or self._spatial():
            return []
        parts = shares(scores)
        return [
            {"index": int(k), "label": label(self.labels, int(k)), "score": scores[k], "share": p}
            for k, p in ((k, float(parts[k])) for k in np.argsort(-scores, kind="stable")[:TOP])
        ]

    def _spatial(self) -> bool:
        shape = self.signature.outputs[self.metadata.output].shape
        return len([dim for dim in shape[1:] if dim != 1]) > 1

    def _heat(self, result: Result) -> Floats:
        """Return relevance `[H, W]`, channels summed."""
        name = self.port.name
        found = result.relevance.get(name)
        if found is None:
            found = result.heatmap.get(name)
        if found is None:
            raise InputError(f"the graph has neither relevance nor heatmap of '{name}'")
        heat = np.asarray(found[0], np.float64)
        axes = self.port.fitted.layout.axes.replace("N", "")
        if heat.ndim == 3:
            heat = heat.sum(axis=axes.index("C"))
        return heat


def _plain(style: Style) -> Style:
    return Style(colors=style.colors, percentile=style.percentile, kind="picture", plain=True)


def _png(picture: Image.Image) -> bytes:
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _url(picture: Image.Image) -> str:
    return "data:image/png;base64," + base64.b64encode(_png(picture)).decode()
