"""Compares the memory of an explanation with the live set of its graph, and with zennit's.

Each batch of each engine runs in a process of its own, ours as `Explainer` opens it: the peak of
the resident memory while it runs, without what the process held before it loaded the model.
The live set is what the optimised graph needs at
its fullest step (see `tools.bench.live`), weights included. Prints one JSON line per measurement.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import onnx  # noqa: E402

from onnxlrp.compile import compile as compile_model  # noqa: E402
from tools.bench.explain import ZENNIT  # noqa: E402
from tools.bench.live import live_set  # noqa: E402
from tools.bench.nets import NETS, build, draw, specs  # noqa: E402
from tools.bench.process import commit, importable, run_worker  # noqa: E402
from tools.bench.records import publish  # noqa: E402

MIB = 2**20


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measurement as it is printed.

    Attributes:
        weights: `fold` or `recompute`, how the graph was compiled.
        peak_mib: Largest memory while running, None where the engine raised.
        live_mib: Values that are alive together at the fullest step, None for peers.
        weights_mib: Constants of the executed graph, None for peers.
        over_live: Peak over live values and weights.
    """

    kind: str = "memory"
    model: str
    engine: str
    preset: str
    weights: str
    batch: int
    peak_mib: float | None
    live_mib: float | None = None
    weights_mib: float | None = None
    over_live: float | None = None
    raises: str = ""
    commit: str = ""


def measure(name: str, options: argparse.Namespace) -> Iterator[Line]:
    """Measure one network."""
    plain, stamp = build(name), commit()
    with tempfile.TemporaryDirectory(prefix="memory-") as place:
        source = Path(place) / "plain.onnx"
        onnx.save(plain, source)
        feeds = specs(plain)
        for preset in ("", *options.presets):
            file = Path(place) / "explained.onnx"
            if preset:
                made = compile_model(plain, composite=preset, target=1, weights=options.weights)
                made.save(file)
            for batch in options.batch:
                own = _ours(file if preset else source, feeds, batch, options)
                yield _line(own, model=name, preset=preset, batch=batch, stamp=stamp)
                if preset in ZENNIT and importable(options.peer_python, "zennit"):
                    job = _job("zennit", source, feeds, batch, options) | {"preset": ZENNIT[preset]}
                    found = _peak(options.peer_python, job, options.timeout) | {"engine": "zennit"}
                    yield _line(found, model=name, preset=preset, batch=batch, stamp=stamp)


def _line(found: dict[str, Any], *, model: str, preset: str, batch: int, stamp: str) -> Line:
    return Line(model=model, preset=preset, batch=batch, commit=stamp, **found)


def _ours(
    file: Path, feeds: list[dict[str, Any]], batch: int, options: argparse.Namespace
) -> dict[str, Any]:
    found = _peak(sys.executable, _job("ort", file, feeds, batch, options), options.timeout)
    live = live_set(file, {spec["name"]: draw(spec, batch) for spec in feeds}, options.threads)
    peak = found["peak_mib"]
    return found | {
        "engine": "ort",
        "weights": options.weights + (", not packed" if options.no_pack else ""),
        "live_mib": round(live.values / MIB, 1),
        "weights_mib": round(live.weights / MIB, 1),
        "over_live": None if peak is None else round(peak * MIB / live.total, 3),
    }


def _peak(python: str, job: dict[str, Any], timeout: float) -> dict[str, Any]:
    outcome = run_worker(python, job, timeout)
    peaks = [result["peak_mib"] for result in outcome.results]
    peak = round(peaks[0], 1) if peaks else None
    return {"peak_mib": peak, "weights": "", "raises": outcome.raises}


def _job(
    engine: str, file: Path, feeds: list[dict[str, Any]], batch: int, options: argparse.Namespace
) -> dict[str, Any]:
    return {
        "engine": engine,
        "model": str(file),
        "preset": "",
        "feeds": feeds,
        "batches": [batch],
        "repeats": 2,
        "seconds": options.seconds,
        "skip_s": 0,
        "threads": options.threads,
        "provider": "cpu",
        "precision": "fp32",
        "settings": {"threads": options.threads, "pack": not options.no_pack},
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=["vgg16", "resnet50"], choices=list(NETS))
    add("--presets", nargs="*", default=["epsilon", "epsilon-plus"])
    add("--batch", type=int, nargs="+", default=[1, 2, 4, 8])
    add("--weights", default="fold", choices=["fold", "recompute"])
    add("--no-pack", action="store_true", help="without packed copies of dense weights")
    add("--seconds", type=float, default=1.0, help="no further run after these")
    add("--timeout", type=float, default=300.0, help="seconds of a process")
    add("--threads", type=int, default=os.cpu_count())
    add("--peer-python", default=sys.executable, metavar="PATH")
    add("--out", type=Path, metavar="FILE.jsonl", help="append the lines to this file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = parse(arguments)
    for name in options.models:
        for line in measure(name, options):
            publish(line, options.out)
    return 0


if __name__ == "__main__":
    sys.exit(main())
