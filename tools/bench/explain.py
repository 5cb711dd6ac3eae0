"""Times explanation graphs beside the plain model and the peers.

Prints one JSON line per measurement and at the end a table of times and their ratios to the
forward pass of the plain model; `--out FILE.jsonl` appends the lines to a file, from which
`tools/bench/tables.py` writes the tables of docs/performance.md. Each engine runs in processes of
its own, which take turns. zennit, captum and torch run where `--peer-python` (default: this
Python) can import them, LXT where `--lxt-python` and DIANNA where `--dianna-python` can. A peer
that raises gets a line that says so.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import onnx  # noqa: E402
from onnx import ModelProto  # noqa: E402

from onnxlrp.compile import compile as compile_model  # noqa: E402
from onnxlrp.composites.presets import PRESETS  # noqa: E402
from tools.bench.limits import NoCountError, limit  # noqa: E402
from tools.bench.nets import (  # noqa: E402
    LARGE,
    LENGTH,
    NETS,
    build,
    embedded,
    first_classes,
    half,
    specs,
)
from tools.bench.process import Outcome, commit, importable, run_worker  # noqa: E402
from tools.bench.records import Engine, Line, Setting, lines, publish, summary  # noqa: E402

DEFAULT_PRESETS = ("epsilon", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1")
OTHERS = {
    "vit_b16": ("epsilon", "epsilon-plus", "attnlrp"),
    "bert_base": ("epsilon", "attnlrp"),
    "lstm": ("epsilon", "attnlrp"),
}
"""Presets of the networks in which convolutions are few or none, in place of the default ones."""

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
LXT = {"attnlrp": "attnlrp", "cp-lrp": "cp-lrp"}
"""Our preset -> the peer's; `epsilon` and captum's differ in epsilon alone where BN is folded."""

PEERS = ("torch", "zennit", "captum", "lxt", "dianna")
DIANNA = ("rise", "kernelshap")
DIANNA_TIMEOUT = 1200
FEW = 10
"""Classes for DIANNA: it makes a heat map of each class, KernelSHAP pixel by pixel."""


def ours(
    name: str, plain: ModelProto, folder: Path, options: argparse.Namespace
) -> Iterator[Engine]:
    """Write the plain model and the explanation graphs into a folder; yield their engines."""
    path = folder / f"{name}.onnx"
    onnx.save(plain, path)
    nodes = len(plain.graph.node)
    yield Engine(engine="ort", preset="", model=path, python=sys.executable, nodes=nodes)
    for preset in presets_of(name, options):
        began = time.perf_counter()
        graph = compile_model(
            plain, composite=preset, target=1, without=options.without, weights=options.weights
        )
        took = time.perf_counter() - began
        file = folder / f"{name}.{preset}.onnx"
        graph.save(file)
        print(f"# {name} {preset}: compiled in {took:.1f} s", file=sys.stderr, flush=True)
        yield Engine(
            engine="ort",
            preset=preset,
            model=file,
            python=sys.executable,
            nodes=len(graph.model.graph.node),
            new_bytes=new_bytes(plain, graph.model),
            limit=least_passes(plain, preset),
        )


def presets_of(name: str, options: argparse.Namespace) -> Sequence[str]:
    """Return the presets that were asked for, or those that tell something of the network."""
    return options.presets or OTHERS.get(name, DEFAULT_PRESETS)


def new_bytes(plain: ModelProto, explained: ModelProto) -> int:
    """Return the bytes of initializers that only the explanation graph has."""
    known = {tensor.name for tensor in plain.graph.initializer}
    return sum(t.ByteSize() for t in explained.graph.initializer if t.name not in known)


def least_passes(plain: ModelProto, preset: str) -> float | None:
    """Return the arithmetic limit in forward passes, None where no count is known."""
    try:
        return limit(plain, preset, {"N": 1, "L": LENGTH})
    except NoCountError as unknown:
        print(f"# no limit: {unknown}", file=sys.stderr)
        return None


def peers(file: Path, presets: Sequence[str], options: argparse.Namespace) -> Iterator[Engine]:
    """Yield the engines of the peers that were asked for and that a Python can import."""
    python = options.peer_python
    if "torch" in options.peers and importable(python, "torch"):
        yield Engine(engine="torch", preset="", model=file, python=python)
        yield Engine(engine="torch-gradient", preset="gradient", model=file, python=python)
    for module, known, interpreter in (
        ("zennit", ZENNIT, python),
        ("captum", CAPTUM, python),
        ("lxt", LXT, options.lxt_python),
    ):
        if module in options.peers and importable(interpreter, module):
            yield from _known(module, known, file, interpreter, presets)


def dianna(file: Path, python: str) -> Iterator[Engine]:
    """Yield DIANNA's methods, where a Python can import it."""
    if importable(python, "dianna"):
        yield from _known("dianna", dict.fromkeys(DIANNA), file, python, DIANNA)


