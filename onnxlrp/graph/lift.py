"""Brings a model to opset 21: functions inlined, nodes named, values typed."""

import logging

import onnx
from onnx import (
    ModelProto,
    NodeProto,
    TensorProto,
    checker,
    helper,
    inliner,
    version_converter,
)

from onnxlrp.errors import ModelError, UnsupportedOp
from onnxlrp.graph.read import FAULTS, one_line
from onnxlrp.graph.standins import infer
from onnxlrp.graph.weights import bare, is_heavy

__all__ = ["IR", "OPSET", "check_operators", "lift", "restore"]

log = logging.getLogger(__name__)

OPSET = 21
IR = 10
OLDEST = 7
OLDEST_SCAN = 8
NEWEST_STAMP = 26
NEWEST_IR = 13
FOREIGN = {"LayerNormalization": 17, "SimplifiedLayerNormalization": 1 << 16}
"""Operators that ONNX Runtime writes into the domain of ONNX, and the opset that has them."""

FOREIGN_DOMAIN = "com.microsoft"
"""Where such operators are put while the model is read; `save` puts them back."""


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
    if opset == OLDEST_SCAN and any(node.op_type == "Scan" for node in model.graph.node):
        raise UnsupportedOp(
            f"Scan of opset {opset} has a batch axis that newer ones lack; export with opset 9"
        )
    functions = {(function.domain, function.name) for function in model.functions}
    for node in model.graph.node:
        if is_foreign(node, opset):
            continue
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
    _tidy(model)
    if model.ir_version < 4:
        _drop_initializer_inputs(model)
    weights = _weights(model)
    light = bare(model)
    try:
        checker.check_model(light)
    except FAULTS as error:
        raise ModelError(f"the model is not valid ONNX: {one_line(error)}") from error
    lifted = _converted(light)
    _adopt(lifted)
    _give_back(lifted.graph, weights)
    _name_nodes(lifted.graph)
    newest = _standard_opset(lifted) > OPSET
    lifted.ir_version = max(IR, min(model.ir_version, NEWEST_IR)) if newest else IR
    return lifted


def _tidy(model: ModelProto) -> None:
    """One opset for each domain; inputs that hold nothing absent; foreign operators marked."""
    versions: dict[str, int] = {}
    for item in model.opset_import:
        domain = "" if item.domain == "ai.onnx" else item.domain
        versions[domain] = max(item.version, versions.get(domain, 0))
    versions.setdefault("", OPSET)
    if any(is_foreign(node, versions[""]) for node in model.graph.node):
        versions.setdefault(FOREIGN_DOMAIN, 1)
    del model.opset_import[:]
    model.opset_import.extend(helper.make_opsetid(*item) for item in versions.items())
    empty = {tensor.name for tensor in model.graph.initializer if 0 in tensor.dims}
    for node in model.graph.node:
        if is_foreign(node, versions[""]):
            node.domain = FOREIGN_DOMAIN
        if node.op_type == "Resize" and len(node.input) > 3 and node.input[3]:
            node.input[1:] = ["" if name in empty else name for name in node.input[1:]]


def is_foreign(node: NodeProto, opset: int) -> bool:
    """Whether ONNX Runtime wrote an operator of its own into the domain of ONNX."""
    return node.domain in {"", "ai.onnx"} and opset < FOREIGN.get(node.op_type, 0)


def _drop_initializer_inputs(model: ModelProto) -> None:
    """Before IR 4 every initializer had to be listed as an input; none of them is one."""
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = 4


def _adopt(model: ModelProto) -> None:
    """Let the operators that ONNX has at the new opset be those of ONNX."""
    opset = _standard_opset(model)
    for node in model.graph.node:
        if node.domain == FOREIGN_DOMAIN and opset >= FOREIGN.get(node.op_type, opset + 1):
            node.domain = ""


def restore(model: ModelProto) -> None:
    """Put the operators of ONNX Runtime back into the domain where it looks for them."""
    for node in model.graph.node:
        if node.domain == FOREIGN_DOMAIN and node.op_type in FOREIGN:
            node.domain = ""


def _weights(model: ModelProto) -> list[TensorProto]:
    listed = {value.name for value in model.graph.input}
    tensors = model.graph.initializer
    return [tensor for tensor in tensors if is_heavy(tensor) and tensor.name not in listed]


def _give_back(graph: onnx.GraphProto, weights: list[TensorProto]) -> None:
    """Turn the inputs that stood for weights into weights again."""
    names = {tensor.name for tensor in weights}
    inputs = [value for value in graph.input if value.name not in names]
    del graph.input[:]
    graph.input.extend(inputs)
    graph.initializer.extend(weights)


def _converted(model: ModelProto) -> ModelProto:
    """The model at opset 21, or at the smallest newer one that holds its operators; typed."""
    opset = _standard_opset(model)
    reason = ""
    for stamp in range(OPSET, max(OPSET, min(opset, NEWEST_STAMP)) + 1):
        try:
            same = stamp == opset
            return infer(model if same else version_converter.convert_version(model, stamp))
        except FAULTS as error:
            reason = reason or one_line(error)
            log.info("opset %d does not hold the model: %s", stamp, one_line(error))
    what = "types and shapes do not fit" if opset == OPSET else f"cannot lift opset {opset}"
    raise ModelError(f"{what}: {reason}")


def _name_nodes(graph: onnx.GraphProto) -> None:
    used: set[str] = set()
    for index, node in enumerate(graph.node):
        name = node.name or f"{node.op_type}_{index}"
        while name in used:
            name = f"{name}_{index}"
        node.name = name
        used.add(name)
