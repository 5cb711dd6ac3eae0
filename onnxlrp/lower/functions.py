"""Expands operators that ONNX itself defines by simpler ones."""

import numpy as np
from onnx import FunctionProto, ModelProto, NodeProto, TypeProto, defs, helper, inliner

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Node, Value
from onnxlrp.graph.load import attributes_of
from onnxlrp.graph.proto import to_info, to_proto
from onnxlrp.graph.read import FAULTS, one_line
from onnxlrp.graph.view import Site
from onnxlrp.lower.sketch import Sketch
from onnxlrp.ops import OPS

__all__ = ["expand", "has_function"]

LOCAL = "onnxlrp.function"
"""Domain of the function while it is expanded."""

LOWEST = float(np.finfo(np.float32).min)


def has_function(site: Site) -> bool:
    """Whether the schema of an operator defines it by simpler ones."""
    if site.domain or not defs.has(site.op):
        return False
    schema = defs.get_schema(site.op, site.opset)
    return bool(schema.has_function or schema.has_context_dependent_function)  # type: ignore[attr-defined]


def expand(sketch: Sketch, site: Site) -> tuple[Value | None, ...]:
    """Put the body of the schema's function in the place of an operator."""
    names = [f"y{index}" for index in range(max(len(site.outputs), 1))]
    model = _inlined(site, names)
    known_names: dict[str, Value | None] = {v.name: v for v in site.sources}
    for node in model.graph.node:
        inputs = [known_names[name] if name else None for name in node.input]
        if node.op_type == "Softmax" and site.op == "Attention":
            inputs = [_finite(sketch, site, inputs[0])]
        results = _emitted(sketch, site, node, inputs)
        known_names.update(zip(node.output, results, strict=True))
    return tuple(known_names.get(name) for name in names)


def _finite(sketch: Sketch, site: Site, scores: Value | None) -> Value | None:
    """Scores without infinity: a query that may see no key has weights, which are zeroed later."""
    masked = site.input(3) is not None or site.input(6) is not None
    if not masked and not site.integer("is_causal"):
        return scores
    return sketch.op("Clip", scores, LOWEST)


def _emitted(
    sketch: Sketch, outer: Site, node: NodeProto, inputs: list[Value | None]
) -> tuple[Value | None, ...]:
    """A node of a function; where it has no kind but a function of its own, that one."""
    attributes, count = attributes_of(node), len(node.output)
    outputs = (None,) * count
    site = Site(outer.name, node.op_type, tuple(inputs), outputs, attributes, opset=outer.opset)
    if node.op_type not in OPS and has_function(site):
        return expand(sketch, site)
    return sketch.ops(node.op_type, *inputs, outputs=count, **attributes)


def _inlined(site: Site, names: list[str]) -> ModelProto:
    node = to_proto(Node(site.name, site.op, site.inputs, (), site.attributes))
    node.output.extend(names)
    inputs = [to_info(value) for value in dict.fromkeys(site.sources)]
    outputs = [helper.make_empty_tensor_value_info(name) for name in names]
    try:
        function = _function(site, node)
        node.domain = function.domain = LOCAL
        graph = helper.make_graph([node], "expansion", inputs, outputs)
        opsets = [helper.make_opsetid("", site.opset), helper.make_opsetid(LOCAL, 1)]
        model = helper.make_model(graph, opset_imports=opsets, functions=[function])
        return inliner.inline_local_functions(model)
    except FAULTS as error:
        raise UnsupportedOp(f"its function cannot be expanded: {one_line(error)}") from error


def _function(site: Site, node: NodeProto) -> FunctionProto:
    """The body that the schema gives for these inputs; an input that is absent has no type.

    ONNX inlines only what has the opset of the model: a body of an older one is stamped anew, for
    its operators have gained types since then but kept their form.
    """
    schema = defs.get_schema(site.op, site.opset)
    function = FunctionProto()
    if schema.has_context_dependent_function:  # type: ignore[attr-defined]
        types = [TypeProto() if v is None else to_info(v).type for v in site.inputs]
        built = schema.get_context_dependent_function(  # type: ignore[attr-defined]
            node.SerializeToString(), [item.SerializeToString() for item in types]
        )
        function.ParseFromString(built)
    else:
        function.CopyFrom(schema.function_body)
    if not function.node:
        raise UnsupportedOp("its function cannot be expanded for these types")
    function.name = site.op
    for item in function.opset_import:
        item.version = item.version if item.domain else site.opset
    return function
