"""`onnxlrp serve http`: a small server for a laptop, with a page to drop a picture on."""

import argparse
from pathlib import Path

from onnxlrp.cli.options import (
    Commands,
    add_method,
    add_provider,
)
from onnxlrp.cli.serve.model import add_pictures, graph_of
from onnxlrp.data import Preprocessing, load_labels
from onnxlrp.errors import DataError, InputError, RuntimeMissing
from onnxlrp.render import Style
from onnxlrp.runtime import Explainer
from onnxlrp.serve.http.limits import Limits
from onnxlrp.serve.http.picture import PictureModel
from onnxlrp.serve.pages import picture_input


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "a small server: Open Inference Protocol v2, and a page to drop a picture on"
    parser = commands.add_parser("http", parents=[common], help=text, description=text)
    parser.add_argument("model", metavar="MODEL", help="an ONNX model or explanation graph")
    parser.add_argument("--name", metavar="NAME", help="name in addresses (that of the file)")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--port", type=int, default=8000, help="port, 0 for a free one (8000)")
    add_method(parser)
    add_pictures(parser)
    _add_limits(parser)
    parser.set_defaults(run=run)


def _add_limits(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("limits")
    limits = (
        ("--max-bytes", "N", int, 32 * 2**20, "bytes of a request (32 MiB)"),
        ("--max-pixels", "N", int, 40_000_000, "pixels of a picture (40 million)"),
        ("--timeout", "S", float, 60.0, "seconds to read, and to answer, a request (60)"),
        ("--queue", "N", int, 64, "requests under way at once (64)"),
        ("--batch-size", "B", int, 16, "samples per run (16)"),
    )
    for flag, letter, kind, default, text in limits:
        group.add_argument(flag, metavar=letter, type=kind, default=default, help=text)
    add_provider(group)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    try:
        from onnxlrp.serve.http.desk import Service
        from onnxlrp.serve.http.run import loopback_names, serve
    except ImportError as error:
        raise RuntimeMissing(
            f"the server needs more packages: run `pip install onnxlrp[serve]` ({error})"
        ) from error
    limits = Limits(
        size=options.max_bytes,
        pixels=options.max_pixels,
        timeout=options.timeout,
        queue=options.queue,
        batch=options.batch_size,
    )
    name = options.name or Path(options.model).name.split(".")[0]
    if not name or not all(letter.isalnum() or letter in "-_" for letter in name):
        raise InputError(f"--name '{name}' may hold letters, digits, - and _")
    labels = load_labels(options.labels) if options.labels else ()
    explain = Explainer(graph_of(options), options.provider)
    service = Service(
        explain=explain,
        name=name,
        limits=limits,
        pictures=_pictures(explain, options, labels),
        hosts=loopback_names(options.host),
    )

    if not service.hosts:
        print("anybody who reaches this machine can use the server: there is no password")

    def ready(port: int) -> None:
        address = f"[{options.host}]" if ":" in options.host else options.host
        print(f"{name}: http://{address}:{port}/ ({explain.providers[0]})", flush=True)

    serve(service, options.host, options.port, ready)
    print("stopped")
    return 0


def _pictures(
    explain: Explainer, options: argparse.Namespace, labels: tuple[str, ...]
) -> PictureModel | None:
    """Return how pictures are shown; None, with the reason printed, for a model that takes none."""
    steps = Preprocessing.parse(options.preprocess) if options.preprocess else None
    try:
        port = picture_input(explain.signature, explain.metadata, steps, options.layout)
    except DataError as error:
        if steps or options.layout:
            raise
        print(f"no page for pictures: {error}")
        return None
    for note in port.notes:
        print(note)
    return PictureModel(
        signature=explain.signature,
        metadata=explain.metadata,
        port=port,
        labels=labels,
        style=Style(colors=options.colors),
    )
