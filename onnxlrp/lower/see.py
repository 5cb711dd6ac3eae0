"""Makes the view of a graph: each node as it is, as a float32 copy, or as simpler operators."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import FLOATS, Attribute, Graph, Node, Value
from onnxlrp.graph.infer import Known, inferred
from onnxlrp.graph.proto import to_proto
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site, View
from onnxlrp.lower.functions import expand, has_function
from onnxlrp.lower.registry import LOWERINGS
from onnxlrp.lower.sketch import Seen, Settings, Sketch, is_odd
from onnxlrp.ops import OPS

__all__ = ["needs_shadow", "reads_deployed", "see", "see_node"]

QUANTISED = frozenset({
    "ConvInteger", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger", "QuantizeLinear",
})  # fmt: skip
"""Operators of quantised models, beside those whose names start with `QLinear`."""

HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


def needs_shadow(graph: Graph) -> bool:
    """Whether a model computes in half precision or in quantised numbers."""
    return any(
        node.op in QUANTISED
        or node.op.startswith(("QLinear", "DynamicQuantize", "QAttention", "MatMulInteger"))
        or any(value.dtype in HALVES and value.variable for value in node.results)
        for node in graph.nodes
    )


def see(graph: Graph, t: Tape, cell: str = "whole") -> View:
    """Make the view of a loaded graph.

    A float32 node is seen as it is; a node of another precision through a float32 copy; a node
    that has a lowering through the operators of that lowering. In a model of half precision or of
    quantised numbers every node is copied, so that no deployed value gets another consumer.
    """
    view = View(graph)
    sketch = Sketch(t, view, Settings(shadow=needs_shadow(graph), cell=cell))
    t.infers = True
    for name, value in graph.values.items():
        if graph.producer(value) is None:
            sketch.values[name] = value
    sketch.begin("input", ())
    for value in graph.inputs:
        sketch.values[value.name] = sketch.float32(value)
    for node in graph.nodes:
        if node.deployed:
            _see_deployed(sketch, node)
    view.outputs = tuple(_output(sketch, value) for value in graph.outputs)
    return view


def _output(sketch: Sketch, value: Value) -> Value:
    seen = sketch.look(value.name)
    return seen if isinstance(seen, Value) else value


def _see_deployed(sketch: Sketch, node: Node) -> None:
    """See one node of the model; afterwards its outputs are known by their names."""
    sketch.begin(node.name, (node,))
    if all(value.dtype and not value.variable for value in node.results):
        for value in node.results:
            sketch.values[value.name] = value
        return
    site = Site(
        name=node.name,
        op=f"{node.domain}.{node.op}" if node.domain else node.op,
        inputs=node.inputs,
        outputs=node.outputs,
        nodes=(node,),
        attributes=node.attributes,
        domain=node.domain,
        opset=sketch.t.graph.opset,
        captured=node.captured,
    )
    results = see_node(sketch, site, [None if v is None else v.name for v in node.inputs])
    for deployed, result in zip(node.outputs, results, strict=False):
        if deployed is not None:
            sketch.values[deployed.name] = _bound(sketch, deployed, result)
            if isinstance(result, Value) and result is not deployed:
                sketch.view.names.setdefault(result, deployed.name)


def see_node(sketch: Sketch, site: Site, names: Sequence[str | None]) -> tuple[Seen, ...]:
    """See a node of the model or of a body and say what its outputs are.

    Args:
        sketch: Receives the sites.
        site: The node as it is written; without outputs where it stands in a body.
        names: The names of its inputs.
    """
    seen = tuple(None if name is None else sketch.look(name) for name in names)
    sketch.given = seen
    if not sketch.prefix and not sketch.settings.shadow and seen == site.inputs:
        given = site
    else:
        inputs = tuple(sketch.float32(v) if isinstance(v, Value) else None for v in seen)
        given = replace(site, inputs=inputs, attributes=_float32(site.attributes))
    lowering = LOWERINGS.get(site.op)
    if lowering is None and site.op not in OPS and has_function(site):
        lowering = expand
    try:
        if lowering is not None and site.domain:
            _require_types(given)
        found = lowering(sketch, given) if lowering is not None else None
        if found is not None:
            return found
        if any(isinstance(value, list) for value in seen):
            raise UnsupportedOp("it reads a sequence")
    except UnsupportedOp as error:
        given = replace(given, note=str(error))
    return plain(sketch, given)


def plain(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """A node as it is where it may be read and computes float32, else a float32 copy of it."""
    if sketch.prefix:
        if site.domain or site.note:
            unknown = [(int(TensorProto.FLOAT), None)] * len(site.outputs)
            return sketch.emit(site, unknown, site.attributes)
        return sketch.copy(site)
    if not reads_deployed(sketch, site):
        types = [None if v is None else _type(v) for v in site.outputs]
        return sketch.emit(site, types, site.attributes)
    _learn(sketch, site)
    sketch.view.append(site)
    return site.outputs


def reads_deployed(sketch: Sketch, site: Site) -> bool:
    """Whether the deployed values of a node are those of the view, and may be read."""
    if sketch.prefix or sketch.settings.shadow or any(is_odd(value) for value in site.results):
        return False
    node = site.nodes[0]
    return all(sketch.look(value.name) is value for value in node.sources)


def _require_types(site: Site) -> None:
    """Refuse an operator of another domain behind one that cannot be seen through."""
    for value in site.sources:
        if not value.dtype:
            raise UnsupportedOp(f"the element type of '{value.name}' is not known")


def _type(value: Value) -> Known:
    return (TensorProto.FLOAT if is_odd(value) else value.dtype), value.shape


def _learn(sketch: Sketch, site: Site) -> None:
    """Infer types where the model does not state them: behind operators of other domains."""
    if site.domain or all(v.dtype and v.shape is not None for v in site.results):
        return
    if not all(value.dtype for value in site.sources):
        return
    node = to_proto(site.nodes[0])
    found = inferred(node, site.inputs, site.opset)
    for value, known in zip(site.outputs, found, strict=True):
        if value is not None:
            sketch.t.graph.learn(value, known.dtype, known.shape)


def _bound(sketch: Sketch, deployed: Value, result: Seen) -> Seen:
    """The deployed value itself, where it may be read and holds float32."""
    result = sketch.known(result)
    if not isinstance(result, Value) or result is deployed:
        return result
    if sketch.settings.shadow or is_odd(deployed) or not result.variable:
        return result
    sketch.bind(result, deployed)
    return deployed


def _float32(attributes: Mapping[str, Attribute]) -> dict[str, Attribute]:
    """Attributes that speak of float32 where they spoke of another precision."""
    return {name: _single(name, value) for name, value in attributes.items()}


def _single(name: str, value: Attribute) -> Attribute:
    if name in {"to", "dtype"} and value in FLOATS:
        return int(TensorProto.FLOAT)
    if isinstance(value, np.ndarray) and value.dtype.kind not in "iubUSO":
        return value.astype(np.float32)
    return value
