"""`onnxlrp explain`: a model and inputs in, a picture, a page, arrays or JSON out."""

import argparse
import glob
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from onnxlrp.cli.detect import is_explanation_graph
from onnxlrp.cli.files import check_no_overwrite
from onnxlrp.cli.findings import Finding, Reader
from onnxlrp.cli.options import (
    Commands,
    add_method,
    add_preprocess,
    add_provider,
    add_quantize,
    plan_keywords,
    refuse_method,
    target_index,
    target_keywords,
)
from onnxlrp.cli.progress import Progress
from onnxlrp.cli.results import Writer
from onnxlrp.data import Preprocessing, Sample, expand, load_labels, load_sample
from onnxlrp.errors import InputError
from onnxlrp.metadata import TARGET
from onnxlrp.render import COLORS, Style
from onnxlrp.runtime import Explainer, Result
from onnxlrp.runtime.providers import check_providers


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "explain predictions; MODEL is compiled first unless it is an explanation graph"
    parser = commands.add_parser("explain", parents=[common], help=text, description=text)
    parser.add_argument("model", metavar="MODEL", help="an ONNX model or explanation graph")
    parser.add_argument(
        "sources",
        metavar="INPUT",
        nargs="+",
        help="png, jpg, webp, npy, npz, csv, json, a folder of these, or - for standard input",
    )
    parser.add_argument(
        "-o",
        "--out",
        metavar="OUT",
        required=True,
        help=".png, .jpg, .webp, .html, .npz, .json or a folder",
    )
    add_method(parser)
    _add_data(parser)
    parser.set_defaults(run=run)


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data and drawing")
    add_preprocess(group)
    group.add_argument("--layout", metavar="L", help="layout of the picture input: nchw, nhwc, ...")
    group.add_argument("--labels", metavar="FILE", help="class names, one per line")
    group.add_argument("--top", metavar="K", type=int, default=5, help="best classes shown (5)")
    add_quantize(group)
    group.add_argument("--colors", choices=list(COLORS), default="seismic", help="colour map")
    group.add_argument(
        "--percentile", metavar="P", type=float, default=99.5, help="full colour from here (99.5)"
    )
    group.add_argument(
        "--batch-size", metavar="B", type=int, default=32, help="samples per run (32)"
    )
    add_provider(group)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    if options.top < 0:
        raise InputError(f"--top must not be negative, got {options.top}")
    labels = load_labels(options.labels) if options.labels else ()
    steps = Preprocessing.parse(options.preprocess) if options.preprocess else None
    style = Style(colors=options.colors, percentile=options.percentile)
    files = expand(options.sources)
    writer = Writer(out=Path(options.out), style=style)
    writer.check()
    check_no_overwrite(writer.out, options.model, *files)
    explain = open_explainer(options)
    metadata = explain.metadata
    writer = replace(writer, inputs=metadata.maps, heat="quantize" in metadata.composite)
    if steps is None and metadata.preprocessing:
        steps = Preprocessing.from_json(metadata.preprocessing)
    reader = Reader(metadata=metadata, labels=labels, top=options.top)
    findings: list[Finding] = []
    notes: dict[str, None] = {}
    progress = Progress(label="explaining")
    for done, file in enumerate(files, 1):
        sample = load_sample(file, explain.signature.inputs, steps, options.layout)
        result = _explain(explain, sample, options)
        found = _read(reader, sample, result)
        for finding in found:
            print(finding.text())
        writer.add(sample, result, found)
        findings.extend(found)
        notes.update(dict.fromkeys(sample.notes))
        if len(files) > 1:
            progress(done, len(files))
    writer.finish(findings, list(notes))
    _report(explain, list(notes), options.out)
    return 0


def open_explainer(options: argparse.Namespace) -> Explainer:
    """Load an explanation graph, or compile the model that the user gave.

    Raises:
        InputError: Method options for a graph that is compiled already.
    """
    check_providers(options.provider or ())
    if not is_explanation_graph(options.model):
        return _opened(_compiled(options), options)
    refuse_method(options, instead="explain the source model")
    explain = _opened(options.model, options)
    if options.target is not None and TARGET not in explain.signature.extra:
        raise InputError(
            f"'{options.model}' was compiled for the target '{explain.metadata.target}': --target "
            "needs one compiled with --target input"
        )
    return explain


def _opened(model: str | bytes, options: argparse.Namespace) -> Explainer:
    explain = Explainer(model, options.provider)
    check_providers(options.provider or (), explain.providers)
    return explain


def _compiled(options: argparse.Namespace) -> bytes:
    from onnxlrp.attributors import method_of
    from onnxlrp.compile import compile as compile_model
    from onnxlrp.inspection import inspect

    rules, target = plan_keywords(options), target_keywords(options)
    hidden = method_of(rules["composite"]).hidden
    if target["target"].split(":")[0] in ("input", "seed"):
        raise InputError(
            f"--target {target['target']} is for `onnxlrp compile`; here, say what is explained: "
            "argmax, 243, ..."
        )
    start = (glob.escape(inspect(options.model, **rules).explained),) if hidden else ()
    graph = compile_model(options.model, probes=start, quantize=options.quantize, **rules, **target)
    return graph.to_bytes()


def _explain(explain: Explainer, sample: Sample, options: argparse.Namespace) -> Result:
    target = None
    if TARGET in explain.signature.extra:
        target = _indices(options.target)
    progress = Progress(label=sample.name)
    return explain(sample.inputs, target=target, batch_size=options.batch_size, progress=progress)


def _indices(text: str | None) -> int | list[int]:
    if text is None:
        raise InputError("this graph takes a target: pass --target INDEX")
    parts = list(target_index(text))
    return parts if len(parts) > 1 else parts[0]


def _read(reader: Reader, sample: Sample, result: Result) -> tuple[Finding, ...]:
    relevance = next(iter({**result.relevance, **result.heatmap}.values()))
    count = len(relevance)
    names = [sample.name] if count == 1 else [f"{sample.name}[{k}]" for k in range(count)]
    return tuple(reader.read(result, index, name) for index, name in enumerate(names))


def _report(explain: Explainer, notes: Sequence[str], out: str | os.PathLike[str]) -> None:
    for note in notes:
        print(note)
    if explain.metadata.shadow:
        print("relevance runs on a float32 copy of the model; --ledger shows how far it is off")
    method = explain.metadata.composite.get("name", "")
    print(f"output '{explain.metadata.output}', composite {method}, {explain.providers[0]}")
    print(f"wrote {os.fspath(out)}")
