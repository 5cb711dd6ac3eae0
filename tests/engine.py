"""Builds small models from ONNX text and runs them in ONNX Runtime, without optimisation."""

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

Array = NDArray[np.float32]
Constant = Sequence[int] | float | NDArray[np.generic]
STANDARD = {"", "ai.onnx"}


class Session:
    """One model on the CPU; `optimize` turns graph optimisation on."""

    def __init__(self, model: ModelProto, *, optimize: bool = False) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        level = ort.GraphOptimizationLevel
        options.graph_optimization_level = (
            level.ORT_ENABLE_ALL if optimize else level.ORT_DISABLE_ALL
        )
        self._session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.names = [item.name for item in self._session.get_outputs()]

    def __call__(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, Array]:
        """Run once; all outputs by name."""
        return dict(zip(self.names, self._session.run(None, dict(feeds)), strict=True))


class Reference:
    """One model in the reference evaluator of onnx."""

    def __init__(self, model: ModelProto) -> None:
        self._evaluator = ReferenceEvaluator(model)

    def __call__(self, feeds: Mapping[str, NDArray[np.generic]]) -> dict[str, Array]:
        """Run once; all outputs by name."""
        results = self._evaluator.run(None, dict(feeds))
        return dict(zip(self._evaluator.output_names, results, strict=True))


Run = Session | Reference


def model_of(
    body: str,
    inputs: Mapping[str, Sequence[int | str]],
    constants: Mapping[str, NDArray[np.generic]] | None = None,
    *,
    outputs: Sequence[str] = ("y",),
    opset: int = 21,
    ir: int = 10,
) -> ModelProto:
    """Parse the nodes of a graph; the shapes of float inputs are given, those of outputs found."""
    text = f'<ir_version: {ir}, opset_import: ["" : {opset}]> g () => () {{ {body} }}'
    model = onnx.parser.parse_model(text)
    for name, shape in inputs.items():
        model.graph.input.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape))
        )
    for name in outputs:
        model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    for name, array in (constants or {}).items():
        model.graph.initializer.append(numpy_helper.from_array(array, name))
        if ir < 4:
            kind, dims = helper.np_dtype_to_tensor_dtype(array.dtype), list(array.shape)
            model.graph.input.append(helper.make_tensor_value_info(name, kind, dims))
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    del model.graph.output[:]
    model.graph.output.extend(inferred.graph.output)
    return model


def domains(model: ModelProto) -> set[str]:
    """The domains of the nodes and of the functions that are left."""
    found = {node.domain for node in model.graph.node}
    return found | {function.domain for function in model.functions}
