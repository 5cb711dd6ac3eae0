"""What a browser can run: types and operators that ONNX Runtime Web lacks."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import onnx

from onnxlrp.errors import ModelError
from onnxlrp.graph.read import FAULTS, one_line, read

_SHORT: Final = {"FLOAT": "float32", "DOUBLE": "float64"}
_HERE: Final = frozenset({"float32", "int32"})
_NEVER: Final = frozenset({"bfloat16", "float8e4m3fn", "float8e5m2"})
_NO_GPU: Final = frozenset({"float64", "float16"})


@dataclass(frozen=True, kw_only=True)
class BrowserReport:
    """What a graph asks of a browser.

    Attributes:
        webgpu: Whether WebGPU may be tried.
        notes: What was found, in words.
    """

    webgpu: bool
    notes: tuple[str, ...]


def browser_report(content: bytes) -> BrowserReport:
    """Look at the types of all values and at the operators of a graph.

    Raises:
        ModelError: It is no model, or no browser can run it.
    """
    try:
        graph = onnx.shape_inference.infer_shapes(read(content)[0]).graph
    except FAULTS as error:
        raise ModelError(f"the graph is not valid ONNX: {one_line(error)}") from error
    counts = Counter(_types(graph))
    never = sorted(_NEVER & counts.keys())
    if never:
        raise ModelError(f"ONNX Runtime Web does not compute in {never[0]}: export in float32")
    other = {name: count for name, count in sorted(counts.items()) if name not in _HERE}
    listed = ", ".join(f"{count} {name}" for name, count in other.items())
    types = f"values that are not float32 or int32: {listed}" if listed else "float32 and int32"
    against = [f"values of {name}" for name in sorted(_NO_GPU & counts.keys())]
    against += sorted(set(_operators(graph)))
    if against:
        return BrowserReport(webgpu=False, notes=(types, f"no WebGPU: {', '.join(against)}"))
    return BrowserReport(webgpu=True, notes=(types,))


def _types(graph: onnx.GraphProto) -> Iterator[str]:
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.HasField("tensor_type"):
            yield _name(value.type.tensor_type.elem_type)
    for constant in graph.initializer:
        yield _name(constant.data_type)
    for body in _bodies(graph):
        yield from _types(body)


def _operators(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield what the WebGPU provider refuses when a session opens, by what was seen."""
    for node in graph.node:
        if node.op_type == "MaxPool" and len(node.output) > 1:
            yield "MaxPool with Indices (compile with maxpool=mask)"
    for body in _bodies(graph):
        yield from _operators(body)


def _bodies(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield attribute.g


def _name(kind: int) -> str:
    name = str(onnx.TensorProto.DataType.Name(kind))
    return _SHORT.get(name, name.lower())
