"""Times loading a session beside the weights that it derives, against the plain session.

Sessions are opened in processes of their own, which take turns; the shortest time counts. Prints
one JSON line per measurement.
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
from onnx import ModelProto  # noqa: E402

from onnxlrp.compile import compile as compile_model  # noqa: E402
from onnxlrp.costs import count  # noqa: E402
from tools.bench.nets import LARGE, NETS, build  # noqa: E402
from tools.bench.process import commit, run_worker  # noqa: E402
from tools.bench.records import publish  # noqa: E402

MIB = 2**20
WEIGHTS = ("fold", "recompute")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measurement as it is printed.

    Attributes:
        weights: `fold` or `recompute`; empty for the plain session.
        load_s: Shortest time to open the session.
        loaded_mib: Memory that the session then holds, the least of the processes.
        load_peak_mib: Largest memory while it is opened, the least of the processes.
        weights_mib: Initializers of the file.
        derived_mib: Weights that are derived at load, by shape inference.
        derived: How many such values there are.
        forms: Derived bytes over weight bytes: how many forms of each weight there are.
        load_per_form: Load time beyond the plain session's, per form, over the plain session's.
        memory_per_form: Memory beyond the plain session's, over the derived bytes.
    """

    kind: str = "load"
    model: str
    preset: str
    weights: str
    load_s: float
    loaded_mib: float
    load_peak_mib: float
    weights_mib: float
    derived_mib: float = 0.0
    derived: int = 0
    forms: float = 0.0
    load_per_form: float | None = None
    memory_per_form: float | None = None
    commit: str = ""


@dataclass(frozen=True)
class Case:
    """A file to open."""

    preset: str
    weights: str
    path: Path
    derived_bytes: int = 0
    derived: int = 0


def cases(plain: ModelProto, presets: Sequence[str], folder: Path) -> Iterator[Case]:
    """Write the plain model and the explanation graphs; yield what is opened."""
    path = folder / "plain.onnx"
    onnx.save(plain, path)
    yield Case("", "", path)
    for preset in presets:
        for weights in WEIGHTS:
            graph = compile_model(plain, composite=preset, target=1, weights=weights)
            path = folder / f"{preset}.{weights}.onnx"
            graph.save(path)
            cost = count(graph.model)
            known = weights == "fold"
            size, number = (cost.derived_size, len(cost.derived)) if known else (0, 0)
            yield Case(preset, weights, path, size, number)


def measure(name: str, options: argparse.Namespace) -> Iterator[Line]:
    """Open the sessions of one network in turns."""
    plain, stamp = build(name), commit()
    held = sum(len(tensor.raw_data) for tensor in plain.graph.initializer)
    with tempfile.TemporaryDirectory(prefix="load-") as place:
        every = list(cases(plain, options.presets, Path(place)))
        found: dict[Case, list[dict[str, Any]]] = {case: [] for case in every}
        for _ in range(options.rounds):
            for case in every:
                outcome = run_worker(sys.executable, _job(case.path, options.threads), 300)
                found[case] += outcome.results
    base = _best(found[every[0]])
    for case, results in found.items():
        yield _line(case, _best(results), base, held, name, stamp)


def _best(results: Sequence[dict[str, Any]]) -> dict[str, float]:
    keys = ("load_s", "loaded_mib", "load_peak_mib")
    return {key: round(min(result[key] for result in results), 3) for key in keys}


def _line(
    case: Case, own: dict[str, float], base: dict[str, float], held: int, name: str, stamp: str
) -> Line:
    forms, size = case.derived_bytes / held, case.derived_bytes / MIB
    more_s, more_mib = own["load_s"] - base["load_s"], own["loaded_mib"] - base["loaded_mib"]
    return Line(
        model=name,
        preset=case.preset,
        weights=case.weights,
        weights_mib=round(held / MIB, 1),
        derived_mib=round(size, 1),
        derived=case.derived,
        forms=round(forms, 2),
        load_per_form=round(more_s / forms / base["load_s"], 3) if forms else None,
        memory_per_form=round(more_mib / size, 3) if forms else None,
        commit=stamp,
        **own,
    )


def _job(path: Path, threads: int) -> dict[str, Any]:
    return {
        "engine": "ort",
        "model": str(path),
        "preset": "",
        "feeds": [],
        "batches": [],
        "repeats": 0,
        "seconds": 0,
        "skip_s": 0,
        "threads": threads,
        "provider": "cpu",
        "precision": "fp32",
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=list(LARGE), choices=list(NETS))
    add("--presets", nargs="+", default=["epsilon", "epsilon-plus", "epsilon-gamma-box"])
    add("--rounds", type=int, default=3, help="processes of each session")
    add("--threads", type=int, default=os.cpu_count())
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
