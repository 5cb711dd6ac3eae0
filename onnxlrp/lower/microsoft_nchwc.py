"""Convolution and pooling in blocks of channels, `com.microsoft.nchwc`, by the standard operators.

ONNX Runtime writes them with all optimisations on. A blocked value `[N, C, H, W]` lies in memory
as `[N, C / b, H, W, b]`, and so do weights; b belongs to the machine that made the file, which is
the only kind of machine that can run it. The view computes in plain order, with the deployed values
only where ReorderOutput gives them.
"""

import numpy as np
from onnx import TensorProto

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Graph, Value
from onnxlrp.graph.view import Site
from onnxlrp.lower.microsoft_fused import WINDOW, activated, kept, swapped
from onnxlrp.lower.registry import lower
from onnxlrp.lower.sketch import Seen, Sketch
from onnxlrp.metadata import SCOPE

__all__ = ["blocked"]

DOMAIN = "com.microsoft.nchwc"

PROBE = "nchwc_block"
"""Scope of the nodes that find the size of a block."""

LARGEST = 16
"""Largest block that ONNX Runtime uses."""


def blocked(graph: Graph) -> frozenset[Value]:
    """The values of a model that lie in memory in blocks of channels."""
    found: set[Value] = set()
    for node in graph.nodes:
        if node.domain == DOMAIN:
            if node.op != "ReorderOutput":
                found.update(node.results)
        elif not found.isdisjoint(node.sources):
            found.update(node.results)
    return frozenset(found)


@lower("com.microsoft.nchwc.Conv")
def conv(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = activation(Conv(x, w, b) + z)."""
    x = site.required(0)
    y = sketch.op("Conv", x, _plain_weight(sketch, site, x), site.input(2), **kept(site, *WINDOW))
    z = site.input(3)
    if z is not None:
        y = sketch.op("Add", *_same_channels(sketch, y, z))
    return (activated(sketch, site, y),)


def _plain_weight(sketch: Sketch, site: Site, x: Value) -> Value:
    """The weight `[O, I, kH, kW]` in plain order; one block axis where x is plain or depthwise."""
    weight = site.required(1)
    if weight.size is None or weight.shape is None:
        raise UnsupportedOp("its weight has no known shape")
    shape = [int(dim) for dim in weight.shape if isinstance(dim, int)]
    group, count = site.integer("group", 1), shape[1]
    block = _block(sketch)
    source = sketch.nodes[0].inputs[0]
    if source in sketch.settings.blocked and not (group > 1 and count == 1):
        inner = sketch.op("Div", [count], block)
        form = sketch.op("Concat", [-1], inner, shape[2:], block, block, axis=0)
        order = [0, 5, 1, 4, 2, 3]
    else:
        form = sketch.op("Concat", [-1, *shape[1:]], block, axis=0)
        order = [0, 4, 1, 2, 3]
    parts = swapped(sketch, sketch.op("Reshape", weight, form), *order)
    plain = sketch.op("Reshape", parts, shape)
    if group > 1 or source is None:
        return plain
    before = sketch.t.graph.producer(source)
    if before is None or before.op != "ReorderInput" or isinstance((x.shape or [0, 0])[1], int):
        return _first_channels(sketch, plain, x)
    return sketch.op("Slice", plain, [0], sketch.op("Shape", x, start=1, end=2), [1])


def _block(sketch: Sketch) -> Value:
    """The size b `[1]` of a block, found when the model runs: where the second column begins."""
    scope = sketch.t.scope
    before = sketch.t.graph.values.get(f"{SCOPE}{PROBE}/ArgMax_0")
    if before is not None:
        return before
    numbers = np.arange(2 * LARGEST, dtype=np.float32).reshape(1, LARGEST, 1, 2)
    known = (int(TensorProto.FLOAT), numbers.shape)
    source = sketch.t.constant(numbers)
    sketch.t.scope = PROBE
    plain = {"channels_last": 0}
    reordered = sketch.t.emit("ReorderInput", [source], [known], plain, domain=DOMAIN)[0]
    flat = sketch.op("Reshape", reordered, [-1])
    found = sketch.op("Cast", sketch.op("Equal", flat, 1.0), to=TensorProto.INT32)
    block = sketch.op("ArgMax", found, axis=0, keepdims=1)
    sketch.t.scope = scope
    return block


def _first_channels(sketch: Sketch, value: Value, like: Value) -> Value:
    """As many channels as another value has; those behind hold nothing."""
    mine, others = (item.shape[1] if item.shape else None for item in (value, like))
    if isinstance(mine, int) and isinstance(others, int) and others < mine:
        return sketch.op("Slice", value, [0], [others], [1])
    return value


def _same_channels(sketch: Sketch, a: Value, b: Value) -> tuple[Value, Value]:
    return _first_channels(sketch, a, b), _first_channels(sketch, b, a)


@lower(*(f"{DOMAIN}.{name}" for name in ("AveragePool", "GlobalAveragePool", "MaxPool")))
def pool(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: the standard operator of that name."""
    op = site.op.removeprefix(f"{DOMAIN}.")
    return (sketch.op(op, site.required(0), **kept(site, *WINDOW, "count_include_pad")),)


@lower(f"{DOMAIN}.Upsample")
def upsample(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Resize(x) by whole factors."""
    scales = np.array(site.integers("scales"), dtype=np.float32)
    settings = kept(site, "coordinate_transformation_mode", "mode")
    if site.text("mode", "nearest") == "nearest":
        settings["nearest_mode"] = "floor"
    return (sketch.op("Resize", site.required(0), None, scales, **settings),)


@lower(f"{DOMAIN}.ReorderInput")
def reorder_input(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = x; from channels last where it says so."""
    x = site.required(0)
    last = site.integer("channels_last")
    return (swapped(sketch, x, 0, 3, 1, 2) if last else sketch.op("Identity", x),)


@lower(f"{DOMAIN}.ReorderOutput")
def reorder_output(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: the first channels of x; channels last where it says so."""
    y, channels = site.required(0), site.integer("channels")
    if y.shape is None or y.shape[1] != channels:
        y = sketch.op("Slice", y, [0], [channels], [1])
    last = site.integer("channels_last")
    return (swapped(sketch, y, 0, 2, 3, 1) if last else sketch.op("Identity", y),)
