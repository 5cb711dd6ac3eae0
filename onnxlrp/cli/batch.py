"""`onnxlrp batch`: a data set explained shard by shard, on this machine or on Ray."""

import argparse
import json
import os
import sys
from pathlib import Path

from onnxlrp.cli.detect import is_explanation_graph
from onnxlrp.cli.fields import add_fields, field_settings
from onnxlrp.cli.files import make_folder
from onnxlrp.cli.options import (
    Commands,
    add_method,
    add_preprocess,
    add_provider,
    plan_keywords,
    refuse_method,
    target_index,
    target_keywords,
)
from onnxlrp.cli.progress import Progress
from onnxlrp.data import Preprocessing
from onnxlrp.distribute import Job, Plan, Summary, check_folder
from onnxlrp.distribute import run as run_batch
from onnxlrp.distribute.items import Source
from onnxlrp.distribute.job import FORMATS
from onnxlrp.errors import DataError, InputError
from onnxlrp.render import COLORS
from onnxlrp.runtime.providers import check_providers


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "explain a data set, resumably, in several processes or on a Ray cluster"
    parser = commands.add_parser("batch", parents=[common], help=text, description=text)
    parser.add_argument("model", metavar="MODEL", help="an ONNX model or explanation graph")
    parser.add_argument(
        "data",
        metavar="DATA",
        help="a folder of pictures, WebDataset tars, .parquet, .npz, .nc, .zarr, or one of these",
    )
    parser.add_argument("-o", "--out", metavar="OUT", required=True, help="a folder")
    add_method(parser)
    _add_work(parser)
    _add_data(parser)
    add_fields(parser)
    parser.set_defaults(run=run)


def _add_work(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("work")
    group.add_argument("--resume", action="store_true", help="go on with the run in OUT")
    group.add_argument("--engine", choices=("local", "ray"), help="local, or ray with --address")
    group.add_argument("--address", metavar="A", help="of a Ray cluster: auto or HOST:PORT")
    group.add_argument("--workers", metavar="N", type=int, help="processes (one per core)")
    group.add_argument("--threads", metavar="T", type=int, help="threads of a worker (its share)")
    group.add_argument("--gpus", metavar="G", type=float, default=0.0, help="per Ray actor (0)")
    group.add_argument(
        "--retries", metavar="R", type=int, default=2, help="of a shard whose worker died (2)"
    )
    group.add_argument(
        "--shard-size", metavar="S", type=int, default=256, help="samples per shard (256)"
    )
    group.add_argument(
        "--batch-size", metavar="B", type=int, default=16, help="samples per run (16)"
    )
    add_provider(group)


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data and results")
    group.add_argument("--format", choices=FORMATS, default="parquet", help="parquet (default)")
    group.add_argument(
        "--values",
        choices=("relevance", "heatmap"),
        default="relevance",
        help="relevance as it is (default), or summed over the channels",
    )
    group.add_argument("--column", metavar="NAME", default="", help="the column of Parquet files")
    add_preprocess(group)
    group.add_argument("--layout", metavar="L", help="layout of the picture input: nchw, nhwc, ...")
    group.add_argument("--colors", choices=list(COLORS), default="seismic", help="colours of PNG")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    check_providers(options.provider or ())
    plan = _plan(options)
    source = Source.of(options.data, options.column, field_settings(options))
    make_folder(Path(options.out))
    check_folder(Path(options.out), resume=plan.resume)
    job = _job(options, plan, source)
    try:
        summary = run_batch(job, plan, Progress(label="explaining", rate=True), _say)
    except KeyboardInterrupt:
        _say("stopped: what is done is kept, the same command with --resume goes on")
        raise
    _report(summary, Path(options.out))
    return 0


def _say(text: str) -> None:
    lead = "\r\x1b[K" if sys.stderr.isatty() else ""  # the bar stands on this line
    print(f"{lead}note: {text}", file=sys.stderr)


def _plan(options: argparse.Namespace) -> Plan:
    return Plan(
        engine=options.engine or ("local" if options.address is None else "ray"),
        workers=_cores() if options.workers is None else options.workers,
        retries=options.retries,
        shard_size=options.shard_size,
        resume=options.resume,
        address=options.address,
        gpus=options.gpus,
    )


def _job(options: argparse.Namespace, plan: Plan, source: Source) -> Job:
    steps = Preprocessing.parse(options.preprocess) if options.preprocess else None
    return Job(
        model=str(_graph(options)),
        source=source,
        out=str(Path(options.out).resolve()),
        format=options.format,
        values=options.values,
        preprocessing=None if steps is None else steps.to_json(),
        layout=options.layout,
        target=_target(options),
        batch_size=options.batch_size,
        threads=max(_cores() // plan.workers, 1) if options.threads is None else options.threads,
        providers=_providers(options),
        colors=options.colors,
    )


def _providers(options: argparse.Namespace) -> tuple[str, ...] | None:
    """Those asked for; who reserves a GPU does not want the CPU instead."""
    if options.provider:
        return tuple(options.provider)
    return ("CUDAExecutionProvider", "CPUExecutionProvider") if options.gpus else None


def _graph(options: argparse.Namespace) -> Path:
    """The explanation graph, compiled into OUT where MODEL is none."""
    if not is_explanation_graph(options.model):
        return _compiled(options)
    refuse_method(options, instead="the source model")
    return Path(options.model).resolve()


def _compiled(options: argparse.Namespace) -> Path:
    from onnxlrp.compile import compile as compile_model

    rules, target = plan_keywords(options), target_keywords(options)
    if target["target"].split(":")[0] in ("input", "seed"):
        raise InputError("--target input or seed: compile the model first, then pass the graph")
    graph = compile_model(options.model, **rules, **target)
    path = Path(options.out).resolve() / "model.lrp.onnx"
    graph.save(path)
    return path


def _target(options: argparse.Namespace) -> int | tuple[int, ...] | None:
    if options.target is None or not is_explanation_graph(options.model):
        return None
    parts = target_index(options.target)
    return parts if len(parts) > 1 else parts[0]


def _report(summary: Summary, out: Path) -> None:
    """Say what was done.

    Raises:
        DataError: Shards are not done, or no sample could be explained.
    """
    rate = summary.now / summary.seconds
    print(f"{summary.now} samples in {summary.seconds:.1f} s ({rate:.1f} per second)")
    print(f"{summary.explained} of {summary.items} explained, {summary.failed} failed")
    first = _first_failure(out) if summary.failed else ""
    if first:
        print(f"failures: {out / 'failures.jsonl'}, first {first}")
    print(f"wrote {out / 'data'}")
    if summary.lost:
        number, reason = summary.lost[0]
        raise DataError(
            f"{len(summary.lost)} shards are not done (shard {number}: {reason}): run again with "
            "--resume"
        )
    if not summary.explained:
        raise DataError(f"no sample could be explained: {first}")


def _first_failure(out: Path) -> str:
    with (out / "failures.jsonl").open(encoding="utf-8") as file:
        failure = json.loads(file.readline())
    return f"{failure['name']}: {failure['reason']}"


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
