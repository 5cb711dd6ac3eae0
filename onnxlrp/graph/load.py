"""Makes the graph of a model: read -> lift -> graph with types, shapes and known constants."""

import os
from collections.abc import Iterator

import onnx
from onnx import ModelProto, TensorProto, helper

from onnxlrp.graph.digest import digest
from onnxlrp.graph.fold import folded
from onnxlrp.graph.graph import Attribute, Graph, Node, Shape, Value
from onnxlrp.graph.lift import check_operators, lift
from onnxlrp.graph.read import Source, check_external, read

__all__ = ["build", "load"]


def load(source: Source, base_dir: str | os.PathLike[str] | None = None) -> Graph:
    """Read, check, lift and type a model.

    Args:
        source: Path, serialized bytes, or ModelProto; never changed.
        base_dir: Folder of external data for bytes and protos.

    Raises:
        ModelError: The source cannot be read, is not valid ONNX, or cannot be lifted.
    """
    model, folder = read(source, base_dir)
    check_external(model, folder)
    check_operators(model)
    fingerprint = digest(model, folder)
    return build(lift(model), folder, fingerprint)


def build(model: ModelProto, folder: str = "", fingerprint: str = "") -> Graph:
    """Make the graph of a lifted model."""
    graph = Graph(model, folder, fingerprint)
    types = _types(model.graph)
    listed = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        overridable = tensor.name in listed
        shape: Shape = tuple(tensor.dims)
        kept = None if overridable else tensor
        graph.declare(
            Value(tensor.name, tensor.data_type, shape, kept, folder, variable=overridable)
        )
    constants = {tensor.name for tensor in model.graph.initializer}
    graph.inputs = tuple(
        graph.declare(Value(value.name, *types[value.name], variable=True))
        for value in model.graph.input
        if value.name not in constants
    )
    for proto in model.graph.node:
        _add(graph, proto, types)
    graph.outputs = tuple(graph.values[value.name] for value in model.graph.output)
    return graph


def _types(graph: onnx.GraphProto) -> dict[str, tuple[int, Shape | None]]:
    types: dict[str, tuple[int, Shape | None]] = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        tensor = value.type.tensor_type
        shape = None
        if tensor.HasField("shape"):
            shape = tuple(_dim(dim) for dim in tensor.shape.dim)
        types[value.name] = (tensor.elem_type, shape)
    return types


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None


def _add(graph: Graph, proto: onnx.NodeProto, types: dict[str, tuple[int, Shape | None]]) -> None:
    inputs = tuple(graph.values[name] if name else None for name in proto.input)
    captured = [name for item in proto.attribute if item.HasField("g") for name in _outer(item.g)]
    variable = any(value.variable for value in inputs if value is not None) or any(
        graph.values[name].variable for name in captured if name in graph.values
    )
    constants = folded(proto, inputs, graph.opset)
    outputs = []
    for name, tensor in zip(proto.output, constants, strict=True):
        dtype, shape = types.get(name, (0, None))
        if tensor is not None:
            dtype, shape = tensor.data_type, tuple(tensor.dims)
        known = Value(name, dtype, shape, tensor, variable=variable and tensor is None)
        outputs.append(known if name else None)
    attributes: dict[str, Attribute] = {item.name: _attribute(item) for item in proto.attribute}
    graph.add(
        Node(
            proto.name,
            proto.op_type,
            inputs,
            tuple(outputs),
            attributes,
            proto.domain,
            deployed=True,
        )
    )


def _outer(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input


def _attribute(item: onnx.AttributeProto) -> Attribute:
    value = helper.get_attribute_value(item)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, TensorProto):
        return onnx.numpy_helper.to_array(value)
    if item.type in {onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS}:
        return list(value)
    if item.type == onnx.AttributeProto.STRINGS:
        return [text.decode(errors="replace") for text in value]
    return value  # type: ignore[no-any-return]
