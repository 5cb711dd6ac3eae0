"""A digest of a model that is equal for its path, its bytes and its proto."""

import hashlib

from onnx import ModelProto, numpy_helper

from onnxlrp.graph.weights import bare

__all__ = ["digest"]


def digest(model: ModelProto, folder: str) -> str:
    """Return the SHA-256 of the graph, then of each initializer's name, type, shape and bytes."""
    total = hashlib.sha256()
    copy = bare(model)
    del copy.graph.initializer[:], copy.graph.input[:]
    copy.graph.input.extend(model.graph.input)
    total.update(copy.SerializeToString(deterministic=True))
    for tensor in model.graph.initializer:
        head = f"{tensor.name}:{tensor.data_type}:{list(tensor.dims)}:"
        total.update(head.encode())
        array = numpy_helper.to_array(tensor, folder)
        total.update(str(array.tolist()).encode() if array.dtype == object else array.tobytes())
    return total.hexdigest()
