"""Times explanations over the batch and over the pixels, and draws both.

Each point is the shortest run of processes that take turns. Prints one JSON line per measurement;
`--plots FOLDER` writes `performance_batch.png` and `performance_pixels.png`, which are drawn from
the file of JSON lines alone with `--draw FILE.jsonl`.
"""

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import onnx  # noqa: E402

from onnxlrp.compile import compile as compile_model  # noqa: E402
from tools.bench.nets import NETS, specs  # noqa: E402
from tools.bench.plot import draw, straight  # noqa: E402
from tools.bench.process import commit, run_worker  # noqa: E402
from tools.bench.records import publish  # noqa: E402

BATCHES = (1, 2, 4, 8, 12, 16)
SIDES = (112, 160, 224, 320, 448)
USUAL = 224
SQUARE = ("vgg16", "resnet50", "mobilenet_v2", "densenet121", "convnext_t", "small_cnn")
"""Networks that can be built for any side of the picture; VGG16's dense layers grow with it."""

NAMES = {"batch": "performance_batch.png", "pixels": "performance_pixels.png"}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measurement as it is printed.

    Attributes:
        over: `batch` or `pixels`, what the series is drawn over.
        preset: Empty: the forward pass.
        side: Of the square picture.
    """

    kind: str = "sweep"
    over: str
    model: str
    preset: str
    batch: int
    side: int
    ms_min: float
    busy: float
    commit: str


@dataclass(frozen=True)
class Case:
    """A model file and what it is run with."""

    over: str
    preset: str
    side: int
    batches: tuple[int, ...]
    path: Path
    feeds: tuple[dict[str, Any], ...]

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells it from the others."""
        return self.over, self.preset, self.side


def cases(name: str, options: argparse.Namespace, folder: Path) -> Iterator[Case]:
    """Write the files of one network; yield what is run."""
    wanted = [("batch", USUAL, tuple(options.batch))] if options.batch else []
    wanted += [("pixels", side, (1,)) for side in options.sides]
    for over, side, batches in wanted:
        plain = NETS[name](size=side)
        for preset in ("", *options.presets):
            path = folder / f"{over}.{side}.{preset or 'plain'}.onnx"
            if preset:
                compile_model(plain, composite=preset, target=1).save(path)
            else:
                onnx.save(plain, path)
            yield Case(over, preset, side, batches, path, tuple(specs(plain)))


def measure(name: str, options: argparse.Namespace) -> Iterator[Line]:
    """Measure one network."""
    stamp = commit()
    with tempfile.TemporaryDirectory(prefix="sweep-") as place:
        every = list(cases(name, options, Path(place)))
        times: dict[tuple[str, str, int], dict[int, list[float]]] = {c.key: {} for c in every}
        for _ in range(options.rounds):
            for case in every:
                outcome = run_worker(sys.executable, _job(case, options), options.timeout)
                for result in outcome.results:
                    times[case.key].setdefault(result["batch"], []).extend(result["times"])
    for case in every:
        for batch, found in times[case.key].items():
            yield Line(
                over=case.over,
                model=name,
                preset=case.preset,
                batch=batch,
                side=case.side,
                ms_min=round(min(found), 3),
                busy=round(os.getloadavg()[0], 1),
                commit=stamp,
            )


def _job(case: Case, options: argparse.Namespace) -> dict[str, Any]:
    return {
        "engine": "ort",
        "model": str(case.path),
        "preset": "",
        "feeds": list(case.feeds),
        "batches": list(case.batches),
        "repeats": options.repeats,
        "seconds": options.seconds,
        "skip_s": 600,
        "threads": options.threads,
        "provider": "cpu",
        "precision": "fp32",
    }


def series(measured: Sequence[dict[str, Any]], over: str) -> dict[str, list[tuple[float, float]]]:
    """Return the points of each model and preset: samples or megapixels, and ms."""
    found: dict[str, list[tuple[float, float]]] = {}
    for line in measured:
        if line["over"] == over:
            x = line["batch"] if over == "batch" else line["side"] ** 2 / 1e6
            name = f"{line['model']} {line['preset'] or 'forward'}"
            found.setdefault(name, []).append((x, line["ms_min"]))
    return {name: points for name, points in found.items() if len(points) > 1}


def plots(measured: Sequence[dict[str, Any]], folder: Path) -> list[str]:
    """Draw what there is; return a line of text about each series."""
    said = []
    labels = {"batch": "samples per run", "pixels": "million pixels per picture"}
    for over, name in NAMES.items():
        points = series(measured, over)
        if points:
            title = f"Time over {'the batch' if over == 'batch' else 'pixels'}"
            draw(title, (labels[over], "ms"), points).save(folder / name)
        for text, values in points.items():
            line = straight(values)
            said.append(
                f"{over}: {text}: {line.slope:.1f} ms per unit {line.start:+.1f} ms, off the line "
                f"by at most {line.worst:.1%}"
            )
    return said


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--models", nargs="+", default=["resnet50"], choices=SQUARE)
    add("--presets", nargs="+", default=["epsilon", "epsilon-plus"])
    add("--batch", type=int, nargs="*", default=list(BATCHES))
    add("--sides", type=int, nargs="*", default=list(SIDES))
    add("--rounds", type=int, default=2, help="processes of each file")
    add("--repeats", type=int, default=6, help="most runs of a batch in each process")
    add("--seconds", type=float, default=12.0, help="no further run of a batch after these")
    add("--timeout", type=float, default=300.0, help="seconds of a process")
    add("--threads", type=int, default=os.cpu_count())
    add("--out", type=Path, metavar="FILE.jsonl", help="append the lines to this file")
    add("--plots", type=Path, metavar="FOLDER", help="draw into this folder")
    add("--draw", type=Path, metavar="FILE.jsonl", help="measure nothing, draw these lines")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and draw."""
    options = parse(arguments)
    measured: list[dict[str, Any]] = []
    if options.draw is not None:
        read = [json.loads(text) for text in options.draw.read_text().splitlines()]
        measured = [line for line in read if line.get("kind") == "sweep"]
    else:
        for name in options.models:
            for line in measure(name, options):
                publish(line, options.out)
                measured.append(asdict(line))
    if options.plots is not None:
        print("\n".join(plots(measured, options.plots)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
