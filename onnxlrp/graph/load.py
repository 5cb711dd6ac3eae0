"""Reads an ONNX model: file, bytes or proto -> lifted model -> graph."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import (
    ModelProto,
    TensorProto,
    checker,
    helper,
    inliner,
    shape_inference,
    version_converter,
)

from onnxlrp.errors import ModelError, UnsupportedOp
from onnxlrp.graph.fold import folded
from onnxlrp.graph.graph import Attribute, Graph, Node, Shape, Value

log = logging.getLogger(__name__)

__all__ = ["IR", "OLDEST", "OPSET", "build", "load", "read"]

OPSET = 21
IR = 10
OLDEST = 7
NEWEST_STAMP = 26
HEAVY = 4096
"""Initializers above this many bytes stay outside of lifting and shape inference."""

Source = str | os.PathLike[str] | bytes | ModelProto


def load(source: Source, base_dir: str | os.PathLike[str] | None = None) -> Graph:
    """Read, check, lift and type a model.

    Args:
        source: Path, serialized bytes, or ModelProto; never changed.
        base_dir: Folder of external data for bytes and protos.

    Raises:
        ModelError: The source cannot be read, is not valid ONNX, or cannot be lifted.
    """
    model, folder = read(source, base_dir)
    _check_external(model, folder)
    _check_operators(model)
    return build(_lift(model), folder)


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
            f"{where} is not an ONNX model, or it is truncated: {_line(error)}"
        ) from error
    return _parsed(model, where)


def _parsed(model: ModelProto, where: str) -> ModelProto:
    if not model.HasField("graph") or not model.graph.output or not model.opset_import:
        raise ModelError(f"{where} is not an ONNX model: it has no graph with outputs and an opset")
    return model


def _line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines)[:300] or type(error).__name__


def _check_external(model: ModelProto, folder: str) -> None:
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
        end = int(entries.get("offset", 0)) + int(entries.get("length", 0))
        if path.stat().st_size < end:
            raise ModelError(
                f"initializer '{tensor.name}': external data '{path}' "
                f"is truncated, {end} bytes expected"
            )


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("g"):
                yield from _tensors(attribute.g)


def _standard_opset(model: ModelProto) -> int:
    versions = [item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}]
    return versions[0] if versions else OPSET


def _check_operators(model: ModelProto) -> None:
    opset = _standard_opset(model)
    if opset < OLDEST:
        raise ModelError(
            f"opset {opset} is older than {OLDEST}; "
            "convert the model with onnx.version_converter.convert_version first"
        )
    if opset > onnx.defs.onnx_opset_version():
        raise ModelError(
            f"opset {opset} is newer than {onnx.defs.onnx_opset_version()}, the newest that the "
            "installed onnx package knows; update onnx or export with an older opset"
        )
    functions = {(function.domain, function.name) for function in model.functions}
    for node in model.graph.node:
        if node.domain in {"", "ai.onnx"} and (node.domain, node.op_type) not in functions:
            try:
                onnx.defs.get_schema(node.op_type, opset, "")
            except onnx.defs.SchemaError as error:
                raise UnsupportedOp(
                    f"node '{node.name}' ({node.op_type}, opset {opset}): ONNX has no such operator "
                    "at this opset; export again or replace the node"
                ) from error


def _lift(model: ModelProto) -> ModelProto:
    """Inline functions, bring the opset to 21 where that is possible, name every node."""
    if model.functions:
        model = inliner.inline_local_functions(model)
    for item in model.opset_import:
        item.domain = "" if item.domain == "ai.onnx" else item.domain
    if not any(item.domain == "" for item in model.opset_import):
        model.opset_import.append(helper.make_opsetid("", OPSET))
    if model.ir_version < 4:
        _drop_initializer_inputs(model)
    heavy = _take_heavy(model.graph)
    try:
        checker.check_model(model)
    except (checker.ValidationError, ValueError, RuntimeError) as error:
        raise ModelError(f"the model is not valid ONNX: {_line(error)}") from error
    model = _typed(_converted(model))
    _give_heavy(model.graph, heavy)
    _name_nodes(model.graph)
    model.ir_version = IR if _standard_opset(model) <= OPSET else max(IR, min(model.ir_version, 13))
    return model


def _drop_initializer_inputs(model: ModelProto) -> None:
    """Before IR 4 every initializer had to be listed as an input; none of them is one."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = 4


def _take_heavy(graph: onnx.GraphProto) -> list[TensorProto]:
    """Turn heavy initializers into typed inputs, so that passes do not copy weights."""
    listed = {value.name for value in graph.input}
    heavy: list[TensorProto] = []
    light: list[TensorProto] = []
    for tensor in graph.initializer:
        large = tensor.data_location == TensorProto.EXTERNAL or tensor.ByteSize() > HEAVY
        (heavy if large and tensor.name not in listed else light).append(tensor)
    heavy = [_copied(tensor) for tensor in heavy]
    light = [_copied(tensor) for tensor in light]
    del graph.initializer[:]
    graph.initializer.extend(light)
    for tensor in heavy:
        graph.input.append(
            helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims))
        )
    return heavy


