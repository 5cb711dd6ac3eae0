"""Tells the weights of a model from its small constants, so that passes do not copy them."""

import math

from onnx import ModelProto, TensorProto, helper

__all__ = ["bare", "is_heavy"]

HEAVY = 1024
"""Initializers of more elements than this are weights."""


def is_heavy(tensor: TensorProto) -> bool:
    """Whether a tensor is a weight or lies outside of the file."""
    return tensor.data_location == TensorProto.EXTERNAL or math.prod(tensor.dims) > HEAVY


def bare(model: ModelProto) -> ModelProto:
    """Copy a model with its weights as typed inputs."""
    copy = ModelProto(ir_version=model.ir_version)
    copy.opset_import.extend(model.opset_import)
    copy.metadata_props.extend(model.metadata_props)
    copy.functions.extend(model.functions)
    graph, source = copy.graph, model.graph
    graph.name = source.name
    graph.node.extend(source.node)
    graph.input.extend(source.input)
    graph.output.extend(source.output)
    graph.value_info.extend(source.value_info)
    graph.sparse_initializer.extend(source.sparse_initializer)
    listed = {value.name for value in source.input}
    for tensor in source.initializer:
        if tensor.name in listed or not is_heavy(tensor):
            graph.initializer.append(tensor)
        else:
            info = helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
            graph.input.append(info)
    return copy
