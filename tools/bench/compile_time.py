"""Times compilation over depth.

The network is a chain of residual blocks: Conv, Relu, Add, Sigmoid, Mul. Prints one JSON line per
measurement, then for each preset a straight line fitted to the seconds by least squares and the
exponent of growth, the slope of log seconds over log nodes; `--plot` draws both.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
from onnx import ModelProto, TensorProto, helper, numpy_helper  # noqa: E402
from PIL import Image  # noqa: E402

from onnxlrp.compile import compile as compile_model  # noqa: E402
from tools.bench.explain import commit  # noqa: E402
from tools.bench.plot import draw, straight  # noqa: E402

BLOCK = 5
"""Nodes of one block."""

NODES = (250, 500, 1000, 2000, 3000, 4000, 5000)
PRESETS = ("epsilon", "epsilon-plus")
CHANNELS, SIDE = 8, 4


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measurement as it is printed.

    `s_cpu` is the time of the processor, `s_wall` that of the clock, both of the fastest repeat;
    `busy` is the load average: above the number of cores the clock is that of a shared machine.
    """

    model: str
    preset: str
    nodes: int
    emitted: int
    s_cpu: float
    s_wall: float
    busy: float
    commit: str


@dataclass(frozen=True)
class Fit:
    """Seconds = start + slope * nodes, and the exponent of growth.

    Attributes:
        start: Seconds without nodes.
        slope: Seconds per node.
        exponent: Slope of log seconds over log nodes; 1 is linear.
        worst: Largest distance from the line, as a share of the largest measurement.
    """

    start: float
    slope: float
    exponent: float
    worst: float


def deep(blocks: int) -> ModelProto:
    """Build a chain of residual blocks with random weights."""
    rng = np.random.default_rng(0)
    nodes, weights, x = [], [], "x"
    for k in range(blocks):
        w = (rng.standard_normal((CHANNELS, CHANNELS, 1, 1)) / 3).astype(np.float32)
        weights.append(numpy_helper.from_array(w, f"w{k}"))
        for op, inputs in (
            ("Conv", [x, f"w{k}"]),
            ("Relu", [f"Conv{k}"]),
            ("Add", [f"Relu{k}", x]),
            ("Sigmoid", [f"Add{k}"]),
            ("Mul", [f"Add{k}", f"Sigmoid{k}"]),
        ):
            nodes.append(helper.make_node(op, inputs, [f"{op}{k}"], name=f"{op}{k}"))
        x = f"Mul{k}"
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", CHANNELS, SIDE, SIDE])
        for name in ("x", x)
    ]
    graph = helper.make_graph(nodes, "deep", ends[:1], ends[1:], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def measure(presets: Sequence[str], nodes: Sequence[int], repeats: int) -> Iterator[Line]:
    """Compile each depth with each preset; the first compilation of all is not counted."""
    stamp = commit()
    compile_model(deep(2), composite=presets[0])
    for count in nodes:
        model = deep(count // BLOCK)
        for preset in presets:
            runs = [_timed(model, preset) for _ in range(repeats)]
            yield Line(
                model="residual",
                preset=preset,
                nodes=len(model.graph.node),
                emitted=runs[0][2],
                s_cpu=round(min(run[0] for run in runs), 3),
                s_wall=round(min(run[1] for run in runs), 3),
                busy=round(os.getloadavg()[0], 1),
                commit=stamp,
            )


def _timed(model: ModelProto, preset: str) -> tuple[float, float, int]:
    cpu, wall = time.process_time(), time.perf_counter()
    made = compile_model(model, composite=preset)
    taken = time.process_time() - cpu, time.perf_counter() - wall
    return *taken, len(made.model.graph.node)


def fit(nodes: Sequence[int], seconds: Sequence[float]) -> Fit:
    """Fit a straight line, and a power, by least squares."""
    n, s = np.array(nodes, dtype=float), np.array(seconds, dtype=float)
    line = straight(list(zip(nodes, seconds, strict=True)))
    exponent, _ = np.polyfit(np.log(n), np.log(s), 1)
    return Fit(line.start, line.slope, float(exponent), line.worst)


def fits(measured: Sequence[Line]) -> dict[str, Fit]:
    """Fit each preset."""
    found = {}
    for preset in dict.fromkeys(line.preset for line in measured):
        own = [line for line in measured if line.preset == preset]
        found[preset] = fit([line.nodes for line in own], [line.s_cpu for line in own])
    return found


def picture(measured: Sequence[Line], found: dict[str, Fit]) -> Image.Image:
    """Draw seconds over nodes: the measurements as dots, the fitted lines through them."""
    series = {
        preset: [(float(m.nodes), m.s_cpu) for m in measured if m.preset == preset]
        for preset in found
    }
    return draw("Compile time over depth", ("nodes", "s"), series, summary(found))


def summary(found: dict[str, Fit]) -> list[str]:
    """Return one line of text for each preset."""
    return [
        f"{preset}: {1e3 * line.slope:.2f} ms per node {line.start:+.2f} s, "
        f"exponent {line.exponent:.2f}, off the line by at most {line.worst:.0%}"
        for preset, line in found.items()
    ]


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=list(NODES))
    parser.add_argument("--presets", nargs="+", default=list(PRESETS))
    parser.add_argument("--repeats", type=int, default=2, help="the fastest counts")
    parser.add_argument("--plot", type=Path, metavar="FILE.png")
    options = parser.parse_args(arguments)
    if len(set(options.nodes)) < 2 or min(options.nodes) < BLOCK:
        parser.error(f"--nodes: two or more different depths of at least {BLOCK} nodes are needed")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print and draw."""
    options = parse(arguments)
    measured: list[Line] = []
    for line in measure(options.presets, options.nodes, options.repeats):
        print(json.dumps(asdict(line)), flush=True)
        measured.append(line)
    found = fits(measured)
    print("\n".join(summary(found)))
    if options.plot is not None:
        picture(measured, found).save(options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
