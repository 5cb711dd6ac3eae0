"""Prints how ONNX Runtime spends the time of an explanation, by operator type."""

import argparse
import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

from onnxlrp.compile import compile as compile_model  # noqa: E402
from tools.bench.nets import NETS, build, image_shape  # noqa: E402


def profile(model: str, shape: Sequence[int], threads: int, repeats: int, folder: Path) -> Path:
    """Run a model with profiling on; return the file that ONNX Runtime wrote."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    x = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    for _ in range(repeats):
        session.run(None, {session.get_inputs()[0].name: x})
    return Path(session.end_profiling())


def times(file: Path) -> tuple[Counter[str], Counter[str], float]:
    """Return microseconds and calls by operator type, and those of all runs."""
    spent: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    total = 0.0
    for event in json.loads(file.read_text()):
        if event["name"] == "model_run":
            total += event["dur"]
        elif event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            spent[event["args"]["op_name"]] += event["dur"]
            calls[event["args"]["op_name"]] += 1
    return spent, calls, total


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the operator types by share of time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", choices=list(NETS))
    parser.add_argument("preset", nargs="?", default="", help="without it: the forward pass")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    options = parser.parse_args(arguments)
    plain = build(options.model)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "model.onnx"
        if options.preset:
            compile_model(plain, composite=options.preset, target=1).save(path)
        else:
            path.write_bytes(plain.SerializeToString())
        shape = image_shape(plain, options.batch)
        file = profile(str(path), shape, options.threads, options.repeats, Path(folder))
        spent, calls, total = times(file)
    runs = options.repeats
    print(f"{options.model} {options.preset or 'forward'}: {total / runs / 1e3:.1f} ms per run")
    for name, duration in spent.most_common():
        count = calls[name] / runs
        print(f"{name:24s} {duration / runs / 1e3:9.2f} ms {duration / total:6.1%} {count:6.0f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
