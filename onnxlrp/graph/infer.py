"""Types and shapes of one emitted node."""

from collections.abc import Sequence

from onnx import NodeProto, TypeProto, defs, helper, shape_inference

from onnxlrp.errors import ModelError
from onnxlrp.graph.fold import folded
from onnxlrp.graph.graph import Shape, Value
from onnxlrp.graph.read import FAULTS, one_line

__all__ = ["Known", "inferred", "known"]

Known = tuple[int, Shape | None]
"""Element type and shape."""

SMALL = 64
"""Constants of more elements than this are no shapes."""


def inferred(node: NodeProto, inputs: Sequence[Value | None], opset: int) -> list[Value]:
    """The outputs of a standard node: type, shape and, where they are small constants, the number.

    Raises:
        ModelError: The types or shapes do not fit the operator.
    """
    present = [value for value in inputs if value is not None]
    variable = any(value.variable for value in present)
    constants = folded(node, inputs, opset)
    types = _types(node, present, opset)
    results = []
    for name, tensor in zip(node.output, constants, strict=True):
        dtype, shape = types.get(name, (0, None))
        if tensor is not None:
            dtype, shape = tensor.data_type, tuple(tensor.dims)
        results.append(Value(name, dtype, shape, tensor, variable=variable and tensor is None))
    return results


def _types(node: NodeProto, inputs: Sequence[Value], opset: int) -> dict[str, Known]:
    schema = defs.get_schema(node.op_type, opset, node.domain)
    given = {v.name: helper.make_tensor_type_proto(v.dtype, _dims(v.shape)) for v in inputs}
    data = {
        v.name: v.tensor
        for v in inputs
        if v.tensor is not None and v.size is not None and v.size <= SMALL
    }
    opsets = [helper.make_opsetid(node.domain, opset)]
    try:
        found = shape_inference.infer_node_outputs(
            schema, node, given, data, opset_imports=opsets, ir_version=10
        )
    except FAULTS as error:
        raise ModelError(f"node '{node.name}' ({node.op_type}): {one_line(error)}") from error
    return {name: known(proto) for name, proto in found.items()}


def _dims(shape: Shape | None) -> list[int | str | None] | None:
    return None if shape is None else list(shape)


def known(proto: TypeProto) -> Known:
    """Element type and shape of a tensor type; (0, None) for anything else."""
    tensor = proto.tensor_type
    if not tensor.HasField("shape"):
        return tensor.elem_type, None
    return tensor.elem_type, tuple(
        int(dim.dim_value) if dim.HasField("dim_value") else dim.dim_param or None
        for dim in tensor.shape.dim
    )
