"""Refuses models whose sizes contradict their data, before anything of them is read."""

import math
from collections.abc import Iterator

from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from onnxlrp.errors import ModelError
from onnxlrp.graph.read import one_line

__all__ = ["check_sizes"]


def check_sizes(model: ModelProto) -> None:
    """Refuse negative sizes, and constants whose data do not have the stated size and type.

    Raises:
        ModelError: There is one; the text names it.
    """
    for graph in _graphs(model):
        _check_names(graph)
        for value in (*graph.input, *graph.output, *graph.value_info):
            for dim in value.type.tensor_type.shape.dim:
                if dim.dim_value < 0:
                    raise ModelError(f"value '{value.name}' has the size {dim.dim_value}")
        for tensor in _tensors(graph):
            _check_tensor(tensor)


def _check_names(graph: GraphProto) -> None:
    """Text that is not UTF-8 comes out of the parser as bytes, or not at all."""
    try:
        _read_names(graph)
    except UnicodeDecodeError as error:
        raise ModelError(f"a name is not UTF-8 text: {error.object!r}") from error


def _read_names(graph: GraphProto) -> None:
    if not isinstance(graph.name, str):
        raise ModelError(f"the name of a graph, {graph.name!r}, is not UTF-8 text")
    for node in graph.node:
        attributes = (item.name for item in node.attribute)
        texts = (node.op_type, node.domain, node.name, *node.input, *node.output, *attributes)
        if not all(isinstance(text, str) for text in texts):
            raise ModelError(f"node {node.name!r} ({node.op_type!r}): a name is not UTF-8 text")
    named = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
    for item in named:
        if not isinstance(item.name, str):
            raise ModelError(f"the name of a value, {item.name!r}, is not UTF-8 text")


def _graphs(model: ModelProto) -> Iterator[GraphProto]:
    """The graph and all bodies in it and in the functions."""
    queue = [model.graph]
    for function in model.functions:
        queue += [item.g for node in function.node for item in node.attribute if item.HasField("g")]
    for graph in queue:
        yield graph
        queue += [item.g for node in graph.node for item in node.attribute if item.HasField("g")]


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    yield from (item.t for node in graph.node for item in node.attribute if item.HasField("t"))


def _check_tensor(tensor: TensorProto) -> None:
    name = f"constant '{tensor.name}'"
    if any(dim < 0 for dim in tensor.dims):
        raise ModelError(f"{name} has the shape {list(tensor.dims)}")
    if tensor.data_location == TensorProto.EXTERNAL:
        return
    try:
        size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        text = tensor.data_type == TensorProto.STRING
        if text or len(tensor.raw_data) != math.prod(tensor.dims) * size:
            numpy_helper.to_array(tensor)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ModelError(
            f"{name} does not hold {list(tensor.dims)} numbers of type {tensor.data_type}: "
            f"{one_line(error)}"
        ) from error
