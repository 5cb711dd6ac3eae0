"""Expands operators that ONNX itself defines by simpler ones."""

from onnx import ModelProto, defs, helper, inliner, shape_inference

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Node, Value
from onnxlrp.graph.load import attributes_of
from onnxlrp.graph.proto import to_proto
from onnxlrp.graph.read import FAULTS, one_line
from onnxlrp.graph.view import Site
from onnxlrp.lower.sketch import Seen, Sketch

__all__ = ["expand", "has_function"]


def has_function(site: Site) -> bool:
    """Whether the schema of an operator defines it by simpler ones."""
    if site.domain or not defs.has(site.op):
        return False
    schema = defs.get_schema(site.op, site.opset)
    return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]


def expand(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Put the body of the schema's function in the place of an operator."""
    names = [f"y{index}" for index in range(max(len(site.outputs), 1))]
    model = _inlined(site, names)
    known_names: dict[str, Value | None] = {v.name: v for v in site.sources}
    for node in model.graph.node:
        inputs = [known_names[name] if name else None for name in node.input]
        results = sketch.ops(node.op_type, *inputs, outputs=len(node.output), **attributes_of(node))
        known_names.update(zip(node.output, results, strict=True))
    return tuple(known_names.get(name) for name in names)


def _inlined(site: Site, names: list[str]) -> ModelProto:
    node = to_proto(Node(site.name, site.op, site.inputs, (), site.attributes))
    node.output.extend(names)
    inputs = [
        helper.make_tensor_value_info(v.name, v.dtype, None if v.shape is None else list(v.shape))
        for v in dict.fromkeys(site.sources)
    ]
    outputs = [helper.make_empty_tensor_value_info(name) for name in names]
    graph = helper.make_graph([node], "expansion", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", site.opset)])
    try:
        typed = shape_inference.infer_shapes(model)
        result = inliner.inline_selected_functions(
            typed, [("", site.op)], inline_schema_functions=True
        )
    except FAULTS as error:
        raise UnsupportedOp(f"its function cannot be expanded: {one_line(error)}") from error
    if any(item.op_type == site.op for item in result.graph.node):
        raise UnsupportedOp("its function cannot be expanded for these types")
    return result
