"""Times explanation graphs beside the plain model, zennit and captum.

Prints one JSON line per measurement and at the end a table of times and their ratios to the
forward pass of the plain model. Each engine runs in processes of its own, which take turns. The
peers run where `--peer-python` (default: this Python) can import torch, zennit and captum.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import onnx  # noqa: E402

from onnxlrp.compile import compile as compile_model  # noqa: E402
from onnxlrp.composites.presets import PRESETS  # noqa: E402
from tools.bench.nets import LARGE, NETS, build, image_shape  # noqa: E402

Result = dict[str, Any]

WORKER = Path(__file__).with_name("worker.py")
DEFAULT_PRESETS = ("epsilon", "epsilon-plus", "epsilon-plus-flat", "epsilon-gamma-box")
CPU = "CPUExecutionProvider"
ZENNIT = {
    "epsilon-plus": "epsilon-plus",
    "epsilon-plus-flat": "epsilon-plus-flat",
    "epsilon-gamma-box": "epsilon-gamma-box:low=-3,high=3",
    "epsilon-alpha2-beta1": "epsilon-alpha2-beta1",
    "epsilon-alpha2-beta1-flat": "epsilon-alpha2-beta1-flat",
    "excitation-backprop": "excitation-backprop",
    "gradient": "gradient",
    "deconvnet": "deconvnet",
    "guided-backprop": "guided-backprop",
}
CAPTUM = {
    "epsilon": "captum-epsilon",
    "captum-epsilon": "captum-epsilon",
    "captum-gamma": "captum-gamma",
    "captum-alpha1-beta0": "captum-alpha1-beta0",
}
"""Our preset -> the peer's; `epsilon` and captum's differ in epsilon alone where BN is folded."""


@dataclass(frozen=True)
class Engine:
    """What is measured: an engine on a model file."""

    engine: str
    preset: str
    model: Path
    nodes: int
    python: str
    peer_preset: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measurement as it is printed.

    `busy` is the machine's load average when it was made: above the number of cores the times are
    those of a shared machine.
    """

    model: str
    engine: str
    preset: str
    provider: str
    batch: int
    ms_min: float
    ms_median: float
    peak_mib: float
    nodes: int
    load_s: float
    busy: float
    commit: str


def ours(name: str, presets: Iterable[str], folder: Path) -> Iterator[Engine]:
    """Write the plain model and the explanation graphs into a folder; yield their engines."""
    plain = build(name)
    path = folder / f"{name}.onnx"
    onnx.save(plain, path)
    yield Engine("ort", "", path, len(plain.graph.node), sys.executable)
    for preset in presets:
        began = time.perf_counter()
        graph = compile_model(plain, composite=preset, target=1)
        took = time.perf_counter() - began
        file = folder / f"{name}.{preset}.onnx"
        graph.save(file)
        nodes = len(graph.model.graph.node)
        print(f"# {name} {preset}: compiled in {took:.1f} s", file=sys.stderr, flush=True)
        yield Engine("ort", preset, file, nodes, sys.executable)


def peers(plain: Engine, presets: Sequence[str], python: str) -> Iterator[Engine]:
    """Yield the engines of the peers that a Python can import."""
    if importable(python, "torch"):
        yield Engine("torch", "", plain.model, 0, python)
    for module, known in (("zennit", ZENNIT), ("captum", CAPTUM)):
        if importable(python, module):
            for preset in presets:
                if preset in known:
                    yield Engine(module, preset, plain.model, 0, python, known[preset])


def importable(python: str, module: str) -> bool:
    """Tell whether a Python finds a module."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec('{module}') is None)"
    return subprocess.run([python, "-c", code], check=False).returncode == 0


def measure(
    engines: Sequence[Engine], shape: Sequence[int], options: argparse.Namespace
) -> dict[Engine, list[Result]]:
    """Let the engines take turns, one process at a time; return what each process found."""
    found: dict[Engine, list[Result]] = {engine: [] for engine in engines}
    for _ in range(options.rounds):
        for engine in engines:
            job = {
                "engine": engine.engine,
                "model": str(engine.model),
                "preset": engine.peer_preset,
                "shape": list(shape),
                "repeats": options.repeats,
                "threads": options.threads,
            }
            command = [engine.python, str(WORKER), json.dumps(job)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                last = done.stderr.strip().splitlines()[-1:]
                print(f"# {engine.engine} {engine.preset}: {last}", file=sys.stderr)
                continue
            found[engine].append(json.loads(done.stdout.splitlines()[-1]))
    return found


def lines(name: str, batch: int, found: dict[Engine, list[Result]], commit: str) -> Iterator[Line]:
    """Yield the measurements of one network."""
    for engine, results in found.items():
        times = [time for result in results for time in result["times"]]
        if times:
            yield Line(
                model=name,
                engine=engine.engine,
                preset=engine.preset,
                provider=CPU if engine.engine == "ort" else "torch cpu",
                batch=batch,
                ms_min=round(min(times), 3),
                ms_median=round(median(times), 3),
                peak_mib=max(result["peak_mib"] for result in results),
                nodes=engine.nodes,
                load_s=min(result["load_s"] for result in results),
                busy=round(os.getloadavg()[0], 1),
                commit=commit,
            )


def summary(measured: Sequence[Line]) -> list[str]:
    """Return a table: minimum and median in ms, ratio of the minimum to the plain ORT forward."""
    rows = [f"{'model':9s} {'batch':>5s} {'engine':7s} {'preset':26s}"]
    rows[0] += f"{'min ms':>9s} {'median':>9s} {'x forward':>9s} {'MiB':>6s} {'load s':>7s}"
    base = {(r.model, r.batch): r.ms_min for r in measured if (r.engine, r.preset) == ("ort", "")}
    for r in measured:
        ratio = r.ms_min / base.get((r.model, r.batch), float("nan"))
        rows.append(
            f"{r.model:9s} {r.batch:5d} {r.engine:7s} {r.preset or 'forward':26s}"
            f"{r.ms_min:9.1f} {r.ms_median:9.1f} {ratio:9.2f} {r.peak_mib:6.0f} {r.load_s:7.1f}"
        )
    return rows


def commit() -> str:
    """Return the commit of the working tree, with `+` where it was changed."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    dirty = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, check=False)
    return head.stdout.strip() + "+" * (dirty.returncode == 1)


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=list(LARGE), choices=list(NETS))
    parser.add_argument(
        "--presets", nargs="+", default=list(DEFAULT_PRESETS), help="names, or `all`"
    )
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--rounds", type=int, default=2, help="processes of each engine")
    parser.add_argument("--repeats", type=int, default=3, help="runs in each process")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peer-python", default=sys.executable, metavar="PATH")
    parser.add_argument("--no-peers", action="store_true")
    options = parser.parse_args(arguments)
    if options.presets == ["all"]:
        options.presets = [preset.name for preset in PRESETS]
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parse(arguments)
    measured: list[Line] = []
    stamp = commit()
    for name in options.models:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            engines = list(ours(name, options.presets, Path(folder)))
            if not options.no_peers:
                engines += peers(engines[0], options.presets, options.peer_python)
            plain = onnx.load(engines[0].model, load_external_data=False)
            for batch in options.batch:
                found = measure(engines, image_shape(plain, batch), options)
                for line in lines(name, batch, found, stamp):
                    print(json.dumps(asdict(line)), flush=True)
                    measured.append(line)
    print("\n".join(summary(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
