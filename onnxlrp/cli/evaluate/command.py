"""`onnxlrp evaluate`: a model, a data set, methods and metrics in, a table and a report out."""

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnxlrp.cli.detect import is_explanation_graph
from onnxlrp.cli.evaluate.files import (
    as_json,
    command_line,
    write_results,
    write_summary_csv,
    write_summary_json,
)
from onnxlrp.cli.evaluate.page import Shown, write_report
from onnxlrp.cli.evaluate.table import format_summary
from onnxlrp.cli.fields import add_fields, list_samples
from onnxlrp.cli.files import make_folder
from onnxlrp.cli.options import (
    Commands,
    add_preprocess,
    add_provider,
)
from onnxlrp.cli.progress import Progress
from onnxlrp.data import Preprocessing, load_labels
from onnxlrp.data.datasets.items import ItemReader
from onnxlrp.errors import InputError
from onnxlrp.metrics import METRICS
from onnxlrp.runtime.providers import check_providers

if TYPE_CHECKING:
    from onnxlrp.evaluation.journal import Journal, Json
    from onnxlrp.evaluation.runner import Job
    from onnxlrp.evaluation.summary import Summary

_COMPOSITES: Final = "auto,epsilon,otsuki,gradient,gradient-x-input"
_METRICS: Final = "id,sparseness,conservation"
_MOST_SAID: Final = 5


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "compare methods by metrics on a data set; interrupted runs go on with -o OUT"
    parser = commands.add_parser("evaluate", parents=[common], help=text, description=text)
    parser.add_argument("model", metavar="MODEL", help="an ONNX model of one input")
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a folder of pictures, a folder per class, images.csv, CUB-200-2011, .npz (x, y, "
        "mask), or a gridded file (.nc, .zarr, .grib)",
    )
    parser.add_argument("-o", "--out", metavar="OUT", help="folder for tables and report.html")
    names = ", ".join(metric.name for metric in METRICS)
    parser.epilog = f"metrics: {names}; methods: see `onnxlrp composites`"
    _add_measurement(parser)
    _add_data(parser)
    add_fields(parser)
    _add_running(parser)
    parser.set_defaults(run=run)


