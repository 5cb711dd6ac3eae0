"""Compiles random and damaged models and says what came of each; `python -m tests.fuzz.judge`."""

import json
import signal
import sys
import traceback
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from google.protobuf.message import DecodeError

import onnxlrp
from tests.fuzz import generate, mutate

SECONDS = 20
"""A model that takes longer hangs."""

AGREES = 0.02
"""Of the size of the slope: central differences in float32, of functions that may be curved."""

KINK = 0.1
"""Of the size of the slope: slopes to the left and right differ by more only at a kink."""

STOPS = {"Clip", "GridSample", "RoiAlign", "Upsample", "Resize", "Dropout", "PRelu"}
"""Operators that have inputs through which, by declaration, nothing flows."""


def model(seed: int) -> tuple[bytes, str]:
    """The model of a seed, and how it was made."""
    rng = np.random.default_rng(seed)
    source = generate.model(int(rng.integers(0, 2**31)))
    kind = ("valid", "graph", "graph", "bytes")[seed % 4]
    if kind == "valid":
        return source.SerializeToString(), kind
    if kind == "graph":
        return mutate.damage_graph(source, rng), kind
    return mutate.damage_bytes(source.SerializeToString(), rng), kind


def judge(data: bytes) -> Counter[str]:
    """What came of one model: counts of `parsed`, `checked`, and one outcome."""
    counts: Counter[str] = Counter()
    try:
        parsed = onnx.load_model_from_string(data)
        counts["parsed"] += 1
        onnx.checker.check_model(parsed)
        counts["checked"] += 1
    except (DecodeError, onnx.checker.ValidationError, ValueError, RuntimeError):
        parsed = None
    try:
        graph = onnxlrp.compile(data, composite="gradient", target="seed", keep_softmax=True)
    except onnxlrp.Error as error:
        text = str(error)
        counts["refused" if text and "\n" not in text else "unclear"] += 1
        return counts
    counts["compiled"] += 1
    counts[slope(data, graph)] += 1
    return counts


def session(data: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def slope(data: bytes, graph: onnxlrp.ExplanationGraph) -> str:
    """Whether the gradient is that of central differences along a random direction."""
    rng = np.random.default_rng(0)
    try:
        run = session(data)
        feeds = {v.name: _draw(rng, v) for v in run.get_inputs()}
        first = run.run([graph.metadata.output], feeds)[0]
        moves = {n: rng.standard_normal(feeds[n].shape) for n in graph.metadata.inputs}
        weights = rng.standard_normal(first.shape)
        steps = ((-2e-2, 2e-2), (-1e-2, 1e-2), (-5e-3, 5e-3), (0, 5e-3), (-5e-3, 0))
        slopes = [_difference(run, graph, feeds, moves, weights, *step) for step in steps]
    except Exception:  # noqa: BLE001 - ONNX Runtime raises many types, and refuses the source
        return "not runnable"
    if not all(np.isfinite(slopes)) or _declared(graph.model, data):
        return "not comparable"
    size = max(abs(slopes[2]), 1e-1)
    if max(abs(slope - slopes[2]) for slope in slopes[:2]) > AGREES * size:
        return "not smooth"
    if abs(slopes[3] - slopes[4]) > KINK * size:
        return "not smooth"
    given = {**feeds, "seed": weights.astype(np.float32)}
    outputs = session(graph.to_bytes()).run([f"relevance/{n}" for n in moves], given)
    found = sum(float((r * m).sum()) for r, m in zip(outputs, moves.values(), strict=True))
    return "agrees" if abs(found - slopes[2]) <= 2 * AGREES * size else "differs"


def _declared(compiled: onnx.ModelProto, data: bytes) -> bool:
    return any(node.op_type in STOPS for node in compiled.graph.node if "lrp/" not in node.name)


def _draw(rng: np.random.Generator, value: ort.NodeArg) -> np.ndarray:
    shape = [dim if isinstance(dim, int) else 2 for dim in value.shape]
    if value.type == "tensor(float)":
        return rng.standard_normal(shape).astype(np.float32)
    if value.type == "tensor(double)":
        return rng.standard_normal(shape)
    if value.type == "tensor(float16)":
        return rng.standard_normal(shape).astype(np.float16)
    kind = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_}
    return np.ones(shape, dtype=kind.get(value.type, np.uint8))


def _difference(run, graph, feeds, moves, weights, low, high):
    def value(h: float) -> float:
        moved = {n: (feeds[n] + h * m).astype(feeds[n].dtype) for n, m in moves.items()}
        y = run.run([graph.metadata.output], {**feeds, **moved})[0]
        return float((y.astype(np.float64) * weights).sum())

    return (value(high) - value(low)) / (high - low)


def _alarm(*_: object) -> None:
    raise TimeoutError


def say(**fields: object) -> None:
    """One line of JSON, at once: a crash of a library must not take it along."""
    sys.stdout.write(json.dumps(fields) + "\n")
    sys.stdout.flush()


def main(first: int, last: int) -> None:
    """Judge the models of a range of seeds; print a line for each that went wrong, then counts."""
    signal.signal(signal.SIGALRM, _alarm)
    total: Counter[str] = Counter()
    for seed in range(first, last):
        say(at=seed)
        data, kind = model(seed)
        signal.alarm(SECONDS)
        try:
            counts = judge(data)
        except TimeoutError:
            counts = Counter({"hang": 1})
        except Exception as error:  # noqa: BLE001 - that is what is looked for
            counts = Counter({"crash": 1})
            last_call = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{Path(last_call.filename).name}:{last_call.lineno}"
            say(seed=seed, kind=kind, error=repr(error)[:300], where=where)
        finally:
            signal.alarm(0)
        for name in {"hang", "unclear", "differs"} & set(counts):
            say(seed=seed, kind=kind, error=name)
        total += counts
    say(counts=dict(total))


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
