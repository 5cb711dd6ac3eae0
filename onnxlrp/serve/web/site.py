"""A static page that runs an explanation graph in the browser with ONNX Runtime Web."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np

from onnxlrp.errors import DataError
from onnxlrp.metadata import HEATMAP, RELEVANCE, TARGET, Metadata
from onnxlrp.render import Style, colorize
from onnxlrp.runtime.signature import Signature
from onnxlrp.serve.folder import package_files
from onnxlrp.serve.pages import PictureInput
from onnxlrp.serve.web.runtime import VERSION

DTYPES: Final = ("float32", "uint8", "int8", "int32")
"""Types of pictures that the page feeds."""

_PAGE: Final = {
    "web/page/index.html": "index.html",
    "web/page/page.js": "page.js",
    "web/page/picture.js": "picture.js",
    "page/style.css": "style.css",
}
_MOST_PIXELS: Final = 40_000_000
_COLOURS: Final = 513


@dataclass(frozen=True, kw_only=True)
class Site:
    """What a page shows.

    Attributes:
        name: Its title.
        signature: Inputs and outputs of the graph.
        metadata: What the graph says about itself.
        port: The input that takes the picture.
        labels: Names of the classes; may be empty.
        style: How relevance is drawn.
        webgpu: Whether the page may try WebGPU.
        example: Name of a picture in the folder of the page; empty without one.
    """

    name: str
    signature: Signature
    metadata: Metadata
    port: PictureInput
    labels: Sequence[str]
    style: Style
    webgpu: bool
    example: str = ""


def make_site(site: Site) -> dict[str, bytes]:
    """Return the files of a page by name; the graph goes beside them as `model.onnx`.

    Raises:
        DataError: The page cannot show this graph.
    """
    config = json.dumps(_config(site), separators=(",", ":"), sort_keys=True)
    return {**package_files(_PAGE), "config.json": config.encode()}


def _config(site: Site) -> dict[str, object]:
    fitted, metadata = site.port.fitted, site.metadata
    steps = fitted.preprocessing
    if steps.dtype not in DTYPES:
        raise DataError(f"the page feeds {', '.join(DTYPES)}; the model takes {steps.dtype}")
    colours = colorize(np.linspace(-1, 1, _COLOURS), site.style.colors)
    return {
        "name": site.name,
        "runtime": VERSION,
        "input": site.port.name,
        "output": metadata.output,
        "relevance": _explanation(site),
        "composite": str(metadata.composite.get("name", "")),
        "chooses": _chooses(site),
        "fixed": int(metadata.target) if metadata.target.isdigit() else None,
        "steps": asdict(steps),
        "layout": fitted.layout.axes,
        "size": fitted.layout.size,
        "labels": list(site.labels),
        "notes": list(site.port.notes),
        "percentile": site.style.percentile,
        "colours": colours.reshape(-1).tolist(),
        "pixels": _MOST_PIXELS,
        "webgpu": site.webgpu,
        "example": site.example,
    }


def _explanation(site: Site) -> str:
    names = [prefix + site.port.name for prefix in (RELEVANCE, HEATMAP)]
    found = [name for name in names if name in site.signature.outputs]
    if not found:
        raise DataError(f"the graph has no '{names[0]}' to draw")
    return found[0]


def _chooses(site: Site) -> bool:
    """Tell whether the class is an input; the page knows outputs `[N, K]` and indices `[N]`."""
    output, extra = site.signature.outputs[site.metadata.output], site.signature.extra
    if len([dim for dim in output.shape[1:] if dim != 1]) != 1:
        raise DataError(f"the page shows classes, [N, K]; output '{output.name}' is {output}")
    needed = [name for name in extra if name not in site.signature.optional]
    if needed not in ([], [TARGET]) or (needed and len(extra[TARGET].shape) != 1):
        raise DataError(f"the page feeds a picture and a class; the graph takes {needed}")
    return bool(needed)
