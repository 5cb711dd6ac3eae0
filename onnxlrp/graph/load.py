"""Makes the graph of a model: read -> lift -> graph with types, shapes and known constants."""

import os
from collections.abc import Iterator, Mapping

import onnx
from onnx import ModelProto, TensorProto, helper

from onnxlrp.graph.digest import digest
from onnxlrp.graph.fold import folded
from onnxlrp.graph.graph import Attribute, Graph, Node, Shape, Value
from onnxlrp.graph.infer import Known, known
from onnxlrp.graph.lift import check_operators, lift
from onnxlrp.graph.read import Source, check_external, read
from onnxlrp.graph.valid import check_sizes

__all__ = ["attributes_of", "build", "captured_names", "load"]


def load(source: Source, base_dir: str | os.PathLike[str] | None = None) -> Graph:
    """Read, check, lift and type a model.

    Args:
        source: Path, serialized bytes, or ModelProto; never changed.
        base_dir: Folder of external data for bytes and protos.

    Raises:
        ModelError: The source cannot be read, is not valid ONNX, or cannot be lifted.
    """
    model, folder = read(source, base_dir)
    check_sizes(model)
    check_external(model, folder)
    check_operators(model)
    fingerprint = digest(model, folder)
    stated = frozenset(info.name for info in model.graph.value_info)
    graph = build(lift(model), folder, fingerprint)
    graph.stated = stated
    return graph


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
    for sparse in model.graph.sparse_initializer:
        graph.declare(Value(sparse.values.name, sparse.values.data_type, tuple(sparse.dims)))
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


def _types(graph: onnx.GraphProto) -> dict[str, Known]:
    types: dict[str, Known] = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        types[value.name] = known(value.type)
    return types


def _add(graph: Graph, proto: onnx.NodeProto, types: Mapping[str, Known]) -> None:
    inputs = tuple(graph.values[name] if name else None for name in proto.input)
    captured = tuple(graph.values[name] for name in captured_names(proto) if name in graph.values)
    variable = any(value.variable for value in (*inputs, *captured) if value is not None)
    constants = folded(proto, inputs, graph.opset)
    outputs = []
    for name, tensor in zip(proto.output, constants, strict=True):
        dtype, shape = types.get(name, (0, None))
        if tensor is not None:
            dtype, shape = tensor.data_type, tuple(tensor.dims)
        output = Value(name, dtype, shape, tensor, variable=variable and tensor is None)
        outputs.append(output if name else None)
    graph.add(
        Node(
            proto.name,
            proto.op_type,
            inputs,
            tuple(outputs),
            attributes_of(proto),
            proto.domain,
            deployed=True,
            captured=captured,
        )
    )


def captured_names(proto: onnx.NodeProto) -> list[str]:
    """Names that the bodies of a node read and do not make themselves, each once."""
    bodies = (item.g for item in proto.attribute if item.HasField("g"))
    return list(dict.fromkeys(name for body in bodies for name in _free(body)))


def _free(body: onnx.GraphProto) -> Iterator[str]:
    own = {value.name for value in body.input} | {tensor.name for tensor in body.initializer}
    own.update(name for node in body.node for name in node.output)
    for node in body.node:
        names = (*node.input, *captured_names(node))
        yield from (name for name in names if name and name not in own)
    yield from (value.name for value in body.output if value.name not in own)


def attributes_of(proto: onnx.NodeProto) -> dict[str, Attribute]:
    """The attributes of a node as plain values."""
    return {item.name: _attribute(item) for item in proto.attribute}


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
