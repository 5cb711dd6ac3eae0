"""Times the forms of the adjoints of convolutions and pools.

Each layer stands between two 1 x 1 convolutions, so that changes of layout count. Prints one JSON
line for each layer and form: milliseconds of the whole graph and `net` of what is not the adjoint
(the forward pass, which the graph has too, and the two convolutions), bytes of derived weights. The
line `forward` is the layer itself. The forms take turns.
`--threads 1` counts processor time and is the one to use on a machine that is not idle.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from onnxlrp.compile import compile as compile_model  # noqa: E402
from onnxlrp.graph.graph import Value  # noqa: E402
from onnxlrp.graph.tape import Tape  # noqa: E402
from onnxlrp.ops.strided import Form, Layer, forms  # noqa: E402

SIDE = 16
"""Channels outside of the two convolutions."""

CPU = "CPUExecutionProvider"
ADJOINT = "onnxlrp.ops.conv.adjoint"
NEVER = {"return_value": False}
POOL_FORMS = {
    "MaxPool": {
        "compared": {"onnxlrp.ops.pooling.pays": {"return_value": True}},
        "scattered": {"onnxlrp.ops.pooling.pays": NEVER},
    },
    "AveragePool": {
        "pooled": {},
        "transposed": {
            "onnxlrp.ops.windows._is_apart": NEVER,
            "onnxlrp.ops.windows._slides": NEVER,
        },
    },
}


@dataclass(frozen=True)
class Shape:
    """A layer: x `[C, H, H]`, M outputs (0: a pool), square kernel, stride, pads, groups."""

    name: str
    op: str
    channels: int
    outputs: int
    kernel: int
    stride: int
    pad: int
    size: int
    group: int = 1

    @property
    def result(self) -> int:
        """Height and width of y."""
        return (self.size + 2 * self.pad - self.kernel) // self.stride + 1


def conv(name: str, *sizes: int) -> Shape:
    """A convolution."""
    return Shape(name, "Conv", *sizes)


def pool(name: str, op: str, channels: int, *sizes: int) -> Shape:
    """A pool."""
    return Shape(name, op, channels, 0, *sizes)


SHAPES = (
    conv("resnet50 point 56", 256, 512, 1, 2, 0, 56),
    conv("resnet50 point 28", 512, 1024, 1, 2, 0, 28),
    conv("resnet50 point 14", 1024, 2048, 1, 2, 0, 14),
    conv("resnet50 3x3 56", 128, 128, 3, 2, 1, 56),
    conv("resnet50 3x3 28", 256, 256, 3, 2, 1, 28),
    conv("resnet50 3x3 14", 512, 512, 3, 2, 1, 14),
    conv("resnet50 stem", 3, 64, 7, 2, 3, 224),
    conv("resnet18 3x3 56", 64, 128, 3, 2, 1, 56),
    conv("odd 3x3 13", 256, 512, 3, 2, 1, 13),
    conv("vgg16 first", 3, 64, 3, 1, 1, 224),
    conv("vgg16 64 112", 64, 128, 3, 1, 1, 112),
    conv("densenet 128 28", 128, 32, 3, 1, 1, 28),
    conv("convnext patches", 3, 96, 4, 4, 0, 224),
    conv("convnext 2x2 56", 96, 192, 2, 2, 0, 56),
    conv("convnext 2x2 14", 384, 768, 2, 2, 0, 14),
    conv("vit patches", 3, 768, 16, 16, 0, 224),
    conv("depthwise stride 2 112", 96, 96, 3, 2, 1, 112, 96),
    conv("depthwise stride 2 28", 192, 192, 3, 2, 1, 28, 192),
    conv("depthwise stride 2 odd channels", 72, 72, 3, 2, 1, 56, 72),
    conv("depthwise 28", 192, 192, 3, 1, 1, 28, 192),
    conv("depthwise odd channels", 72, 72, 3, 1, 1, 28, 72),
    conv("depthwise 7x7 56", 96, 96, 7, 1, 3, 56, 96),
    conv("resnext 32 groups stride 2", 256, 256, 3, 2, 1, 56, 32),
    conv("resnext 32 groups", 256, 256, 3, 1, 1, 28, 32),
    pool("vgg16 224", "MaxPool", 64, 2, 2, 0, 224),
    pool("vgg16 56", "MaxPool", 256, 2, 2, 0, 56),
    pool("vgg16 14", "MaxPool", 512, 2, 2, 0, 14),
    pool("small 2x2", "MaxPool", 64, 2, 2, 0, 16),
    pool("small 3x3", "MaxPool", 64, 3, 2, 1, 16),
    pool("odd 2x2", "MaxPool", 128, 2, 2, 0, 57),
    pool("resnet50 3x3", "MaxPool", 64, 3, 2, 1, 112),
    pool("inception 3x3", "MaxPool", 256, 3, 1, 1, 28),
    pool("3x3 stride 3", "MaxPool", 64, 3, 3, 0, 57),
    pool("spp 13x13", "MaxPool", 128, 13, 1, 6, 13),
    pool("densenet 56", "AveragePool", 128, 2, 2, 0, 56),
    pool("densenet 14", "AveragePool", 512, 2, 2, 0, 14),
    pool("inception 3x3", "AveragePool", 192, 3, 1, 1, 28),
)


def source(shape: Shape, batch: int) -> onnx.ModelProto:
    """A 1 x 1 convolution, the layer, a 1 x 1 convolution."""
    rng = np.random.default_rng(0)
    last = shape.outputs or shape.channels
    weights = {"v": (shape.channels, SIDE, 1, 1), "u": (SIDE, last, 1, 1)}
    attributes = {"strides": [shape.stride] * 2, "pads": [shape.pad] * 4}
    inputs = ["a"]
    if shape.outputs:
        inner = shape.channels // shape.group
        weights["w"] = (shape.outputs, inner, shape.kernel, shape.kernel)
        attributes["group"] = shape.group
        inputs.append("w")
    else:
        attributes["kernel_shape"] = [shape.kernel] * 2
    nodes = [
        helper.make_node("Conv", ["x", "v"], ["a"], "first"),
        helper.make_node(shape.op, inputs, ["b"], "layer", **attributes),
        helper.make_node("Conv", ["b", "u"], ["y"], "last"),
    ]
    arrays = [
        numpy_helper.from_array(rng.standard_normal(dims, dtype=np.float32), name)
        for name, dims in weights.items()
    ]
    size, result = [batch, SIDE, *[shape.size] * 2], [batch, SIDE, *[shape.result] * 2]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        for name, dims in (("x", size), ("y", result))
    ]
    graph = helper.make_graph(nodes, shape.name, values[:1], values[1:], arrays)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def candidates(shape: Shape, model: onnx.ModelProto) -> Iterator[tuple[str, onnx.ModelProto]]:
    """The explanation graph with each form of the adjoint, the chosen one marked by `*`."""
    if shape.op == "Conv":
        seen: list[Form] = []
        explained(model, {ADJOINT: {"new": in_form("", seen)}})
        best = min(seen, key=lambda form: form.cost)
        for form in seen:
            made = explained(model, {ADJOINT: {"new": in_form(form.name, [])}})
            yield form.name + "*" * (form is best), made
        return
    best = operators(explained(model, {}))
    for name, patches in POOL_FORMS[shape.op].items():
        made = explained(model, patches)
        yield name + "*" * (operators(made) == best), made


def operators(model: onnx.ModelProto) -> list[str]:
    """The operator of every node."""
    return [node.op_type for node in model.graph.node]


def in_form(name: str, seen: list[Form]) -> Callable[[Tape, Layer, Value, Value], Value]:
    """The adjoint that gives the layer one form and notes all that fit; the others keep theirs."""

    def emit(t: Tape, layer: Layer, r: Value, w: Value) -> Value:
        found = forms(layer)
        if t.scope != "layer":
            return min(found, key=lambda form: form.cost).emit(t, layer, r, w)
        seen[:] = found
        chosen = next((form for form in found if form.name == name), found[0])
        return chosen.emit(t, layer, r, w)

    return emit


def explained(model: onnx.ModelProto, patches: dict[str, dict[str, object]]) -> onnx.ModelProto:
    """The gradient of a seed."""
    with ExitStack() as stack:
        for target, options in patches.items():
            stack.enter_context(patch(target, **options))
        return compile_model(model, composite="gradient", target="seed").model


def session(model: onnx.ModelProto, threads: int) -> onnxruntime.InferenceSession:
    """Load a model."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])


