"""Tells which nodes of an explanation graph have no CUDA kernel, by `tools/cuda_table.json`."""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import onnx
from onnx import ModelProto, NodeProto, TensorProto, defs, helper, shape_inference

Types = Mapping[str, str]
Entry = Mapping[str, Any]

TABLE = Path(__file__).with_name("cuda_table.json")
SCOPE = "lrp/"
SHAPES = frozenset({"Shape", "Size"})


@cache
def table() -> Mapping[str, Any]:
    """Return the table."""
    found: Mapping[str, Any] = json.loads(TABLE.read_text())
    return found


def missing(model: ModelProto) -> list[str]:
    """Return one line per emitted node without a CUDA kernel: name, operator, reason."""
    types = element_types(model)
    opset = next(item.version for item in model.opset_import if not item.domain)
    host = shape_arithmetic(model)
    lines = []
    for node in model.graph.node:
        if not node.name.startswith(SCOPE):
            continue
        reason = why_not(node, types, opset)
        if reason and not _excepted(node, types, node.name in host):
            lines.append(f"{node.name} ({node.op_type}): {reason}")
    return lines


def why_not(node: NodeProto, types: Types, opset: int = 21) -> str:
    """Return why a node has no CUDA kernel; empty where it has one."""
    entry = table()["operators"].get(node.op_type)
    if entry is None:
        return "no kernel"
    return _wrong_type(node, entry, types, opset) or _wrong_attribute(node, entry)


def element_types(model: ModelProto) -> dict[str, str]:
    """Return the element type of every value whose type is known."""
    graph = shape_inference.infer_shapes(model).graph
    values = [*graph.input, *graph.output, *graph.value_info]
    found = {value.name: value.type.tensor_type.elem_type for value in values}
    found |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    return {name: TensorProto.DataType.Name(kind).lower() for name, kind in found.items() if kind}


def shape_arithmetic(model: ModelProto) -> set[str]:
    """Return the names of nodes that compute with nothing but shapes and constants."""
    known = {tensor.name for tensor in model.graph.initializer}
    names: set[str] = set()
    for node in model.graph.node:
        if node.op_type in SHAPES or all(name in known for name in node.input if name):
            known.update(node.output)
            names.add(node.name)
    return names


def _wrong_type(node: NodeProto, entry: Entry, types: Types, opset: int) -> str:
    schema = defs.get_schema(node.op_type, opset)
    groups = table()["groups"]
    for names, formals in ((node.input, schema.inputs), (node.output, schema.outputs)):
        for index, name in enumerate(names):
            kind = types.get(name)
            formal = formals[min(index, len(formals) - 1)]
            allowed = entry["types"].get(formal.type_str)
            if kind is None or allowed is None:
                continue
            if kind not in (groups[allowed] if isinstance(allowed, str) else allowed):
                return f"no kernel for {formal.name} of type {kind}"
    return ""


def _wrong_attribute(node: NodeProto, entry: Entry) -> str:
    given = {item.name: _value(item) for item in node.attribute}
    for name, allowed in entry.get("attributes", {}).items():
        required = name in entry.get("required", ())
        if (name in given or required) and given.get(name) not in allowed:
            return f"{name}={given.get(name)} is not one of {allowed}"
    for name in entry.get("absent", ()):
        if name in given:
            return f"attribute {name}"
    return _wrong_form(node, entry, given.get("pads", []))


def _wrong_form(node: NodeProto, entry: Entry, pads: list[int]) -> str:
    half = len(pads) // 2
    if entry.get("symmetric_pads") and pads[:half] != pads[half:]:
        return f"asymmetric pads {pads}"
    given = sum(1 for name in node.input if name)
    return "too many inputs" if given > entry.get("inputs", given) else ""


def _value(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _excepted(node: NodeProto, types: Types, is_shape: bool) -> bool:
    return is_shape and any(
        item["operator"] == node.op_type and item["type"] == types.get(node.input[0])
        for item in table()["exceptions"]
    )
