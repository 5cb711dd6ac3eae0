"""Measures one engine in a process of its own: a JSON object in, a line of JSON out per batch.

Keys of the object: `engine`, `model` (path), `preset` (empty: the forward pass), `feeds` (specs of
the inputs, see `tools.bench.nets`), `batches` (ascending; none: the model is only loaded),
`repeats`, `seconds` (no further run once they are spent), `skip_s` (a larger batch is skipped where
one run would take longer), `threads`, `provider` (`cpu`, `cuda`, `tensorrt`) and `precision`
(`fp32`, `fp16`, `tf32`). With `settings` (of `onnxlrp.runtime.settings`) the session is opened
as `Explainer` opens it.
"""

import importlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from numpy.typing import NDArray  # noqa: E402

Job = Mapping[str, Any]
Feed = dict[str, NDArray[Any]]
Run = Callable[[], object]
Engine = Callable[[Job], Callable[[Feed], Run]]
"""Loads a model; what it returns prepares the runs of one feed."""

CLOCK_MS = 1e3
PROVIDERS = {
    "cpu": ["CPUExecutionProvider"],
    "cuda": ["CUDAExecutionProvider", "CPUExecutionProvider"],
    "tensorrt": ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
}
MODULES = {
    "ort": ("onnxruntime",),
    "dianna": ("dianna", "shap", "skimage.segmentation", "onnxruntime"),
    "lxt": ("torch", "lxt.explicit.functional"),
    "captum": ("torch", "captum.attr"),
}
"""Imported before the memory is read; the other engines need torch."""


def ort_engine(job: Job) -> Callable[[Feed], Run]:
    """Open a session on the model, which is an explanation graph or the plain one."""
    import onnxruntime

    if "settings" in job:
        from onnxlrp.runtime.providers import open_session
        from onnxlrp.runtime.settings import Settings

        chosen = open_session(job["model"], PROVIDERS["cpu"], Settings(**job["settings"]))
        return lambda feed: lambda: chosen.run(None, feed)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.log_severity_level = 3
    cuda = {"use_tf32": str(int(job["precision"] == "tf32"))}
    names = PROVIDERS[job["provider"]]
    if job["provider"] != "cpu" and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    providers = [(name, cuda if name.startswith("CUDA") else {}) for name in names]
    session = onnxruntime.InferenceSession(job["model"], options, providers=providers)
    if job["provider"] == "cpu":
        return lambda feed: lambda: session.run(None, feed)
    assert "CUDAExecutionProvider" in session.get_providers(), "the session is not on CUDA"
    assert names[0] in session.get_providers(), f"the session is not on {names[0]}"
    session.disable_fallback()
    return lambda feed: bound(session, feed, "cuda")


def bound(session: Any, feed: Feed, device: str) -> Run:
    """Return a run whose inputs and outputs stay on the device."""
    import onnxruntime

    binding = session.io_binding()
    for name, array in feed.items():
        value = onnxruntime.OrtValue.ortvalue_from_numpy(array, device, 0)
        binding.bind_ortvalue_input(name, value)
    for output in session.get_outputs():
        binding.bind_output(output.name, device, 0)

    def run() -> None:
        session.run_with_iobinding(binding)
        binding.synchronize_outputs()

    return run


def peer_engine(job: Job) -> Callable[[Feed], Run]:
    """Load an engine of `tools.peers.timed`, or DIANNA."""
    if job["engine"] == "dianna":
        from tools.peers.live_dianna import dianna_engine

        return dianna_engine(job)
    from tools.peers.timed import ENGINES

    return ENGINES[job["engine"]](job)


def measure(job: Job) -> Iterator[dict[str, object]]:
    """Load, then for each batch run once to warm up and time every further run."""
    from tools.bench.nets import draw

    for module in MODULES.get(job["engine"], ("torch",)):
        importlib.import_module(module)
    feeds = {b: {spec["name"]: draw(spec, b) for spec in job["feeds"]} for b in job["batches"]}
    idle = resident("VmRSS") if job["provider"] == "cpu" else 0.0
    forget_peak()
    began = time.perf_counter()
    prepare = (ort_engine if job["engine"] == "ort" else peer_engine)(job)
    load = {
        "load_s": time.perf_counter() - began,
        "load_peak_mib": peak_mib(job) - idle,
        "loaded_mib": resident("VmRSS") - idle,
    }
    if not feeds:
        yield {"batch": 0, **load}
    last = (0, 0.0)
    for batch, feed in feeds.items():
        expected = last[1] * batch / max(last[0], 1) / CLOCK_MS
        if expected > job["skip_s"]:
            yield {"batch": batch, "skipped": f"about {expected:.0f} s a run"}
            continue
        forget_peak()
        times, first = timed(prepare(feed), job)
        last = (batch, min(times))
        yield {"batch": batch, "times": times, "first_ms": first, **load} | {
            "peak_mib": peak_mib(job) - idle
        }


def timed(run: Run, job: Job) -> tuple[list[float], float]:
    """Milliseconds of each run, and of the first; that alone where it has spent all seconds."""
    began = time.perf_counter()
    run()
    first = (time.perf_counter() - began) * CLOCK_MS
    times: list[float] = []
    while len(times) < job["repeats"] and time.perf_counter() - began < job["seconds"]:
        start = time.perf_counter()
        run()
        times.append((time.perf_counter() - start) * CLOCK_MS)
    return times or [first], first


def peak_mib(job: Job) -> float:
    """Return the largest memory since the last `forget_peak`; on a GPU that of the device now.

    `ru_maxrss` would not do on Linux: a process inherits that of the one that started it.
    """
    return device_mib() if job["provider"] != "cpu" else resident("VmHWM")


def resident(key: str) -> float:
    """Return a line of this process's status in MiB: VmRSS or VmHWM, its peak."""
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    line = next(line for line in status.read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 2**10


def forget_peak() -> None:
    """Let the peak of this process start again from its present memory (Linux)."""
    switch = Path("/proc/self/clear_refs")
    if switch.exists():
        switch.write_text("5")


def device_mib() -> float:
    """Return the memory of the GPU that this process holds, NaN where the driver does not tell."""
    query = ["nvidia-smi", "--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"]
    found = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    rows = [line.split(",") for line in found.splitlines()]
    held = [float(used) for pid, used in rows if int(pid) == os.getpid()]
    return held[0] if held else float("nan")


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    os.environ.setdefault("OMP_NUM_THREADS", str(given["threads"]))
    for found in measure(given):
        print(json.dumps(found), flush=True)