def _copied(tensor: TensorProto) -> TensorProto:
    copy = TensorProto()
    copy.CopyFrom(tensor)
    return copy


def _give_heavy(graph: onnx.GraphProto, heavy: list[TensorProto]) -> None:
    names = {tensor.name for tensor in heavy}
    inputs = [value for value in graph.input if value.name not in names]
    del graph.input[:]
    graph.input.extend(inputs)
    graph.initializer.extend(heavy)


def _converted(model: ModelProto) -> ModelProto:
    opset = _standard_opset(model)
    if opset == OPSET:
        return model
    try:
        return version_converter.convert_version(model, OPSET)
    except (RuntimeError, ValueError, version_converter.ConvertError) as error:
        if OPSET < opset <= NEWEST_STAMP:
            log.info("opset %d stays: %s", opset, _line(error))
            return model
        raise ModelError(f"cannot lift opset {opset} to {OPSET}: {_line(error)}") from error


def _typed(model: ModelProto) -> ModelProto:
    try:
        return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise ModelError(f"types and shapes do not fit: {_line(error)}") from error


def _name_nodes(graph: onnx.GraphProto) -> None:
    used: set[str] = set()
    for index, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{index}"
        node.name = name if name not in used else f"{name}_{index}"
        used.add(node.name)


def build(model: ModelProto, folder: str = "") -> Graph:
    """Make the graph of a lifted model."""
    graph = Graph(model, folder)
    types = _types(model.graph)
    listed = {value.name for value in model.graph.input}
    for tensor in model.graph.initializer:
        overridable = tensor.name in listed
        shape: Shape = tuple(tensor.dims)
        kept = None if overridable else tensor
        graph.declare(
            Value(tensor.name, tensor.data_type, shape, kept, folder, variable=overridable)
        )
    constants = {tensor.name for tensor in model.graph.initializer}
    graph.inputs = tuple(
        graph.declare(Value(value.name, *types[value.name], variable=True))
        for value in model.graph.input
        if value.name not in constants
    )
    for proto in model.graph.node:
        _add(graph, proto, types)
    graph.outputs = tuple(graph.values[value.name] for value in model.graph.output)
    return graph


def _types(graph: onnx.GraphProto) -> dict[str, tuple[int, Shape | None]]:
    types: dict[str, tuple[int, Shape | None]] = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        tensor = value.type.tensor_type
        shape = None
        if tensor.HasField("shape"):
            shape = tuple(_dim(dim) for dim in tensor.shape.dim)
        types[value.name] = (tensor.elem_type, shape)
    return types


def _dim(dim: onnx.TensorShapeProto.Dimension) -> int | str | None:
    if dim.HasField("dim_value"):
        return int(dim.dim_value)
    return str(dim.dim_param) or None


def _add(graph: Graph, proto: onnx.NodeProto, types: dict[str, tuple[int, Shape | None]]) -> None:
    inputs = tuple(graph.values[name] if name else None for name in proto.input)
    captured = [name for item in proto.attribute if item.HasField("g") for name in _outer(item.g)]
    variable = any(value.variable for value in inputs if value is not None) or any(
        graph.values[name].variable for name in captured if name in graph.values
    )
    constants = folded(proto, inputs, graph.opset)
    outputs = []
    for name, tensor in zip(proto.output, constants, strict=True):
        dtype, shape = types.get(name, (0, None))
        if tensor is not None:
            dtype, shape = tensor.data_type, tuple(tensor.dims)
        known = Value(name, dtype, shape, tensor, variable=variable and tensor is None)
        outputs.append(known if name else None)
    attributes: dict[str, Attribute] = {item.name: _attribute(item) for item in proto.attribute}
    graph.add(
        Node(
            proto.name,
            proto.op_type,
            inputs,
            tuple(outputs),
            attributes,
            proto.domain,
            deployed=True,
        )
    )


def _outer(graph: onnx.GraphProto) -> Iterator[str]:
    for node in graph.node:
        yield from node.input


def _attribute(item: onnx.AttributeProto) -> Attribute:
    value = helper.get_attribute_value(item)
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, TensorProto):
        return onnx.numpy_helper.to_array(value)
    if item.type in {onnx.AttributeProto.INTS, onnx.AttributeProto.FLOATS}:
        return list(value)
    if item.type == onnx.AttributeProto.STRINGS:
        return [text.decode(errors="replace") for text in value]
    return value  # type: ignore[no-any-return]
