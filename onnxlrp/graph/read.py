"""Reads an ONNX model from a file, bytes or a proto, without its external data."""

import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import ModelProto, TensorProto, checker, helper, shape_inference, version_converter

from onnxlrp.errors import ModelError

__all__ = ["FAULTS", "Source", "check_external", "one_line", "read"]

FAULTS = (
    checker.ValidationError,
    shape_inference.InferenceError,
    version_converter.ConvertError,
    RuntimeError,
    ValueError,
)
"""What the onnx package raises for a model that is wrong."""

Source = str | os.PathLike[str] | bytes | ModelProto


def read(source: Source, base_dir: str | os.PathLike[str] | None = None) -> tuple[ModelProto, str]:
    """Parse a model without its external data; return it with the folder of that data."""
    if isinstance(source, ModelProto):
        model = ModelProto()
        model.CopyFrom(source)
        return _parsed(model, "the given ModelProto"), str(base_dir or "")
    if isinstance(source, bytes):
        return _parse(source, "the given bytes"), str(base_dir or "")
    path = Path(source)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"cannot read model '{path}': {error.strerror or error}") from error
    return _parse(data, f"'{path}'"), str(base_dir or path.parent)


def _parse(data: bytes, where: str) -> ModelProto:
    if not data:
        raise ModelError(f"{where} is empty; an ONNX model is expected")
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(
            f"{where} is not an ONNX model, or it is truncated: {one_line(error)}"
        ) from error
    return _parsed(model, where)


def _parsed(model: ModelProto, where: str) -> ModelProto:
    if not model.HasField("graph") or not model.graph.output or not model.opset_import:
        raise ModelError(f"{where} is not an ONNX model: it has no graph with outputs and an opset")
    return model


def one_line(error: Exception) -> str:
    """The text of a library's exception on one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300] or type(error).__name__


def check_external(model: ModelProto, folder: str) -> None:
    """Refuse external data that is missing, truncated or outside of the model's folder."""
    root = Path(folder or ".").resolve()
    for tensor in _tensors(model.graph):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        path = (root / location).resolve()
        if not location or not path.is_relative_to(root):
            raise ModelError(
                f"initializer '{tensor.name}': external data '{location}' leaves the model's folder"
            )
        if not path.is_file():
            raise ModelError(f"initializer '{tensor.name}': external data '{path}' is missing")
        end = _number(tensor, entries, "offset") + _length(tensor, entries)
        if path.stat().st_size < end:
            raise ModelError(
                f"initializer '{tensor.name}': external data '{path}' "
                f"is truncated, {end} bytes expected"
            )


def _number(tensor: TensorProto, entries: Mapping[str, str], key: str) -> int:
    text = entries.get(key, "0")
    if not text.isdecimal():
        raise ModelError(f"initializer '{tensor.name}': external data has {key} '{text}'")
    return int(text)


def _length(tensor: TensorProto, entries: Mapping[str, str]) -> int:
    """The bytes that a tensor needs; what is stated must not be less."""
    stated = _number(tensor, entries, "length")
    try:
        size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, ValueError) as error:
        raise ModelError(f"initializer '{tensor.name}' has no known type") from error
    return stated or math.prod(tensor.dims) * size


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)
