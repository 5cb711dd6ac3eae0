"""Turns a graph back into a model and writes it whole or not at all."""

import filecmp
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import ModelProto, TensorProto, helper

from onnxlrp.errors import ModelError
from onnxlrp.graph.graph import Graph, Node, Value
from onnxlrp.graph.proto import to_info, to_proto

__all__ = ["LIMIT", "save", "to_bytes", "to_model"]

LIMIT = 2**31 - 1
"""Largest protobuf message in bytes."""

_CODE = frozenset({".py", ".pyc", ".pyd", ".so"})


def to_model(
    graph: Graph,
    inputs: Sequence[Value],
    outputs: Sequence[Value],
    properties: Mapping[str, str],
) -> ModelProto:
    """Append the emitted nodes, inputs, outputs and metadata to a copy of the source."""
    model = ModelProto()
    model.CopyFrom(graph.source)
    _drop_value_info(model.graph, graph.stated)
    emitted = [node for node in graph.nodes if not node.deployed]
    model.graph.node.extend(to_proto(node) for node in emitted)
    known = {tensor.name for tensor in model.graph.initializer}
    produced = {value for node in graph.nodes for value in node.results}
    for value in _read(emitted):
        if value.tensor is not None and value not in produced and value.name not in known:
            model.graph.initializer.append(value.tensor)
            known.add(value.name)
    for value in inputs:
        model.graph.input.append(to_info(value))
        if value.tensor is not None and value.name not in known:
            model.graph.initializer.append(value.tensor)
    model.graph.output.extend(to_info(value) for value in outputs)
    model.producer_name = "onnxlrp"
    helper.set_model_props(model, {**{p.key: p.value for p in model.metadata_props}, **properties})
    return model


def _read(nodes: Sequence[Node]) -> list[Value]:
    return list(dict.fromkeys(value for node in nodes for value in node.sources))


def _drop_value_info(graph: onnx.GraphProto, stated: frozenset[str]) -> None:
    """Keep types that the source states, for fusions ask for them, or that no schema can infer."""
    foreign = stated | {name for node in graph.node if node.domain for name in node.output}
    kept = [info for info in graph.value_info if info.name in foreign]
    del graph.value_info[:]
    graph.value_info.extend(kept)


def to_bytes(model: ModelProto, folder: str) -> bytes:
    """Serialize a model with all its data.

    Raises:
        ModelError: The result would exceed 2 GiB.
    """
    outside = sum(_length(tensor) for tensor in _external(model))
    if model.ByteSize() + outside > LIMIT:
        raise ModelError("the model is larger than 2 GiB: save it to a file instead")
    if outside:
        model = _copy(model)
        onnx.load_external_data_for_model(model, folder)
    return bytes(model.SerializeToString(deterministic=True))


def save(model: ModelProto, path: str | os.PathLike[str], folder: str) -> None:
    """Write a model; external data is copied beside it.

    Raises:
        ModelError: The file or its data cannot be written; nothing is left half-written. The model
            names its data: a hidden file, code that Python may import, or another file that exists
            is not written.
    """
    target = Path(path)
    if not target.parent.is_dir():
        raise ModelError(f"cannot write '{target}': there is no folder '{target.parent}'")
    try:
        _copy_external(model, Path(folder or "."), target.parent)
        if model.ByteSize() > LIMIT:
            _save_large(model, target)
        else:
            _write(target, model.SerializeToString(deterministic=True))
    except OSError as error:
        raise ModelError(f"cannot write '{target}': {error.strerror or error}") from error


def _save_large(model: ModelProto, target: Path) -> None:
    data = target.name + ".data"
    partial = target.with_name(f".{target.name}.partial")
    try:
        onnx.save_model(
            _copy(model),
            str(partial),
            save_as_external_data=True,
            location=data,
            size_threshold=1024,
        )
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _write(target: Path, data: bytes) -> None:
    partial = target.with_name(f".{target.name}.partial")
    try:
        partial.write_bytes(data)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def _copy_external(model: ModelProto, source: Path, target: Path) -> None:
    locations = {_entries(tensor)["location"] for tensor in _external(model)}
    for location in sorted(locations):
        there = target / location
        if _is_there(source / location, there):
            continue
        if there.suffix.lower() in _CODE or any(part[0] == "." for part in Path(location).parts):
            raise ModelError(f"external data '{location}' is not copied under such a name")
        there.parent.mkdir(parents=True, exist_ok=True)
        partial = there.with_name(f".{there.name}.partial")
        try:
            shutil.copyfile(source / location, partial)
            partial.replace(there)
        finally:
            partial.unlink(missing_ok=True)


def _is_there(data: Path, copy: Path) -> bool:
    if not os.path.lexists(copy):
        return False
    if copy.is_file() and (copy.samefile(data) or filecmp.cmp(copy, data, shallow=False)):
        return True
    raise ModelError(f"'{copy}' exists and is other data: remove it, or write to another folder")


def _external(model: ModelProto) -> list[TensorProto]:
    return [t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL]


def _entries(tensor: TensorProto) -> dict[str, str]:
    return {entry.key: entry.value for entry in tensor.external_data}


def _length(tensor: TensorProto) -> int:
    stated = int(_entries(tensor).get("length", 0))
    return stated or int(helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize) * _count(
        tensor
    )


def _count(tensor: TensorProto) -> int:
    count = 1
    for dim in tensor.dims:
        count *= dim
    return count


def _copy(model: ModelProto) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    return copy
