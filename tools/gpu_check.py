"""Checks explanation graphs on a GPU: where each node runs, agreement, conservation, time.

Opens every graph on the CUDA provider (TF32 off) and on the CPU, and writes what it finds to a
JSON file. The status is 1 where there is no GPU, a node that we emitted is not on CUDA, or values
disagree. `--provider cpu` runs the same script without a GPU, to test the script itself.
`tools/gpu_bench.sh` makes one call of it, of the tests that need a GPU and of the benchmark.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import ModelProto  # noqa: E402

from onnxlrp.compile import compile as compile_model  # noqa: E402
from onnxlrp.composites.presets import PRESETS  # noqa: E402
from onnxlrp.runtime.providers import cuda_works  # noqa: E402
from tools.bench.nets import LARGE, NETS, SMALL, build, image_shape  # noqa: E402
from tools.cuda_table import SCOPE, missing, shape_arithmetic  # noqa: E402

Array = np.ndarray
Found = dict[str, Any]

CUDA, CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
TARGET = 1
AGREEMENT = 1e-3  # cuDNN may use Winograd and FFT convolutions, whose rounding is coarser
CONSERVATION = 1e-3  # the bound of the tests on the CPU, for nets without bias
CONSERVING = ("epsilon", "gradient-x-input")
VIT = "vit_b16"
LARGE_PRESETS = ("epsilon", "epsilon-plus", "epsilon-plus-flat", "epsilon-gamma-box", "gradient")


def open_session(model: ModelProto, provider: str) -> onnxruntime.InferenceSession:
    """Open a session on a provider, or fail where the session is not on it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    providers = [(CUDA, {"use_tf32": "0"}), CPU] if provider == CUDA else [CPU]
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=providers)
    assert provider in session.get_providers(), f"the session is not on {provider}"
    session.disable_fallback()
    return session


def assignment(session: onnxruntime.InferenceSession, model: ModelProto, provider: str) -> Found:
    """Return how many emitted and deployed nodes are on the provider, and which are not."""
    host = shape_arithmetic(model)
    counts: Counter[str] = Counter()
    elsewhere: dict[str, str] = {}
    for part in session.get_provider_graph_assignment_info():
        for node in part.get_nodes():
            whose = "emitted" if node.name.startswith(SCOPE) else "deployed"
            here = part.ep_name == provider
            counts[whose if here else f"{whose} elsewhere"] += 1
            if not here:
                elsewhere[node.name or node.op_type] = node.op_type
            if node.op_type.startswith("Memcpy"):
                counts["copies"] += 1
    wrong = {n: op for n, op in elsewhere.items() if n.startswith(SCOPE) and n not in host}
    return {
        "counts": dict(counts),
        "emitted_elsewhere": wrong,
        "shape_arithmetic_on_host": sorted(elsewhere.keys() & host),
        "deployed_elsewhere": {n: op for n, op in elsewhere.items() if not n.startswith(SCOPE)},
        "predicted_elsewhere": missing(model),
    }


def compare(one: Sequence[Array], other: Sequence[Array]) -> tuple[float, float]:
    """Return max|difference| / max|value| of the prediction and of the relevance."""
    worst = [
        float(np.max(np.abs(a - b)) / max(float(np.max(np.abs(b))), np.finfo(np.float32).tiny))
        for a, b in zip(one, other, strict=True)
    ]
    return worst[0], max(worst[1:])


def conservation(outputs: Sequence[Array]) -> float:
    """Return the largest |sum R - f| / |f| of the batch; the nets have no bias."""
    f = outputs[0][:, TARGET].astype(np.float64)
    total = outputs[1].reshape(len(f), -1).sum(axis=1, dtype=np.float64)
    return float(np.max(np.abs(total - f) / np.abs(f)))


def timed(session: onnxruntime.InferenceSession, x: Array, device: str, repeats: int) -> Found:
    """Return the time of a run, input and outputs staying on the device."""
    binding = session.io_binding()
    value = onnxruntime.OrtValue.ortvalue_from_numpy(x, device, 0)
    binding.bind_ortvalue_input(session.get_inputs()[0].name, value)
    for output in session.get_outputs():
        binding.bind_output(output.name, device, 0)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    run()
    times = [clock(run) for _ in range(repeats)]
    return {"ms_min": round(min(times), 3), "ms_median": round(float(np.median(times)), 3)}