def _known(
    module: str, known: Mapping[str, str | None], file: Path, python: str, presets: Iterable[str]
) -> Iterator[Engine]:
    for preset in presets:
        if preset in known:
            peer = known[preset] or preset
            yield Engine(engine=module, preset=preset, model=file, python=python, peer_preset=peer)


def measure(
    engines: Sequence[Engine],
    feeds: Mapping[Path, list[dict[str, Any]]],
    provider: str,
    precision: str,
    options: argparse.Namespace,
) -> dict[Engine, list[Outcome]]:
    """Let the engines take turns, one process at a time; return what each process said.

    A peer that raised gets no second turn; DIANNA has one turn, with one run.
    """
    found: dict[Engine, list[Outcome]] = {engine: [] for engine in engines}
    for turn in range(options.rounds):
        for engine in engines:
            turns = {"ort": options.rounds, "dianna": 1}.get(engine.engine, options.peer_rounds)
            if turn >= turns or any(outcome.raises for outcome in found[engine]):
                continue
            slow = engine.engine == "dianna"
            job = {
                "engine": engine.engine,
                "model": str(engine.model),
                "preset": engine.peer_preset,
                "feeds": feeds[engine.model],
                "batches": [1] if slow else sorted(options.batch),
                "repeats": options.repeats,
                "seconds": 0 if slow else options.seconds,
                "skip_s": options.skip_s,
                "threads": options.threads,
                "provider": provider,
                "precision": precision,
            }
            limit_s = DIANNA_TIMEOUT if slow else options.timeout
            outcome = run_worker(engine.python, job, limit_s)
            found[engine].append(outcome)
            if outcome.raises:
                print(f"# {engine.engine} {engine.preset}: {outcome.raises}", file=sys.stderr)
    return found


def bench(name: str, provider: str, precision: str, options: argparse.Namespace) -> list[Line]:
    """Measure one network on one provider."""
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        folder, source = Path(place), build(name)
        plain = half(source) if precision == "fp16" else source
        engines = list(ours(name, plain, folder, options))
        feeds = {engine.model: specs(plain) for engine in engines}
        if options.peers and provider != "tensorrt" and precision != "fp16":
            twin = embedded(name, source)
            file = folder / f"{name}.peer.onnx"
            onnx.save(twin, file)
            feeds[file] = specs(twin)
            engines += peers(file, presets_of(name, options), options)
            if "dianna" in options.peers and name in options.dianna:
                few = folder / f"{name}.few.onnx"
                onnx.save(first_classes(source, FEW), few)
                feeds[few] = specs(source)
                engines += dianna(few, options.dianna_python)
        found = measure(engines, feeds, provider, precision, options)
        setting = Setting(
            model=name,
            provider=provider,
            precision=precision,
            commit=commit(),
            variant=variant(options),
        )
        return list(lines(setting, sorted(options.batch), found))


def variant(options: argparse.Namespace) -> str:
    """Return what differs from the usual compilation."""
    parts = ["recompute"] if options.weights == "recompute" else []
    return ", ".join([*parts, *(f"without {name}" for name in options.without)])


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=list(LARGE), choices=list(NETS))
    add("--presets", nargs="+", help="names, or `all`; default: four, fewer for transformers")
    add("--without", nargs="+", default=[], help="optimisations that are left out")
    add("--weights", default="fold", choices=["fold", "recompute"])
    add("--batch", type=int, nargs="+", default=[1])
    add("--providers", nargs="+", default=["cpu"], choices=["cpu", "cuda", "tensorrt"])
    add("--precision", nargs="+", default=["fp32"], choices=["fp32", "fp16", "tf32"])
    add("--rounds", type=int, default=3, help="processes of each engine")
    add("--peer-rounds", type=int, default=1, help="processes of each engine of a peer")
    add("--repeats", type=int, default=10, help="most runs of a batch in each process")
    add("--seconds", type=float, default=3.0, help="no further run of a batch after these")
    add("--skip-s", type=float, default=60.0, help="a larger batch is left out beyond this")
    add("--timeout", type=float, default=300.0, help="seconds of a process")
    add("--threads", type=int, default=os.cpu_count())
    add("--peers", nargs="*", default=list(PEERS), choices=PEERS)
    add("--no-peers", dest="peers", action="store_const", const=[])
    add("--peer-python", default=sys.executable, metavar="PATH")
    add("--lxt-python", default=sys.executable, metavar="PATH")
    add("--dianna-python", default=sys.executable, metavar="PATH")
    add("--dianna", nargs="*", default=["resnet50"], choices=list(NETS), metavar="MODEL")
    add("--out", type=Path, metavar="FILE.jsonl", help="append the lines to this file")
    options = parser.parse_args(arguments)
    if options.presets == ["all"]:
        options.presets = [preset.name for preset in PRESETS]
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parse(arguments)
    measured: list[Line] = []
    for name in options.models:
        for provider in options.providers:
            for precision in options.precision:
                for line in bench(name, provider, precision, options):
                    publish(line, options.out)
                    measured.append(line)
    print("\n".join(summary(measured)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
