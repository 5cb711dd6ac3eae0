"""Damages a model: its bytes, or its graph."""

from collections.abc import Callable

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, helper

Rng = np.random.Generator


def damage_bytes(data: bytes, rng: Rng) -> bytes:
    """Flip, drop, repeat or cut some bytes."""
    array = bytearray(data)
    for _ in range(int(rng.integers(1, 6))):
        at = int(rng.integers(0, max(len(array), 1)))
        kind = int(rng.integers(0, 5))
        if kind == 0 and array:
            array[at] ^= 1 << int(rng.integers(0, 8))
        elif kind == 1 and array:
            array[at] = int(rng.integers(0, 256))
        elif kind == 2:
            del array[at : at + int(rng.integers(1, 9))]
        elif kind == 3:
            array[at:at] = array[at : at + int(rng.integers(1, 9))]
        elif rng.random() < 0.2:
            del array[at:]
    return bytes(array)


def _node(m: ModelProto, rng: Rng) -> onnx.NodeProto | None:
    nodes = m.graph.node
    return nodes[int(rng.integers(0, len(nodes)))] if nodes else None


def _names(m: ModelProto) -> list[str]:
    made = [name for node in m.graph.node for name in node.output]
    return [*made, *(v.name for v in m.graph.input), *(t.name for t in m.graph.initializer)]


def rewire(m: ModelProto, rng: Rng) -> None:
    """Let a node read another value; a cycle may come of it."""
    node = _node(m, rng)
    if node is not None and node.input:
        node.input[int(rng.integers(0, len(node.input)))] = str(rng.choice(_names(m)))


def retype(m: ModelProto, rng: Rng) -> None:
    """Change an element type of an input, an output or an initializer."""
    kind = int(rng.integers(0, 24))
    values = [*m.graph.input, *m.graph.output]
    if rng.random() < 0.5 and m.graph.initializer:
        m.graph.initializer[int(rng.integers(0, len(m.graph.initializer)))].data_type = kind
    else:
        values[int(rng.integers(0, len(values)))].type.tensor_type.elem_type = kind


def reshape(m: ModelProto, rng: Rng) -> None:
    """Change a size of an input, an output or an initializer."""
    values = [*m.graph.input, *m.graph.output]
    dims = values[int(rng.integers(0, len(values)))].type.tensor_type.shape.dim
    if rng.random() < 0.3 and m.graph.initializer:
        tensor = m.graph.initializer[int(rng.integers(0, len(m.graph.initializer)))]
        if tensor.dims:
            tensor.dims[0] = int(rng.integers(-1, 9))
    elif dims:
        dim = dims[int(rng.integers(0, len(dims)))]
        if rng.random() < 0.5:
            dim.dim_param = "N"
        else:
            dim.dim_value = int(rng.integers(-1, 9))


def attribute(m: ModelProto, rng: Rng) -> None:
    """Change, drop or invent an attribute."""
    node = _node(m, rng)
    if node is None:
        return
    if not node.attribute:
        node.attribute.append(helper.make_attribute("axis", int(rng.integers(-5, 6))))
        return
    item = node.attribute[int(rng.integers(0, len(node.attribute)))]
    if item.type == onnx.AttributeProto.INTS and item.ints:
        item.ints[int(rng.integers(0, len(item.ints)))] = int(rng.integers(-3, 12))
    elif item.type == onnx.AttributeProto.INT:
        item.i = int(rng.choice([-(2**40), -1, 0, 1, 2, 3, 7, 2**40]))
    elif item.type == onnx.AttributeProto.FLOAT:
        item.f = float(rng.choice([np.nan, np.inf, -1.0, 0.0, 0.3]))
    else:
        node.attribute.remove(item)


def rename(m: ModelProto, rng: Rng) -> None:
    """Give a value or node the name of another one, of an explanation graph, or none."""
    node = _node(m, rng)
    new = str(rng.choice([*_names(m), "", "relevance/x", "lrp/a", "target", "seed"]))
    if node is None:
        return
    if rng.random() < 0.4:
        node.name = new
    elif node.output:
        node.output[0] = new


def duplicate(m: ModelProto, rng: Rng) -> None:
    """Write a node twice, with other outputs or the same."""
    node = _node(m, rng)
    if node is None:
        return
    copy = m.graph.node.add()
    copy.CopyFrom(node)
    if rng.random() < 0.7:
        copy.name = f"{node.name}_again"
        copy.output[:] = [f"{name}_again" for name in node.output]


def operator(m: ModelProto, rng: Rng) -> None:
    """Put another operator in the place of one."""
    node = _node(m, rng)
    if node is not None:
        names = [schema.name for schema in onnx.defs.get_all_schemas() if not schema.domain]
        node.op_type = str(rng.choice(names))


def remove(m: ModelProto, rng: Rng) -> None:
    """Leave a node, an input or an initializer out."""
    parts = [m.graph.node, m.graph.initializer, m.graph.input]
    part = parts[int(rng.integers(0, 3))]
    if part:
        del part[int(rng.integers(0, len(part)))]


def version(m: ModelProto, rng: Rng) -> None:
    """Change the opset, the IR version or a domain."""
    if rng.random() < 0.6 and m.opset_import:
        m.opset_import[0].version = int(rng.integers(-1, 40))
    elif rng.random() < 0.5:
        m.ir_version = int(rng.integers(0, 20))
    else:
        node = _node(m, rng)
        if node is not None:
            node.domain = "com.microsoft"


def expose(m: ModelProto, rng: Rng) -> None:
    """Make an inner value an output."""
    name = str(rng.choice(_names(m)))
    m.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))


MUTATIONS: tuple[Callable[[ModelProto, Rng], None], ...] = (
    rewire, rewire, retype, reshape, attribute, attribute, rename, duplicate, operator, remove,
    version, expose,
)  # fmt: skip


def damage_graph(model: ModelProto, rng: Rng) -> bytes:
    """Mutate a copy of a model once or a few times."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for _ in range(int(rng.integers(1, 4))):
        try:
            MUTATIONS[int(rng.integers(0, len(MUTATIONS)))](copy, rng)
        except ValueError:
            continue
    return copy.SerializeToString()