def clock(run: Callable[[], None]) -> float:
    """Return the milliseconds that a call takes."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) * 1e3


def check_net(name: str, presets: Sequence[str], options: argparse.Namespace) -> list[Found]:
    """Check every preset on one network."""
    provider = CUDA if options.provider == "cuda" else CPU
    plain = build(name, bias=False)
    x = np.random.default_rng(0).standard_normal(image_shape(plain, 2), dtype=np.float32)
    forward = time_batches(open_session(plain, provider), plain, options)
    found = []
    for preset in presets:
        graph = compile_model(plain, composite=preset, target=TARGET).model
        session = open_session(graph, provider)
        keeps = preset in CONSERVING and name in (*LARGE, *SMALL)
        item = check_graph(session, graph, x, provider, keeps=keeps)
        times = time_batches(session, plain, options)
        item |= {"model": name, "preset": preset, "forward": forward, "explanation": times}
        found.append(item)
        print(describe(item), flush=True)
    return found


def check_graph(
    session: onnxruntime.InferenceSession,
    graph: ModelProto,
    x: Array,
    provider: str,
    *,
    keeps: bool,
) -> Found:
    """Check one explanation graph; `wrong` lists what is not as it should be.

    `keeps`: the network has no biases and the method loses nothing, so relevance sums to the score.
    """
    feed = {session.get_inputs()[0].name: x}
    here, there = session.run(None, feed), open_session(graph, CPU).run(None, feed)
    prediction, relevance = compare(here, there)
    kept, kept_on_cpu = conservation(here), conservation(there)
    places = assignment(session, graph, provider)
    wrong = [
        f"{name} ({op}) is not on {provider}" for name, op in places["emitted_elsewhere"].items()
    ]
    if not max(prediction, relevance) <= AGREEMENT:
        wrong.append(f"differs from the CPU by {max(prediction, relevance):.1e}")
    if keeps and not kept <= CONSERVATION:
        wrong.append(f"does not conserve: {kept:.1e}")
    return {
        "provider": provider,
        "prediction_difference": prediction,
        "relevance_difference": relevance,
        "conservation": kept,
        "conservation_cpu": kept_on_cpu,
        "assignment": places,
        "wrong": wrong,
    }


def time_batches(
    session: onnxruntime.InferenceSession, plain: ModelProto, options: argparse.Namespace
) -> dict[str, Found]:
    """Return the times of a session by batch size."""
    rng = np.random.default_rng(0)
    return {
        str(batch): timed(
            session,
            rng.standard_normal(image_shape(plain, batch), dtype=np.float32),
            options.provider,
            options.repeats,
        )
        for batch in options.batch
    }


def describe(item: Found) -> str:
    """Return one line about a checked graph."""
    counts = item["assignment"]["counts"]
    ratios = []
    for batch, times in item["explanation"].items():
        ratio = times["ms_min"] / item["forward"][batch]["ms_min"]
        ratios.append(f"{batch}: {times['ms_min']:.1f} ms ({ratio:.1f}x)")
    verdict = "; ".join(item["wrong"][:3]) or "ok"
    return (
        f"{item['model']:10s} {item['preset']:26s} nodes {counts.get('emitted', 0):4d} here "
        f"{counts.get('emitted elsewhere', 0):3d} elsewhere, against CPU "
        f"{item['relevance_difference']:.1e}, conservation {item['conservation']:.1e}, "
        f"batch {', '.join(ratios)} {verdict}"
    )


def machine() -> Found:
    """Return what the results depend on."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        gpu = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        gpu = ""
    return {
        "gpu": gpu,
        "onnxruntime": onnxruntime.__version__,
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "tf32": False,
    }


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, default=Path("gpu_check.json"))
    parser.add_argument("--provider", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--models", nargs="+", choices=list(NETS), default=[*LARGE, VIT, *SMALL])
    parser.add_argument("--presets", nargs="+", help="default: all, a few for large nets")
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 8, 64])
    parser.add_argument("--repeats", type=int, default=10)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks; return 1 where something is wrong or there is no GPU."""
    options = parse(arguments)
    if options.provider == "cuda" and not cuda_works():
        print("error: ONNX Runtime finds no usable GPU here (extra `gpu`, driver, cuDNN)")
        return 1
    results: list[Found] = []
    for name in options.models:
        every = [preset.name for preset in PRESETS]
        presets = options.presets or (every if name in SMALL else LARGE_PRESETS)
        results += check_net(name, presets, options)
        report = {"machine": machine(), "provider": options.provider, "results": results}
        options.output.write_text(json.dumps(report, indent=1) + "\n")
    wrong = [item for item in results if item["wrong"]]
    print(f"{len(results)} graphs, {len(wrong)} with something wrong; see {options.output}")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
