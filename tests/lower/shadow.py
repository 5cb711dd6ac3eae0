"""Small models of half precision and of quantised numbers, and what their shadow computes."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from onnxlrp.graph.graph import Value
from onnxlrp.graph.load import load
from onnxlrp.graph.save import to_model
from onnxlrp.optimize import optimize
from onnxlrp.plan import Request, plan

Arrays = Mapping[str, NDArray[np.generic]]
LEVELS = {
    "disabled": ort.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": ort.GraphOptimizationLevel.ORT_ENABLE_ALL,
}


def run(model: ModelProto, feeds: Arrays, level: str = "disabled") -> dict[str, NDArray]:
    """All outputs by name."""
    options = ort.SessionOptions()
    options.graph_optimization_level = LEVELS[level]
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(None, dict(feeds)), strict=True))


def model_of(
    body: str,
    inputs: Arrays,
    constants: Arrays,
    output: int = TensorProto.FLOAT,
    rank: int = 2,
    opset: int = 21,
) -> ModelProto:
    """Parse nodes that end in y; types and shapes of the inputs are those of the arrays."""
    text = (
        f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]> g () => () {{{body}}}'
    )
    model = onnx.parser.parse_model(text)
    for name, array in inputs.items():
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        model.graph.input.append(helper.make_tensor_value_info(name, kind, list(array.shape)))
    model.graph.output.append(helper.make_tensor_value_info("y", output, [None] * rank))
    for name, array in constants.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def lifted(model: ModelProto) -> ModelProto:
    """The model as it is deployed inside of the explanation graph."""
    return load(model).source


def shadow(model: ModelProto, feeds: Arrays) -> NDArray[np.float32]:
    """What the float32 copy of the model computes."""
    return run(copy_of(model), feeds)["lrp/copy"]


def copy_of(model: ModelProto) -> ModelProto:
    """The model with what its float32 copy computes as output `lrp/copy`."""
    planned = plan(model, Request(keep_softmax=True))
    assert planned.shadow
    known = Value("lrp/copy", TensorProto.FLOAT, planned.output.value.shape, variable=True)
    shown = planned.tape.named(planned.output.value, known)
    optimize(planned.tape, [shown])
    return to_model(planned.graph, [], [shown], {})


def draw(seed: int, *shape: int, scale: float = 1.0) -> NDArray[np.float32]:
    """Normal numbers."""
    return (np.random.default_rng(seed).standard_normal(shape) * scale).astype(np.float32)


def integers(seed: int, kind: type, *shape: int) -> NDArray[np.generic]:
    """All integers of a type, none more likely than another."""
    ends = np.iinfo(kind)
    return np.random.default_rng(seed).integers(ends.min, ends.max + 1, shape, dtype=kind)


def difference(
    model: ModelProto, feeds: Arrays, name: str, index: Sequence[int], step: float
) -> NDArray[np.float64]:
    """Differences of one entry of y over two steps of each element of an input."""
    x = np.asarray(feeds[name], dtype=np.float32)
    flat = np.zeros(x.size)
    for place in range(x.size):
        ends = []
        for sign in (1, -1):
            moved = x.copy()
            moved.reshape(-1)[place] += sign * step
            ends.append(float(run(model, {**feeds, name: moved})["y"][tuple(index)]))
        flat[place] = (ends[0] - ends[1]) / (2 * step)
    return flat.reshape(x.shape)
