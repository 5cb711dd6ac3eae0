"""Relevance as colours over the gray picture."""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from onnxlrp.errors import ModelError
from onnxlrp.metadata import HEATMAP, OVERLAY, RELEVANCE
from onnxlrp.pictures.port import Dim, Port
from onnxlrp.pictures.sheet import Sheet

__all__ = ["overlay"]

SEISMIC: Final = ((0, 0, 76), (0, 0, 255), (255, 255, 255), (255, 0, 0), (128, 0, 0))
"""Colours of -1, -1/2, 0, 1/2, 1, as those of the drawings."""

COLOURS: Final = 513

PALE: Final = 0.55
"""Contrast of the gray picture below the colours."""

PER_MILLE: Final = 995
"""Where |relevance| gets the full colour, in thousandths of the pixels."""


def overlay(t: Sheet, model: ModelProto, port: Port, gray: str) -> tuple[Dim, ...]:
    """Write `overlay/<input>` and return its shape, `[N, h, w, 3]` or `[N, T, h, w, 3]`."""
    heat, dims = _heat(t, model, port)
    lead = [0] * (len(dims) - 2)
    strength = _strength(t, t("Reshape", heat, [*lead, -1]))
    index = t("Add", t("Mul", strength, np.float32(COLOURS // 2)), np.float32(COLOURS // 2))
    colour = t("Gather", _colours(), t("Cast", t("Round", index), to=TensorProto.INT32), axis=0)
    colour = t("Cast", colour, to=TensorProto.FLOAT)
    pale = t("Add", t("Mul", gray, np.float32(PALE)), np.float32(255 * (1 - PALE)))
    ground = t("Reshape", pale, [0, -1, 1] if len(lead) == 1 else [0, 1, -1, 1])
    alpha = t("Unsqueeze", t("Sqrt", t("Abs", strength)), [-1])
    mixed = t("Add", ground, t("Mul", t("Sub", colour, ground), alpha))
    mixed = t("Cast", t("Round", mixed), to=TensorProto.UINT8)
    t("Reshape", mixed, t("Concat", t("Shape", heat), [3], axis=0), name=OVERLAY + port.name)
    return (*dims, 3)


def _heat(t: Sheet, model: ModelProto, port: Port) -> tuple[str, tuple[Dim, ...]]:
    """Relevance without its channels, `[N, h, w]` or `[N, T, h, w]`; or the method's own map."""
    shapes = {info.name: len(info.type.tensor_type.shape.dim) for info in model.graph.output}
    found = next((n for n in (RELEVANCE, HEATMAP) if n + port.name in shapes), None)
    if found is None:
        raise ModelError(f"the graph has no relevance and no heatmap of '{port.name}'")
    name, spatial = found + port.name, (port.dim("H"), port.dim("W"))
    info = next(info for info in model.graph.output if info.name == name)
    several = shapes[name] == (5 if found == RELEVANCE else 4)
    targets = info.type.tensor_type.shape.dim[1].dim_value
    lead: tuple[Dim, ...] = (port.dim("N"), targets) if several else (port.dim("N"),)
    if found == HEATMAP:
        return name, (*lead, *spatial)
    axis = port.axes.index("C") + several
    return t("ReduceSum", name, [axis], keepdims=0), (*lead, *spatial)


def _strength(t: Sheet, heat: str) -> str:
    """Values `[..., P]` divided by the 99.5th percentile of their size, within -1 and 1.

    The percentile lies between two of the largest values, as numpy has it; where it is 0 the
    largest takes its place. What is not a number becomes 0.
    """
    size = t("Abs", heat)
    last = t("Sub", t("Shape", heat, start=-1), 1)
    place = t("Mul", last, PER_MILLE)
    below = t("Div", place, 1000)
    part = t("Cast", t("Sub", place, t("Mul", below, 1000)), to=TensorProto.FLOAT)
    above = t("Sub", last, below)
    largest, _ = t.several("TopK", 2, size, t("Add", above, 1))
    low = t("Gather", largest, above, axis=-1)
    high = t("Gather", largest, t("Max", t("Sub", above, 1), 0), axis=-1)
    share = t("Mul", part, np.float32(1e-3))
    limit = t("Add", low, t("Mul", t("Sub", high, low), share))
    most = t("ReduceMax", size, [-1], keepdims=1)
    limit = t("Where", t("Greater", limit, np.float32(0)), limit, most)
    safe = t("Where", t("Greater", limit, np.float32(0)), limit, np.float32(1))
    scaled = t("Clip", t("Div", heat, safe), np.float32(-1), np.float32(1))
    return t("Where", t("IsNaN", scaled), np.float32(0), scaled)


def _colours() -> NDArray[np.uint8]:
    """The colours of 513 steps from -1 to 1."""
    at = np.linspace(0, len(SEISMIC) - 1, COLOURS)
    points = np.array(SEISMIC, np.float64)
    columns = [np.interp(at, np.arange(len(SEISMIC)), points[:, c]) for c in range(3)]
    return np.rint(np.stack(columns, axis=1)).astype(np.uint8)
