"""The model that is served: an explanation graph as it is, any other model compiled first."""

import argparse
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from onnxlrp.cli.detect import is_explanation_graph
from onnxlrp.cli.options import (
    add_method,
    add_preprocess,
    plan_keywords,
    refuse_method,
    target_keywords,
)
from onnxlrp.data import Preprocessing, load_labels
from onnxlrp.errors import InputError
from onnxlrp.render import COLORS
from onnxlrp.serve.artefact import Artefact, read_artefact
from onnxlrp.serve.settings import Limits


@dataclass(frozen=True, kw_only=True)
class Served:
    """A model that is ready to be served.

    Attributes:
        save: Writes the explanation graph, with its external data, to a path.
        name: Its name for the server.
        steps: How pictures are prepared, where that is known.
        labels: Names of the classes, or none.
    """

    save: Callable[[Path], None]
    name: str
    steps: Preprocessing | None
    labels: tuple[str, ...]


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the model and the options that every server takes."""
    parser.add_argument("model", metavar="MODEL", help="an ONNX model or explanation graph")
    add_method(parser)
    group = parser.add_argument_group("the served model")
    group.add_argument("--name", metavar="NAME", help="its name (default: that of the file)")
    group.add_argument("--labels", metavar="FILE", help="class names, one per line")
    add_preprocess(group)


def add_pictures(parser: argparse.ArgumentParser) -> None:
    """Add the options that say how pictures are read and drawn."""
    group = parser.add_argument_group("pictures")
    add_preprocess(group)
    group.add_argument("--layout", metavar="L", help="layout of the picture input: nchw, nhwc, ...")
    group.add_argument("--labels", metavar="FILE", help="class names, one per line")
    group.add_argument("--colors", choices=list(COLORS), default="seismic", help="colour map")


def read_model(options: argparse.Namespace) -> Served:
    """Load an explanation graph, or compile the model that the user gave.

    Raises:
        InputError: Method options for a graph that is compiled already.
    """
    steps = Preprocessing.parse(options.preprocess) if options.preprocess else None
    return Served(
        save=_saver(options, steps),
        name=options.name or Path(options.model).name.removesuffix(".onnx").removesuffix(".lrp"),
        steps=steps,
        labels=load_labels(options.labels) if options.labels else (),
    )


def artefact_of(served: Served) -> Artefact:
    """Read what the explanation graph says about itself.

    Raises:
        ModelError: ONNX Runtime cannot load it.
        InputError: Its name is none that a server takes.
    """
    with tempfile.TemporaryDirectory(prefix="onnxlrp-serve-") as folder:
        path = Path(folder) / "model.onnx"
        served.save(path)
        return read_artefact(path, served.name, served.labels)


def limits_of(options: argparse.Namespace) -> Limits:
    """Return what a request may ask for."""
    return Limits(
        max_bytes=options.max_bytes,
        max_pixels=options.max_pixels,
        max_elements=options.max_elements,
    )


def graph_of(options: argparse.Namespace) -> str | bytes:
    """Return the explanation graph: the file itself, or what its model compiles to.

    Every request chooses its class, unless the user says which one is explained, or there is only
    one.

    Raises:
        InputError: Method options for a graph that is compiled already.
    """
    if _is_compiled(options):
        model: str = options.model
        return model
    if options.target:
        return _compiled(options, options.target)
    try:
        return _compiled(options, "input")
    except InputError:
        return _compiled(options, "argmax")


def _compiled(options: argparse.Namespace, target: str) -> bytes:
    from onnxlrp.compile import compile as compile_model

    where = target_keywords(options)
    where["target"] = target
    return compile_model(options.model, **plan_keywords(options), **where).to_bytes()


def _saver(options: argparse.Namespace, steps: Preprocessing | None) -> Callable[[Path], None]:
    if _is_compiled(options):
        return _copier(options.model)
    from onnxlrp.compile import compile as compile_model

    graph = compile_model(
        options.model,
        preprocessing=steps.to_json() if steps else None,
        **plan_keywords(options),
        **target_keywords(options),
    )
    return graph.save


def _is_compiled(options: argparse.Namespace) -> bool:
    if not is_explanation_graph(options.model):
        return False
    others = ("--target",) if options.target else ()
    refuse_method(options, *others, instead="serve the source model")
    return True


def _copier(path: str) -> Callable[[Path], None]:
    """Copies a compiled graph; its external data must lie in its folder."""
    from onnxlrp.graph.read import check_external, read
    from onnxlrp.graph.save import save

    model, folder = read(path)
    check_external(model, folder)
    return lambda target: save(model, target, folder)
