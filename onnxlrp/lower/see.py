"""Makes the view of a graph: each node as it is, as a float32 copy, or as simpler operators."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from onnx import TensorProto

from onnxlrp.errors import ModelError, UnsupportedOp
from onnxlrp.graph.fold import RANDOM
from onnxlrp.graph.graph import FLOATS, Attribute, Graph, Node, Shape, Value
from onnxlrp.graph.infer import Known, inferred
from onnxlrp.graph.proto import to_proto
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site, View
from onnxlrp.lower.functions import expand, has_function
from onnxlrp.lower.microsoft_nchwc import blocked
from onnxlrp.lower.quantised_values import RANGES, prepared, reads_scales
from onnxlrp.lower.registry import LOWERINGS
from onnxlrp.lower.sketch import Seen, Settings, Sketch, is_odd
from onnxlrp.metadata import SCOPE
from onnxlrp.ops import OPS

__all__ = ["needs_shadow", "reads_deployed", "see", "see_node"]

SMALL = 64
"""Constants of at most so many elements are stored again rather than computed again."""

COMPARED = frozenset({
    TensorProto.FLOAT, TensorProto.INT32, TensorProto.INT64, TensorProto.UINT32,
    TensorProto.UINT64,
})  # fmt: skip
"""Element types of which ONNX Runtime takes a maximum."""

HALVES = frozenset({TensorProto.FLOAT16, TensorProto.BFLOAT16})


def needs_shadow(graph: Graph) -> bool:
    """Whether a model computes in half precision or in quantised numbers."""
    return any(
        reads_scales(node.op)
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
    sketch = Sketch(t, view, Settings(needs_shadow(graph), cell, blocked(graph)))
    t.infers = True
    for name, value in graph.values.items():
        if graph.producer(value) is None:
            sketch.values[name] = value
    sketch.begin("input", ())
    for value in graph.inputs:
        single = sketch.float32(value)
        sketch.values[value.name] = _apart(sketch, single) if sketch.settings.shadow else single
    for node in graph.nodes:
        if node.deployed:
            _see_deployed(sketch, node)
    view.outputs = tuple(_output(sketch, value) for value in graph.outputs)
    return view


def _apart(sketch: Sketch, value: Value) -> Value:
    """An equal value, small integers as float32.

    ONNX Runtime must not find that parts are computed twice: it would merge them, and then not
    fuse the deployed nodes as it does in the model alone.
    """
    t = sketch.t
    if value.dtype == TensorProto.BOOL:
        copy = t.op("And", value, value)
    elif value.dtype in COMPARED:
        copy = t.op("Max", value, value)
    elif value.dtype in RANGES:
        wide = t.op("Cast", value, to=TensorProto.FLOAT)
        copy = t.op("Max", wide, wide)
    else:
        return value
    if t.signs.nonnegative(value):
        t.signs.same(copy, value)
    name = f"{t.scope}/{value.name.removeprefix(SCOPE)}"
    op = "Identity" if copy.dtype == value.dtype else "Cast"
    attributes = {} if copy.dtype == value.dtype else {"to": copy.dtype}
    sketch.view.append(Site(name, op, (value,), (copy,), attributes, sketch.nodes))
    return copy


def _output(sketch: Sketch, value: Value) -> Value:
    seen = sketch.look(value.name)
    return seen if isinstance(seen, Value) else value


def _see_deployed(sketch: Sketch, node: Node) -> None:
    """See one node of the model; afterwards its outputs are known by their names."""
    sketch.begin(node.name, (node,))
    if all(value.dtype and not value.variable for value in node.results):
        known = [_constant(sketch, node, value) for value in node.results]
        if all(value is not None for value in known):
            sketch.values.update(zip((v.name for v in node.results), known, strict=True))
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
            if isinstance(result, Value) and result.name.startswith(SCOPE):
                sketch.view.names.setdefault(result, deployed.name)


def _constant(sketch: Sketch, node: Node, value: Value) -> Value | None:
    """What stands for a value that depends on no input; None where it must be computed again."""
    if not sketch.settings.shadow or node.op == "Constant" or node.op in RANDOM:
        return value
    if value.constant is None or value.constant.size > SMALL:
        return None
    return sketch.t.constant(value.constant)


def see_node(sketch: Sketch, site: Site, names: Sequence[str | None]) -> tuple[Seen, ...]:
    """See a node of the model or of a body and say what its outputs are.

    Args:
        sketch: Receives the sites.
        site: The node as it is written; without outputs where it stands in a body.
        names: The names of its inputs.
    """
    seen = tuple(None if name is None else sketch.look(name) for name in names)
    sketch.given = seen
    if any(name is not None and value is None for name, value in zip(names, seen, strict=True)):
        return (None,) * max(len(site.outputs), 1)
    if seen == site.inputs and reads_deployed(sketch, site):
        given = site
    else:
        inputs = tuple(sketch.float32(v) if isinstance(v, Value) else None for v in seen)
        given = replace(site, inputs=inputs, attributes=_float32(site.attributes))
    if reads_scales(site.op):
        return _lowered(sketch, given)
    given, scale = prepared(sketch, given)
    pairs = zip(seen, given.inputs, strict=False)
    sketch.given = tuple(value if isinstance(item, Value) else item for item, value in pairs)
    results = _lowered(sketch, given)
    if scale is not None:
        floats = (v for v in results if isinstance(v, Value) and v.dtype == TensorProto.FLOAT)
        sketch.scales.update((value, scale) for value in floats)
    return results


def _lowered(sketch: Sketch, given: Site) -> tuple[Seen, ...]:
    """A node through simpler operators where there are some, else as it is."""
    lowering = LOWERINGS.get(given.op)
    if lowering is None and given.op not in OPS and has_function(given):
        lowering = expand
    try:
        if lowering is not None and given.domain:
            _require_types(given)
        found = lowering(sketch, given) if lowering is not None else None
        if found is not None:
            return found
        if any(isinstance(value, list) for value in sketch.given):
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
        blocked = sketch.settings.blocked.intersection(site.nodes[0].outputs)
        if not site.domain and not site.note and (_is_new(site) or blocked):
            return sketch.copy(site)
        return sketch.emit(site, _types(site), site.attributes)
    _learn(sketch, site)
    sketch.view.append(site)
    return site.outputs


def _is_new(site: Site) -> bool:
    """Whether the model does not say what a copy gives: unknown, floats for integers, constant."""
    if not all(value.dtype and value.shape is not None for value in site.results):
        return all(value.dtype for value in site.sources)
    pairs = list(zip(site.inputs, site.nodes[0].inputs, strict=False))
    floats = any(v is not None and d is not None and v.is_float > d.is_float for v, d in pairs)
    return floats or not any(value.variable for value in site.sources)


def reads_deployed(sketch: Sketch, site: Site) -> bool:
    """Whether the deployed values of a node are those of the view, and may be read."""
    odd = any(is_odd(value) for value in (*site.sources, *site.results))
    if sketch.prefix or sketch.settings.shadow or odd:
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


def _types(site: Site) -> list[Known | None]:
    """What the model states of the outputs, with the numbers that can be inferred beside it."""
    stated = [None if value is None else _type(value) for value in site.outputs]
    if site.domain or site.note or not all(value.dtype for value in site.sources):
        return stated
    node = Node(site.name, site.op, site.inputs, site.outputs, site.attributes)
    try:
        found = inferred(to_proto(node), site.inputs, site.opset)
    except ModelError:
        return stated
    pairs = zip(stated, found, strict=True)
    return [known and (known[0], _closer(known[1], other.shape)) for known, other in pairs]


def _closer(one: Shape | None, two: Shape | None) -> Shape | None:
    """A shape with the numbers of another one where it has none."""
    if one is None or two is None or len(one) != len(two):
        return two if one is None else one
    pairs = zip(one, two, strict=True)
    return tuple(b if isinstance(b, int) and not isinstance(a, int) else a for a, b in pairs)


def _learn(sketch: Sketch, site: Site) -> None:
    """Infer types that are not known yet: of shapes, and behind operators of other domains."""
    if site.domain or all(_is_known(value) for value in site.results):
        return
    if not all(value.dtype for value in site.sources):
        return
    node = to_proto(site.nodes[0])
    found = inferred(node, site.inputs, site.opset)
    for value, known in zip(site.outputs, found, strict=True):
        if value is not None:
            sketch.t.graph.learn(value, known.dtype, known.shape)


def _is_known(value: Value) -> bool:
    if not value.dtype or value.shape is None:
        return False
    return value.dtype != TensorProto.INT64 or value.size is not None


def _bound(sketch: Sketch, deployed: Value, result: Seen) -> Seen:
    """The deployed value itself, where it may be read and holds float32."""
    result = sketch.known(result)
    if not isinstance(result, Value) or result is deployed:
        return result
    if sketch.settings.shadow or is_odd(deployed) or not result.variable:
        return result
    if deployed in sketch.settings.blocked:
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