def _add_measurement(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is compared")
    group.add_argument(
        "--composites",
        metavar="A,B,...",
        action="append",
        help="methods, with parameters as in otsuki:split=ratio,identity=true,agf (a part with = "
        f"belongs to the name before it); repeatable (default {_COMPOSITES})",
    )
    group.add_argument(
        "--metrics",
        metavar="A,B,...",
        action="append",
        help="metrics, with parameters as in id:baseline=blur, or all; repeatable "
        f"(default {_METRICS})",
    )
    group.add_argument(
        "--explain",
        choices=("predicted", "label"),
        default="predicted",
        help="which class is explained (predicted)",
    )
    group.add_argument("--output", metavar="NAME", help="the explained output")
    group.add_argument(
        "--quantize", metavar="LEVELS", type=int, help="Heat Quantization of every method's maps"
    )
    group.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance (0)")
    group.add_argument(
        "--show", metavar="M", type=int, default=8, help="samples whose maps the report shows (8)"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    group.add_argument("--labels", metavar="FILE", help="class names, one per line")
    group.add_argument(
        "--label-file",
        metavar="FILE",
        help="labels of a folder of pictures: lines 'name index', or one index per picture",
    )
    add_preprocess(group)
    group.add_argument("--layout", metavar="L", help="layout of the input: nchw, nhwc, ...")
    group.add_argument("--limit", metavar="N", type=int, help="at most N samples")
    group.add_argument("--per-class", metavar="K", type=int, help="at most K samples of a class")
    group.add_argument("--shuffle", metavar="SEED", type=int, help="choose these samples at random")


def _add_running(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("running")
    group.add_argument(
        "--batch-size", metavar="B", type=int, default=32, help="samples per run (32)"
    )
    add_provider(group)
    group.add_argument(
        "--restart", action="store_true", help="begin anew where OUT holds another run"
    )
    group.add_argument("--json", action="store_true", help="print the summary as JSON")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    _check(options)
    if options.out is None:
        with tempfile.TemporaryDirectory() as folder:
            return _evaluate(options, Path(folder))
    return _evaluate(options, Path(options.out))


def _check(options: argparse.Namespace) -> None:
    for name in ("seed", "show"):
        if getattr(options, name) < 0:
            raise InputError(f"--{name} must not be negative, got {getattr(options, name)}")
    check_providers(options.provider or ())
    if is_explanation_graph(options.model):
        raise InputError(f"'{options.model}' is compiled already: pass the source model")


def _evaluate(options: argparse.Namespace, folder: Path) -> int:
    from onnxlrp.evaluation.journal import Journal
    from onnxlrp.evaluation.runner import run as run_job
    from onnxlrp.evaluation.summary import summarise

    job, notes = _make_job(options, folder)
    job.check()
    check_providers(options.provider or (), job.plain.providers)
    make_folder(folder)
    settings = _settings(options, job)
    journal = Journal(folder / "samples.jsonl", settings, restart=options.restart)
    if journal.fresh and job.maps is not None:
        job.maps.clear()
    try:
        failures = run_job(job, journal, Progress(label="evaluating"))
    except KeyboardInterrupt:
        if options.out is not None:
            print(f"'{folder}' holds what is done: the same command goes on", file=sys.stderr)
        raise
    finally:
        journal.close()
    better = {name: way for m in job.measures for name, way in m.columns().items()}
    summary = summarise(journal.records(), job.methods, better, failures, options.seed)
    if options.out is not None:
        _write(options, job, journal, summary, settings)
    _print(options, summary, notes, settings)
    return 0 if summary.cells else 1


def _make_job(options: argparse.Namespace, folder: Path) -> "tuple[Job, tuple[str, ...]]":
    """Read everything that the command names, cheap things first."""
    from onnxlrp.evaluation.frame import black
    from onnxlrp.evaluation.maps import Maps
    from onnxlrp.evaluation.measures import make_measures
    from onnxlrp.evaluation.method import Settings
    from onnxlrp.evaluation.names import check_methods, split_methods
    from onnxlrp.evaluation.plain import Plain, open_source
    from onnxlrp.evaluation.runner import Job

    methods = split_methods(options.composites or [_COMPOSITES])
    check_methods(methods)
    steps = Preprocessing.parse(options.preprocess) if options.preprocess else None
    listing = list_samples(options)
    measures, left_out = make_measures(",".join(options.metrics or [_METRICS]), listing)
    source = open_source(options.model, options.output)
    plain = Plain(source, options.provider, options.batch_size, options.layout)
    reader = ItemReader.make(listing, plain.frame.port, steps, options.layout)
    prepared = reader.fitted.preprocessing if reader.fitted else steps
    maps = Maps(folder / "maps", options.show) if options.out and options.show else None
    job = Job(
        source=source,
        plain=plain,
        reader=reader,
        methods=methods,
        measures=measures,
        black=black(plain.frame, prepared),
        explain=options.explain,
        seed=options.seed,
        settings=Settings(
            providers=options.provider,
            batch_size=options.batch_size,
            quantize=options.quantize,
        ),
        maps=maps,
    )
    assumed = reader.fitted.notes if reader.fitted else ()
    return job, (*listing.notes, *left_out, *assumed)


def _settings(options: argparse.Namespace, job: "Job") -> "dict[str, Json]":
    """Return all that decides the numbers."""
    from onnxlrp.evaluation.names import digests

    fitted = job.reader.fitted
    steps = fitted.preprocessing.to_json() if fitted else {"black": job.black.tolist()}
    return {
        "version": _version(),
        "model": job.source.digest,
        "output": job.source.output,
        "data": job.reader.listing.digest(),
        "samples": len(job.entries),
        "methods": list(job.methods),
        "files": digests(job.methods),
        "metrics": [measure.asked.title for measure in job.measures],
        "explain": options.explain,
        "quantize": options.quantize,
        "seed": options.seed,
        "preprocessing": json.loads(json.dumps(steps)),
        "axes": job.plain.frame.axes,
        "batch_size": options.batch_size,
        "providers": list(job.plain.providers),
    }


def _write(
    options: argparse.Namespace,
    job: "Job",
    journal: "Journal",
    summary: "Summary",
    settings: "Mapping[str, Json]",
) -> None:
    folder = Path(options.out)
    command = command_line(options)
    write_results(folder / "results.csv", journal, list(summary.better))
    write_summary_csv(folder / "summary.csv", summary)
    write_summary_json(folder / "summary.json", as_json(summary, settings, command))
    labels = load_labels(options.labels) if options.labels else ()
    shown = Shown.read(journal, job.maps, job.methods, labels)
    write_report(folder / "report.html", summary, shown, settings, command)


def _print(
    options: argparse.Namespace,
    summary: "Summary",
    notes: tuple[str, ...],
    settings: "Mapping[str, Json]",
) -> None:
    for name, reason in summary.skipped[:_MOST_SAID]:
        print(f"skipped '{name}': {reason}", file=sys.stderr)
    if summary.skipped_count > _MOST_SAID:
        print(f"skipped {summary.skipped_count} samples in all", file=sys.stderr)
    if not summary.cells:
        reason = next(iter(summary.failures.values()), "nothing was measured")
        print(f"error: no method worked; the first: {reason}", file=sys.stderr)
    if options.json:
        print(json.dumps(as_json(summary, settings, command_line(options)), indent=2))
        return
    print(format_summary(summary))
    for note in notes:
        print(note)
    if options.out is None:
        print("add -o FOLDER for a report with curves and maps, and to go on after an interruption")
    else:
        print(f"wrote {Path(options.out) / 'report.html'}, summary.csv, summary.json, results.csv")


def _version() -> str:
    try:
        return version("onnxlrp")
    except PackageNotFoundError:
        return "0+source"
