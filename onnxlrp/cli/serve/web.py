"""`onnxlrp serve web`: a static page that explains pictures in the browser."""

import argparse
from pathlib import Path

from onnxlrp.cli.detect import is_explanation_graph
from onnxlrp.cli.files import make_folder, write_bytes
from onnxlrp.cli.options import Commands, add_method
from onnxlrp.cli.serve.model import add_pictures, graph_of
from onnxlrp.data import Preprocessing, load_labels, load_picture
from onnxlrp.data.pictures import SUFFIXES, read_bytes
from onnxlrp.errors import CompositeError, DataError
from onnxlrp.render import Style
from onnxlrp.runtime import Explainer
from onnxlrp.serve.pages import picture_input
from onnxlrp.serve.web.runtime import VERSION, download, from_folder, wanted
from onnxlrp.serve.web.site import Site, make_site


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "a static page: drop a picture, choose a class, all in the browser"
    parser = commands.add_parser("web", parents=[common], help=text, description=text)
    parser.add_argument("model", metavar="MODEL", help="an ONNX model or explanation graph")
    parser.add_argument("-o", "--out", metavar="DIR", required=True, help="folder of the page")
    group = parser.add_argument_group("the page")
    group.add_argument(
        "--runtime", metavar="DIR", help=f"folder of the npm package onnxruntime-web {VERSION}"
    )
    group.add_argument(
        "--download",
        action="store_true",
        help="let npm fetch ONNX Runtime Web (its checksum is known)",
    )
    group.add_argument("--example", metavar="FILE", help="a picture that the page offers to show")
    add_method(parser)
    add_pictures(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from onnxlrp.cli.serve.browser import browser_report

    out = Path(options.out)
    make_folder(out)
    graph = _graph(options)
    content = graph if isinstance(graph, bytes) else read_bytes(graph)
    report = browser_report(content)
    for note in report.notes:
        print(note)
    files = _page(Explainer(content), options, webgpu=report.webgpu)
    files |= {"model.onnx": content} | _runtime(options, webgpu=report.webgpu)
    for name, part in files.items():
        (out / name).parent.mkdir(exist_ok=True)
        write_bytes(out / name, part)
    absent = [name for name in wanted(webgpu=report.webgpu) if not (out / "ort" / name).is_file()]
    if absent:
        print(f"the page still lacks {', '.join(absent)} in '{out / 'ort'}': use --runtime DIR")
    size = sum(map(len, files.values())) / 2**20
    print(f"wrote {out}, {size:.1f} MiB: python -m http.server --bind 127.0.0.1 -d {out}")
    return 0


def _graph(options: argparse.Namespace) -> str | bytes:
    """Return the graph; max-pooling passes relevance by masks, which every backend can do."""
    if is_explanation_graph(options.model):
        return graph_of(options)
    given = options.composite or "auto"
    if given.endswith(".json") or "maxpool=" in given:
        return graph_of(options)
    masked = argparse.Namespace(**vars(options))
    masked.composite = f"{given}{',' if ':' in given else ':'}maxpool=mask"
    try:
        return graph_of(masked)
    except CompositeError:
        return graph_of(options)


def _page(explain: Explainer, options: argparse.Namespace, *, webgpu: bool) -> dict[str, bytes]:
    steps = Preprocessing.parse(options.preprocess) if options.preprocess else None
    port = picture_input(explain.signature, explain.metadata, steps, options.layout)
    for note in port.notes:
        print(note)
    example = _example(options.example) if options.example else {}
    site = Site(
        name=Path(options.model).name.split(".")[0],
        signature=explain.signature,
        metadata=explain.metadata,
        port=port,
        labels=load_labels(options.labels) if options.labels else (),
        style=Style(colors=options.colors),
        webgpu=webgpu,
        example=next(iter(example), ""),
    )
    return make_site(site) | example


def _example(path: str) -> dict[str, bytes]:
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise DataError(f"--example '{path}' is no png, jpg or webp file")
    content = read_bytes(path)
    load_picture(content, path)
    return {f"example{suffix}": content}


def _runtime(options: argparse.Namespace, *, webgpu: bool) -> dict[str, bytes]:
    if options.runtime:
        files = from_folder(options.runtime, webgpu=webgpu)
    else:
        files = download(webgpu=webgpu) if options.download else {}
    return {f"ort/{name}": content for name, content in files.items()}
