"""Brings a model to opset 21: functions inlined, nodes named, values typed."""

import logging

import onnx
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
from onnxlrp.graph.read import one_line

__all__ = ["IR", "OPSET", "check_operators", "lift"]

log = logging.getLogger(__name__)

OPSET = 21
IR = 10
OLDEST = 7
NEWEST_STAMP = 26
NEWEST_IR = 13
HEAVY = 4096
"""Initializers above this many bytes stay outside of lifting and shape inference."""


def _standard_opset(model: ModelProto) -> int:
    versions = [item.version for item in model.opset_import if item.domain in {"", "ai.onnx"}]
    return versions[0] if versions else OPSET


def check_operators(model: ModelProto) -> None:
    """Refuse opsets out of range and standard operators that ONNX does not have."""
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
                    f"node '{node.name}' ({node.op_type}, opset {opset}): ONNX has no such "
                    "operator at this opset; export again or replace the node"
                ) from error


def lift(model: ModelProto) -> ModelProto:
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
        raise ModelError(f"the model is not valid ONNX: {one_line(error)}") from error
    model = _typed(_converted(model))
    _give_heavy(model.graph, heavy)
    _name_nodes(model.graph)
    model.ir_version = (
        IR if _standard_opset(model) <= OPSET else max(IR, min(model.ir_version, NEWEST_IR))
    )
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
            log.info("opset %d stays: %s", opset, one_line(error))
            return model
        raise ModelError(f"cannot lift opset {opset} to {OPSET}: {one_line(error)}") from error


def _typed(model: ModelProto) -> ModelProto:
    try:
        return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except (shape_inference.InferenceError, ValueError, RuntimeError) as error:
        raise ModelError(f"types and shapes do not fit: {one_line(error)}") from error


def _name_nodes(graph: onnx.GraphProto) -> None:
    used: set[str] = set()
    for index, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{index}"
        node.name = name if name not in used else f"{name}_{index}"
        used.add(node.name)