def derived_bytes(model: onnx.ModelProto) -> int:
    """Bytes of the constants that ONNX Runtime folds at load, without those of the file."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = str(Path(folder) / "folded.onnx")
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = path
        options.log_severity_level = 3
        onnxruntime.InferenceSession(model.SerializeToString(), options, providers=[CPU])
        old = {tensor.name for tensor in model.graph.initializer}
        made = onnx.load(path).graph.initializer
        return sum(len(numpy_helper.to_array(t).tobytes()) for t in made if t.name not in old)


def race(models: dict[str, onnx.ModelProto], threads: int, rounds: int) -> dict[str, list[float]]:
    """Let the models take turns; return the milliseconds of every run."""
    clock = time.thread_time if threads == 1 else time.perf_counter
    runs = []
    for name, model in models.items():
        made = session(model, threads)
        rng = np.random.default_rng(1)
        feeds = {
            item.name: rng.standard_normal(item.shape, dtype=np.float32)
            for item in made.get_inputs()
        }
        made.run(None, feeds)
        runs.append((name, made, feeds))
    times: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(rounds):
        for name, made, feeds in runs:
            began = clock()
            made.run(None, feeds)
            times[name].append((clock() - began) * 1e3)
    return times


def around(shape: Shape, batch: int) -> list[onnx.ModelProto]:
    """The two convolutions alone: pairs on the sizes of x and of y."""
    made = []
    for channels, size in (
        (shape.channels, shape.size),
        (shape.outputs or shape.channels, shape.result),
    ):
        alone = Shape("around", "Conv", channels, channels, 1, 1, 0, size)
        both = source(alone, batch)
        del both.graph.node[1]
        both.graph.node[1].input[0] = "a"
        made.append(both)
    return made


def lines(shape: Shape, batch: int, threads: int, rounds: int) -> Iterator[dict[str, object]]:
    """Measure one layer."""
    model = source(shape, batch)
    models = {"forward": model, **dict(candidates(shape, model))}
    pairs = dict(zip(("at x", "at y"), around(shape, batch), strict=True))
    times = race({**models, **pairs}, threads, rounds)
    ends = (min(times["at x"]) + min(times["at y"])) / 2
    for name, taken in times.items():
        if name in pairs:
            continue
        rest = ends + (name != "forward") * min(times["forward"])
        yield {
            "layer": shape.name,
            "op": shape.op,
            "batch": batch,
            "threads": threads,
            "form": name,
            "ms_min": round(min(taken), 3),
            "ms_median": round(median(taken), 3),
            "net": round(min(taken) - rest, 3),
            "derived_bytes": 0 if name == "forward" else derived_bytes(models[name]),
            "weight_bytes": sum(len(t.raw_data) for t in model.graph.initializer if t.name == "w"),
            "nodes": len(models[name].graph.node),
            "busy": round(os.getloadavg()[0], 1),
        }


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="part of the name of a layer")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args(arguments)
    for shape in SHAPES:
        if options.only in shape.name:
            for line in lines(shape, options.batch, options.threads, options.rounds):
                print(json.dumps(line), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
