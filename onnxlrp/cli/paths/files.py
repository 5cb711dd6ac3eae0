"""What `onnxlrp paths` writes: graphs, pictures, a page, numbers; whole or not at all."""

import io
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path as File

import numpy as np
from PIL import Image

from onnxlrp.cli.files import write_bytes
from onnxlrp.cli.paths.answer import Answer
from onnxlrp.cli.paths.page import Pictures, make_page
from onnxlrp.cli.paths.summary import summary_of
from onnxlrp.errors import DataError
from onnxlrp.neurons.best import MATTERS
from onnxlrp.neurons.drawing import draw_paths
from onnxlrp.neurons.export import to_dot, to_graphml, to_json
from onnxlrp.neurons.maps import draw_best, draw_maps, draw_rebuilt
from onnxlrp.neurons.thumbnails import thumbnails
from onnxlrp.render import Caption
from onnxlrp.runtime.result import Array


def files_of(answer: Answer) -> dict[str, bytes]:
    """The contents of all files by name."""
    small = thumbnails(answer.found, answer.picture)
    title = f"{answer.sample.name}: {answer.target}"
    drawn = draw_paths(answer.graph, answer.found, small, answer.paths, f"Critical paths, {title}")
    pictures = {"maps.png": _maps(answer, title), "deconv.png": _rebuilt(answer, title)}
    pictures |= {f"best_{of}.png": _best(answer, of) for of in MATTERS if answer.data}
    shown = {name: png(image) for name, image in pictures.items() if image is not None}
    summary = summary_of(answer)
    page = Pictures(
        thumbnails={name: png(image) for name, image in small.items()}, wide=shown, title=title
    )
    return {
        "graph.json": to_json(answer.graph, answer.paths),
        "graph.graphml": to_graphml(answer.graph),
        "graph.dot": to_dot(answer.graph, answer.paths),
        "paths.png": png(drawn),
        **shown,
        "maps.npz": _arrays(answer),
        "summary.json": json.dumps(summary, indent=1).encode() + b"\n",
        "index.html": make_page(answer.graph, answer.paths, summary, page),
    }


def png(image: Image.Image) -> bytes:
    """A picture as PNG."""
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def _maps(answer: Answer, title: str) -> Image.Image | None:
    """All relevance, what is kept, and the paths, side by side."""
    if answer.picture is None or not answer.found.maps:
        return None
    name = next(iter(answer.found.maps))
    found = answer.found
    maps = [("all relevance", found.maps[name]), ("through what is kept", found.pruned[name])]
    maps += [(f"path {k + 1} alone", part[name]) for k, part in enumerate(answer.through)]
    text = f"map: MSE {found.mse['map']:.3g}, SMAPE {found.smape['map']:.3g} %"
    return draw_maps(maps, answer.picture, Caption(title=title, subtitle=text))


def _rebuilt(answer: Answer, title: str) -> Image.Image | None:
    """What the best path saw, if it is pictures."""
    drawn = [item for item in answer.rebuilt if item.signal.ndim == 3 and len(item.box) == 2]
    if answer.picture is None or not drawn:
        return None
    return draw_rebuilt(drawn, answer.picture, f"Deconvolution of the best path, {title}")


def _best(answer: Answer, of: str) -> Image.Image | None:
    """What the best path saw of the samples that its nodes like best."""
    rows = answer.best(of)
    return draw_best(rows, f"Best samples by {of}, what each node saw") if rows else None


def _arrays(answer: Answer) -> bytes:
    arrays: dict[str, Array] = {}
    for prefix, maps in (("relevance", answer.found.maps), ("pruned", answer.found.pruned)):
        arrays |= {f"{prefix}|{name}": array for name, array in maps.items()}
    for k, part in enumerate(answer.through):
        arrays |= {f"path_{k + 1}|{name}": array for name, array in part.items()}
    for layer in answer.found.layers:
        arrays[f"scores|{layer.name}"] = layer.scores
    for item in answer.rebuilt:
        arrays[f"deconv|{item.layer}|{item.channel}"] = item.signal
    data = io.BytesIO()
    np.savez_compressed(data, **{name.replace("/", "|"): a for name, a in arrays.items()})  # type: ignore[arg-type]
    return data.getvalue()


def check_folder(out: File) -> None:
    """Check, before long work, that a folder can be made or written to.

    Raises:
        DataError: Its parent is missing, or it is a file.
        OSError: It cannot be written to.
    """
    if out.exists() and not out.is_dir():
        raise DataError(f"cannot write to '{out}': it is a file, not a folder")
    parent = out if out.is_dir() else out.absolute().parent
    if not parent.is_dir():
        raise DataError(f"cannot make '{out}': there is no folder '{parent}'")
    with tempfile.TemporaryFile(dir=parent):
        pass


def write_folder(out: File, files: Mapping[str, bytes]) -> None:
    """Write the files; a new folder appears with all of them, in an old one each is replaced.

    Raises:
        OSError: A file cannot be written.
    """
    if out.is_dir():
        for name, content in files.items():
            write_bytes(out / name, content)
        return
    parent = out.absolute().parent
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{out.name}.") as folder:
        whole = File(folder) / out.name
        whole.mkdir()
        for name, content in files.items():
            write_bytes(whole / name, content)
        whole.rename(out)
