"""Knows the constants of a model: evaluates small nodes whose inputs are constant."""

import logging
import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, defs, helper, numpy_helper, shape_inference
from onnx.reference import ReferenceEvaluator

from onnxlrp.graph.graph import Value
from onnxlrp.graph.read import FAULTS

log = logging.getLogger(__name__)

LIMIT = 1 << 16
"""Largest number of elements that is evaluated at compile time."""

GROWING = frozenset(
    {
        *("AffineGrid", "BlackmanWindow", "CenterCropPad", "Col2Im", "ConstantOfShape"),
        *("ConvTranspose", "DFT", "Expand", "GridSample", "HammingWindow", "HannWindow"),
        *("MaxUnpool", "MelWeightMatrix", "OneHot", "Pad", "Range", "Resize", "STFT", "Tile"),
        "Upsample",
    }
)
"""Operators whose inputs say in numbers how large the output is."""

RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike"})


def folded(node: NodeProto, inputs: Sequence[Value | None], opset: int) -> list[TensorProto | None]:
    """Return the outputs of a node that are constant, one entry per output.

    `Shape` of a static shape and `CastLike` of a constant are constant whatever they read.
    """
    nothing: list[TensorProto | None] = [None] * len(node.output)
    if node.domain not in {"", "ai.onnx"} or node.op_type in RANDOM:
        return nothing
    if node.op_type == "Constant":
        return [_constant(node)]
    if node.op_type in {"Shape", "Size"} and inputs[0] is not None:
        return [_shape(node, inputs[0])]
    if node.op_type == "CastLike":
        node, inputs = _cast(node, inputs)
    if any(attribute.HasField("g") for attribute in node.attribute):
        return nothing
    present = [value for value in inputs if value is not None]
    if not all(map(is_small, present)) or _is_large(node, present, opset):
        return nothing
    return _evaluate(node, inputs, opset) or nothing


def is_small(value: Value) -> bool:
    """Whether a value is a constant that is small enough to be looked at."""
    return value.tensor is not None and value.size is not None and value.size <= LIMIT


def _constant(node: NodeProto) -> TensorProto | None:
    attribute = node.attribute[0]
    if attribute.name == "value":
        tensor: TensorProto = attribute.t
        return tensor
    if attribute.name == "sparse_value":
        return None
    kind = {"value_int": np.int64, "value_ints": np.int64, "value_string": np.object_}
    value = onnx.helper.get_attribute_value(attribute)
    if attribute.name.startswith("value_string"):
        return None
    return numpy_helper.from_array(np.array(value, dtype=kind.get(attribute.name, np.float32)))


def _shape(node: NodeProto, value: Value) -> TensorProto | None:
    if value.shape is None:
        return None
    ends = {item.name: item.i for item in node.attribute}
    dims = value.shape[ends.get("start", 0) : ends.get("end", len(value.shape))]
    if not all(isinstance(dim, int) for dim in dims):
        return None
    shape = np.array(dims, dtype=np.int64)
    return numpy_helper.from_array(shape.prod() if node.op_type == "Size" else shape)


def _cast(
    node: NodeProto, inputs: Sequence[Value | None]
) -> tuple[NodeProto, Sequence[Value | None]]:
    like = inputs[1]
    if like is None or like.dtype == TensorProto.UNDEFINED:
        return node, inputs
    return onnx.helper.make_node("Cast", node.input[:1], node.output, to=like.dtype), inputs[:1]


def _is_large(node: NodeProto, inputs: Sequence[Value], opset: int) -> bool:
    """Whether an output would have more than `LIMIT` elements, found without making it."""
    growing = node.op_type in GROWING
    if not growing and math.prod(value.size or 1 for value in inputs) <= LIMIT:
        return False
    types = {v.name: helper.make_tensor_type_proto(v.dtype, v.shape) for v in inputs}
    tensors = {v.name: v.tensor for v in inputs if v.tensor is not None}
    try:
        schema = defs.get_schema(node.op_type, opset, node.domain)
        opsets = [helper.make_opsetid(node.domain, opset)]
        found = shape_inference.infer_node_outputs(
            schema, node, types, tensors, opset_imports=opsets, ir_version=10
        )
    except (*FAULTS, defs.SchemaError) as why:
        log.debug("node '%s' (%s) has no known shape: %s", node.name, node.op_type, why)
        return growing
    sizes = [_count(proto.tensor_type) for proto in found.values()]
    return any(growing if size is None else size > LIMIT for size in sizes)


def _count(kind: onnx.TypeProto.Tensor) -> int | None:
    dims = kind.shape.dim
    if not kind.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
        return None
    return math.prod(int(dim.dim_value) for dim in dims)


def _evaluate(
    node: NodeProto, inputs: Sequence[Value | None], opset: int
) -> list[TensorProto | None] | None:
    feeds = {value.name: value.constant for value in inputs if value is not None}
    try:
        evaluator = ReferenceEvaluator(node, opsets={"": opset})
        results = evaluator.run(None, feeds)
    except (ValueError, TypeError, KeyError, IndexError, RuntimeError, NotImplementedError) as why:
        log.debug("node '%s' (%s) is not folded: %s", node.name, node.op_type, why)
        return None
    if not all(isinstance(result, np.ndarray | np.generic) for result in results):
        return None
    arrays = [np.asarray(result) for result in results]
    return [numpy_helper.from_array(array) if array.size <= LIMIT else None for array in arrays]
