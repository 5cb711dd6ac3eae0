"""`onnxlrp bench`: times a model and its explanations, each session in processes of its own."""

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from onnxlrp.cli.detect import is_explanation_graph
from onnxlrp.cli.options import Commands
from onnxlrp.cli.progress import Progress
from onnxlrp.cli.table import format_table
from onnxlrp.errors import InputError
from onnxlrp.runtime.providers import check_providers, cuda_works
from onnxlrp.runtime.settings import CPU, CUDA, TENSORRT

_SHORT: Final = {"cpu": CPU, "cuda": CUDA, "tensorrt": TENSORRT}
_HEAD: Final = (
    "provider",
    "batch",
    "what",
    "min ms",
    "median ms",
    "x forward",
    "x median",
    "peak MiB",
    "load s",
    "nodes",
)


@dataclass(frozen=True)
class Case:
    """A session that is timed.

    Attributes:
        provider: The provider that is asked for.
        batch: Samples per run.
        composite: The composite; empty: the model itself.
        path: The file.
        nodes: Nodes of the file.
    """

    provider: str
    batch: int
    composite: str
    path: str
    nodes: int


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What was measured of a session; the keys of `--json`.

    Attributes:
        composite: The composite; empty: the model itself.
        ms_min: Shortest run; `ms_median`: the median of all runs but the first of each process.
        ratio: Shortest run over that of the model itself; `ratio_median`: of the medians.
        first_ms: The first run, the least of the processes.
        load_s: Opening the session, the least of the processes.
        peak_mib: Largest memory while it ran, without what the process held before it loaded the
            model; None where the system does not tell.
    """

    provider: str
    batch: int
    composite: str
    runs: int
    ms_min: float
    ms_median: float
    ratio: float
    ratio_median: float
    first_ms: float
    load_s: float
    peak_mib: float | None
    nodes: int


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "time a model and its explanations: shortest and median run, ratio, memory, load time"
    parser = commands.add_parser("bench", parents=[common], help=text, description=text)
    option = parser.add_argument
    option("model", metavar="MODEL", help="an ONNX model")
    option(
        "--composite",
        metavar="NAME",
        action="append",
        help="composite or attributor with parameters (repeatable; default auto)",
    )
    option("--target", metavar="T", default="argmax", help="argmax (default), an index, ...")
    option(
        "--providers",
        metavar="NAME",
        nargs="+",
        help="cpu, cuda, tensorrt or names of ONNX Runtime (default cuda where it works, else cpu)",
    )
    option("--batch", metavar="B", type=int, nargs="+", default=[1], help="samples per run (1)")
    option(
        "--dim",
        metavar="NAME=SIZE",
        action="append",
        help="size of a free axis, as a length of text (repeatable)",
    )
    option("--rounds", metavar="N", type=int, default=3, help="processes of each session (3)")
    option("--seconds", metavar="S", type=float, default=2.0, help="time for each process (2)")
    option("--json", action="store_true", help="print JSON")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    _check(options)
    providers, dims = _providers(options.providers), _dims(options.dim or ())
    composites = options.composite or ["auto"]
    with tempfile.TemporaryDirectory(prefix="onnxlrp-bench-") as folder:
        files = list(_files(options.model, composites, options.target, Path(folder)))
        cases = [
            Case(provider, batch, *file)
            for provider in providers
            for batch in options.batch
            for file in files
        ]
        measured = list(_measure(cases, dims, options))
    if options.json:
        lines = [asdict(line) for line in measured]
        print(json.dumps({"model": options.model, "measurements": lines}, indent=2))
    else:
        print(format_table(_HEAD, [_row(line) for line in measured]))
    return 0


def _check(options: argparse.Namespace) -> None:
    if is_explanation_graph(options.model):
        raise InputError(
            f"'{options.model}' is an explanation graph: pass its source, which is timed beside it"
        )
    for name, least in (("rounds", 1), ("seconds", 0)):
        if not getattr(options, name) >= least:
            raise InputError(f"--{name} must be at least {least}, got {getattr(options, name)}")
    for batch in options.batch:
        if batch < 1:
            raise InputError(f"--batch must be at least 1, got {batch}")


def _providers(names: Sequence[str] | None) -> list[str]:
    """Full names of providers, all of which exist."""
    if not names:
        return [CUDA if cuda_works() else CPU]
    found = [_SHORT.get(name.lower(), name) for name in names]
    check_providers(found)
    return found


def _dims(given: Sequence[str]) -> dict[str, int]:
    found = {}
    for text in given:
        name, _, size = text.partition("=")
        if not name or not size.isdecimal() or int(size) < 1:
            raise InputError(f"--dim expects NAME=SIZE, as in --dim length=128, got '{text}'")
        found[name] = int(size)
    return found


def _files(
    model: str, composites: Sequence[str], target: str, folder: Path
) -> Iterator[tuple[str, str, int]]:
    """Composite, path and number of nodes of the model itself and of each explanation graph."""
    from onnxlrp.compile import compile as compile_model
    from onnxlrp.metadata import SCOPE

    for number, composite in enumerate(composites):
        graph = compile_model(model, composite=composite, target=target)
        nodes = graph.model.graph.node
        if number == 0:
            yield "", model, sum(not node.name.startswith(SCOPE) for node in nodes)
        path = folder / f"{number}.onnx"
        graph.save(path)
        yield composite, str(path), len(nodes)


def _measure(
    cases: Sequence[Case], dims: Mapping[str, int], options: argparse.Namespace
) -> Iterator[Measured]:
    """Let the sessions take turns, one process at a time."""
    found: dict[Case, list[dict[str, Any]]] = {case: [] for case in cases}
    progress = Progress(label="timing")
    for turn in range(options.rounds):
        for index, case in enumerate(cases):
            found[case].append(_process(case, dims, options.seconds))
            progress(turn * len(cases) + index + 1, options.rounds * len(cases))
    base: dict[tuple[str, int], list[float]] = {}
    for case, results in found.items():
        times = [time for result in results for time in result["times"]]
        plain = base.setdefault((case.provider, case.batch), times)
        yield _measured(case, results, times, plain)


def _process(case: Case, dims: Mapping[str, int], seconds: float) -> dict[str, Any]:
    """What one process found.

    Raises:
        InputError: It could not load, feed or run the model.
    """
    job = {
        "model": case.path,
        "provider": case.provider,
        "batch": case.batch,
        "dims": dict(dims),
        "seconds": seconds,
        "repeats": 1000,
    }
    command = [sys.executable, "-m", "onnxlrp.cli.bench.worker", json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    what = f"'{case.composite}'" if case.composite else "the model"
    if done.returncode or not lines:
        said = done.stderr.strip().splitlines()
        reason = said[-1] if said else "it was ended, perhaps for its memory"
        raise InputError(f"the process that runs {what} at batch {case.batch} failed: {reason}")
    found: dict[str, Any] = json.loads(lines[-1])
    if "error" in found:
        raise InputError(f"{what} cannot run at batch {case.batch}: {found['error']}")
    return found


def _measured(
    case: Case, results: Sequence[Mapping[str, Any]], times: list[float], plain: list[float]
) -> Measured:
    peaks = [result["peak_mib"] for result in results if result["peak_mib"] is not None]
    return Measured(
        provider=case.provider,
        batch=case.batch,
        composite=case.composite,
        runs=len(times),
        ms_min=round(min(times), 4),
        ms_median=round(median(times), 4),
        ratio=round(min(times) / min(plain), 3),
        ratio_median=round(median(times) / median(plain), 3),
        first_ms=round(min(result["first_ms"] for result in results), 3),
        load_s=round(min(result["load_s"] for result in results), 3),
        peak_mib=round(min(peaks), 1) if peaks else None,
        nodes=case.nodes,
    )


def _row(line: Measured) -> tuple[str, ...]:
    return (
        line.provider.removesuffix("ExecutionProvider"),
        str(line.batch),
        line.composite or "forward",
        f"{line.ms_min:.3g}" if line.ms_min < 10 else f"{line.ms_min:.1f}",
        f"{line.ms_median:.3g}" if line.ms_median < 10 else f"{line.ms_median:.1f}",
        f"{line.ratio:.2f}",
        f"{line.ratio_median:.2f}",
        "-" if line.peak_mib is None else f"{line.peak_mib:.0f}",
        f"{line.load_s:.2f}",
        str(line.nodes),
    )
