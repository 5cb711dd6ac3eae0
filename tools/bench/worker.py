"""Measures one engine in a process of its own: a JSON object in, one line of JSON out.

Keys of the object: `engine` (`ort`, `torch`, `zennit`, `captum`), `model` (path), `preset`
(empty: the forward pass), `shape` of the input, `repeats`, `threads`.
"""

import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

Job = Mapping[str, Any]
Run = Callable[[], object]

TARGET = 1
CLOCK_MS = 1e3


def ort_engine(job: Job) -> Run:
    """Open a session on the model, which is an explanation graph or the plain one."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = job["threads"]
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        job["model"], options, providers=["CPUExecutionProvider"]
    )
    feed = {session.get_inputs()[0].name: image(job)}
    return lambda: session.run(None, feed)


def torch_engine(job: Job) -> Run:
    """Make the torch module of the model and run it forwards."""
    import torch

    module, x = _module(job), torch.tensor(image(job))

    def run() -> object:
        with torch.no_grad():
            return module(x)

    return run


def zennit_engine(job: Job) -> Run:
    """Explain the torch module of the model with zennit."""
    from tools.peers.live_zennit import Add, zennit_relevance

    module = _module(job, Add)
    return lambda: zennit_relevance(module, image(job), target(job), job["preset"])


def captum_engine(job: Job) -> Run:
    """Explain the torch module of the model with captum."""
    from tools.peers.live_captum import Add, captum_relevance

    module = _module(job, Add)
    return lambda: captum_relevance(module, image(job), target(job), job["preset"])


ENGINES = {
    "ort": ort_engine,
    "torch": torch_engine,
    "zennit": zennit_engine,
    "captum": captum_engine,
}


def image(job: Job) -> NDArray[np.float32]:
    """Return the input, equal in every process."""
    rng = np.random.default_rng(0)
    return np.asarray(rng.standard_normal(job["shape"], dtype=np.float32))


def target(job: Job) -> NDArray[np.int64]:
    """Return the explained class of each sample."""
    return np.full(job["shape"][0], TARGET, dtype=np.int64)


def measure(job: Job) -> dict[str, object]:
    """Load, run once to warm up, then time every run."""
    began = time.perf_counter()
    run = ENGINES[job["engine"]](job)
    load = time.perf_counter() - began
    run()
    times = []
    for _ in range(job["repeats"]):
        began = time.perf_counter()
        run()
        times.append((time.perf_counter() - began) * CLOCK_MS)
    return {"times": times, "load_s": round(load, 2), "peak_mib": round(peak_mib())}


def peak_mib() -> float:
    """Return the largest resident memory of this process.

    `ru_maxrss` would not do on Linux: a process inherits that of the one that started it.
    """
    status = Path("/proc/self/status")
    if not status.exists():
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 2**10


def _module(job: Job, add: Callable[[], Any] | None = None) -> Any:
    import onnx
    import torch

    from tools.peers.torch_net import TorchNet

    torch.set_num_threads(job["threads"])
    return TorchNet(onnx.load(job["model"]), add=add, fold=True).float().eval()


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", str(json.loads(sys.argv[1])["threads"]))
    print(json.dumps(measure(json.loads(sys.argv[1]))))
