"""An explanation graph with pictures in and pictures out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol

from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, checker, helper

from onnxlrp.compile import ExplanationGraph
from onnxlrp.errors import InputError, ModelError
from onnxlrp.graph.read import FAULTS, one_line
from onnxlrp.graph.weights import bare
from onnxlrp.metadata import OVERLAY, PICTURE, SCOPE, Metadata
from onnxlrp.pictures.over import overlay
from onnxlrp.pictures.port import Dim, Port, find_port
from onnxlrp.pictures.prepare import Cut, arrange, gray, shown
from onnxlrp.pictures.sheet import Sheet

__all__ = ["Steps", "with_pictures"]

RAW: Final[Mapping[str, object]] = {"layout": "NHWC", "channels": "rgb", "dtype": "uint8"}
"""The preprocessing of the new input: none."""


class Steps(Protocol):
    """A preprocessing that can say itself as JSON, such as `onnxlrp.data.Preprocessing`."""

    def to_json(self) -> dict[str, object]:
        """Return its fields as a JSON object."""


def with_pictures(
    graph: ExplanationGraph, preprocessing: Steps | Mapping[str, object] | None = None
) -> ExplanationGraph:
    """Let an explanation graph take pictures as files hold them, and show its relevance on them.

    The input of the model becomes `picture`: uint8 RGB `[N, H, W, 3]`, any H and W. It is resized
    (`weight(i, j) = max(0, 2 M - |(2j + 1) R - (2i + 1) L|)`, rows divided by their sum, for L
    pixels that become R, M = max(L, R), in fixed point of 22 bits: pillow's bilinear filter), cut,
    normalised by a table and explained. Output `overlay/<input>`, uint8 `[N, h, w, 3]`: the picture
    as the model sees it in gray, coloured by relevance over the 99.5th percentile of |relevance|,
    both signs alike; relevance that is not a number gets no colour. Rows are resized before columns
    (pillow 13 does the reverse where the height shrinks and the width grows, and in pictures that
    shrink and are more than twice as high as wide: there pixels may differ by one level).

    Args:
        graph: The graph; its other inputs and all its outputs stay.
        preprocessing: What happens to a picture; None: what the graph says of it.

    Raises:
        InputError: No preprocessing, or one that does not fit the input.
        ModelError: The graph takes no picture, or already holds one of the new names.
    """
    given = graph.metadata.preprocessing if preprocessing is None else preprocessing
    entries = dict(given) if isinstance(given, Mapping) else given.to_json()
    if preprocessing is None and not entries:
        raise InputError("pictures in the graph need a preprocessing: say one, such as 'imagenet'")
    model = ModelProto()
    model.CopyFrom(graph.model)
    port = find_port(model, graph.metadata, entries)
    before, after = Sheet(f"{SCOPE}{PICTURE}/"), Sheet(f"{SCOPE}{OVERLAY}")
    _refuse(model, (PICTURE, OVERLAY + port.name), (before.prefix, after.prefix))
    pixels = shown(before, Cut.of(entries, port))
    arrange(before, port, entries, pixels)
    shape = overlay(after, model, port, gray(before, pixels))
    _join(model, port, (before, after), shape)
    metadata = _describe(graph.metadata, port, entries)
    helper.set_model_props(
        model, {p.key: p.value for p in model.metadata_props} | metadata.properties()
    )
    try:
        checker.check_model(bare(model), full_check=True)
    except FAULTS as error:
        raise ModelError(f"the graph with pictures is not valid ONNX: {one_line(error)}") from error
    return ExplanationGraph(model, metadata, graph.folder)


def _refuse(model: ModelProto, names: Sequence[str], prefixes: tuple[str, ...]) -> None:
    values = (*model.graph.input, *model.graph.output, *model.graph.initializer)
    used = {item.name for item in values} | {n for node in model.graph.node for n in node.output}
    taken = [name for name in sorted(used) if name in names or name.startswith(prefixes)]
    if taken:
        raise ModelError(f"the graph already has a value '{taken[0]}': pictures cannot be added")


def _join(
    model: ModelProto, port: Port, sheets: tuple[Sheet, Sheet], shape: tuple[Dim, ...]
) -> None:
    """Put the nodes around those of the graph, and the new input in the place of the old one."""
    before, after = sheets
    nodes = [*before.nodes, *model.graph.node, *after.nodes]
    copies = [NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    for sheet in sheets:
        model.graph.initializer.extend(sheet.constants.values())
    place = [info.name for info in model.graph.input].index(port.name)
    model.graph.value_info.append(model.graph.input[place])
    free = (f"{PICTURE}_height", f"{PICTURE}_width")
    model.graph.input[place].CopyFrom(_info(PICTURE, (port.dim("N"), *free, 3)))
    model.graph.output.append(_info(OVERLAY + port.name, shape))


def _info(name: str, dims: tuple[Dim, ...]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.UINT8, list(dims))


def _describe(metadata: Metadata, port: Port, entries: Mapping[str, object]) -> Metadata:
    inputs = tuple(PICTURE if name == port.name else name for name in metadata.inputs)
    composite = {**metadata.composite, PICTURE: {"input": port.name, "preprocessing": entries}}
    return replace(metadata, inputs=inputs, composite=composite, preprocessing=dict(RAW))
