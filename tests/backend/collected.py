"""The node cases of the onnx package, as models that ONNX Runtime runs."""

import functools
import warnings
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, ValueInfoProto, defs, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from tests.engine import Session

NEWEST, USUAL = 26, 21
"""The newest opset that deployed nodes keep, and the one that all others are brought to."""

FLOATS = {TensorProto.FLOAT, TensorProto.DOUBLE, TensorProto.FLOAT16, TensorProto.BFLOAT16}

SINGLE = 1e-5
"""Share of the largest output by which float32 sums may differ from the float64 ones of a case."""

RENAMED = {"target": "labels", "seed": "start"}

Anything = NDArray[np.generic]


class NotTestableError(Exception):
    """A case that cannot be tested; its text is the category."""


@dataclass(frozen=True)
class NodeCase:
    """One case: a model, arrays for its inputs and the outputs that ONNX expects.

    Attributes:
        name: Name of the case.
        op: Operator that it is about, also where the case holds its function body.
        model: The model.
        inputs: Arrays, or what else the case feeds.
        outputs: Arrays, or what else the case expects.
        rtol: Relative tolerance of the case itself.
        atol: Absolute tolerance of the case itself.
    """

    name: str
    op: str
    model: ModelProto
    inputs: Sequence[object]
    outputs: Sequence[object]
    rtol: float
    atol: float

    @property
    def feeds(self) -> dict[str, Anything]:
        """The inputs by name."""
        names = (value.name for value in self.model.graph.input)
        return dict(zip(names, self.inputs, strict=True))  # type: ignore[arg-type]

    @property
    def wanted(self) -> dict[str, Anything]:
        """The expected outputs by name."""
        names = (value.name for value in self.model.graph.output)
        return dict(zip(names, self.outputs, strict=True))  # type: ignore[arg-type]

    @property
    def expanded(self) -> bool:
        """Whether the model holds the function body of its operator instead of the operator."""
        return "_expanded" in self.name

    def floats(self, *, outputs: bool = False) -> list[str]:
        """Names of the float32 inputs, or outputs."""
        values = self.model.graph.output if outputs else self.model.graph.input
        return [value.name for value in values if _type(value) == TensorProto.FLOAT]


def _type(value: ValueInfoProto) -> int:
    return int(value.type.tensor_type.elem_type)


@functools.cache
def cases() -> dict[str, tuple[NodeCase, ...]]:
    """All cases by operator; about five seconds, once per process."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = collect_testcases(None)
    operators = {case.name: _operator(case.model) for case in found}
    table: defaultdict[str, list[NodeCase]] = defaultdict(list)
    for case in found:
        op = operators.get(case.name.split("_expanded")[0], operators[case.name])
        data = case.data_sets[0]
        arrays = ([_array(item) for item in items] for items in data)
        made = NodeCase(case.name, op, case.model, *arrays, case.rtol, case.atol)
        table[op].append(_single(made))
    return {op: tuple(items) for op, items in sorted(table.items())}


def _array(item: object) -> object:
    """Arrays also for numbers and protos; sequences and absent values as they are."""
    if isinstance(item, onnx.TensorProto):
        return numpy_helper.to_array(item)
    return np.asarray(item) if isinstance(item, np.generic) else item


def _single(case: NodeCase) -> NodeCase:
    """A case of one operator in float64, as the same case in float32."""
    nodes, double = case.model.graph.node, TensorProto.DOUBLE
    values = [*case.model.graph.input, *case.model.graph.output]
    typed = any(item.name in {"to", "dtype"} for node in nodes for item in node.attribute)
    if len(nodes) != 1 or typed or nodes[0].op_type == "CastLike" or case.floats():
        return case
    if not any(_type(value) == double for value in values):
        return case
    model = ModelProto()
    model.CopyFrom(case.model)
    for value in (*model.graph.input, *model.graph.output):
        if _type(value) == double:
            value.type.tensor_type.elem_type = TensorProto.FLOAT
    inputs, outputs = (
        [np.float32(x) if isinstance(x, np.ndarray) and x.dtype == np.float64 else x for x in items]
        for items in (case.inputs, case.outputs)
    )
    return replace(case, model=model, inputs=inputs, outputs=outputs)


def _operator(model: ModelProto) -> str:
    node = model.graph.node[-1]
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def operators() -> list[str]:
    """All operators of ONNX and its previews, without running the cases."""
    schemas = defs.get_all_schemas()
    return sorted({f"{s.domain}.{s.name}" if s.domain else s.name for s in schemas})


def prepared(case: NodeCase) -> tuple[NodeCase, Session]:
    """The case with an opset that ONNX Runtime runs, with the expected result.

    Raises:
        NotTestableError: Why it cannot be.
    """
    _check_types(case)
    reason = ""
    for model in _stamped(_renamed(case.model)):
        stamped = replace(case, model=model)
        try:
            session = Session(model)
            outputs = session(stamped.feeds)
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's own have no common base
            reason = reason or _runtime_reason(error)
            continue
        _check_expected(stamped, outputs)
        return stamped, session
    raise NotTestableError(reason or f"newer than opset {NEWEST}")


def _check_types(case: NodeCase) -> None:
    values = [*case.model.graph.input, *case.model.graph.output]
    if any(node.domain not in {"", "ai.onnx"} for node in case.model.graph.node):
        raise NotTestableError("another domain: classical machine learning, training")
    if any(not value.type.HasField("tensor_type") for value in values):
        raise NotTestableError("sequences and optional values")
    if not any(_type(value) in FLOATS for value in case.model.graph.input):
        raise NotTestableError("no float input")
    if not any(_type(value) in FLOATS for value in case.model.graph.output):
        raise NotTestableError("no float output")
    if any(a.name == "training_mode" and a.i for n in case.model.graph.node for a in n.attribute):
        raise NotTestableError("training")
    if not case.floats() or not case.floats(outputs=True):
        raise NotTestableError("float16, bfloat16 or float64")


def _renamed(model: ModelProto) -> ModelProto:
    """The model without inputs that have the names of our own ones."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for value in copy.graph.input:
        value.name = RENAMED.get(value.name, value.name)
    for node in copy.graph.node:
        node.input[:] = [RENAMED.get(name, name) for name in node.input]
    return copy


def _stamped(model: ModelProto) -> Iterator[ModelProto]:
    """The model at opsets that ONNX Runtime knows, where its operators are the same there."""
    opset = next(item.version for item in model.opset_import if not item.domain)
    for version in dict.fromkeys((min(opset, NEWEST), min(opset, USUAL))):
        if version == opset or all(_same(node, opset, version) for node in model.graph.node):
            copy = ModelProto()
            copy.CopyFrom(model)
            copy.ir_version = min(model.ir_version, 10)
            for item in copy.opset_import:
                item.version = item.version if item.domain else version
            yield copy


def _same(node: onnx.NodeProto, opset: int, version: int) -> bool:
    """Whether an older operator takes this node too; the expected outputs tell the rest."""
    try:
        new = defs.get_schema(node.op_type, opset, node.domain)
        old = defs.get_schema(node.op_type, version, node.domain)
    except defs.SchemaError:
        return False
    if new.since_version == old.since_version:
        return True
    known = all(item.name in old.attributes for item in node.attribute)
    return known and len(node.input) <= old.max_input and len(node.output) <= old.max_output


def _runtime_reason(error: Exception) -> str:
    text = str(error)
    for part in ("NOT_IMPLEMENTED", "INVALID_GRAPH", "INVALID_ARGUMENT"):
        if part in text:
            return f"ONNX Runtime does not run it: {part.replace('_', ' ').lower()}"
    return "ONNX Runtime does not run it"


def _check_expected(case: NodeCase, outputs: dict[str, Anything]) -> None:
    for name, wanted in case.wanted.items():
        if not agrees(case, outputs[name], wanted):
            raise NotTestableError("random, or ONNX Runtime's own result is another")


def agrees(case: NodeCase, found: Anything, wanted: Anything) -> bool:
    """Whether an output is the expected one within the tolerance of the case."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return False
    if not np.issubdtype(wanted.dtype, np.number):
        return bool(np.array_equal(found, wanted))
    largest = np.abs(np.where(np.isfinite(wanted), wanted, 0)).max(initial=0)
    atol = max(case.atol, SINGLE * float(largest))
    return bool(np.allclose(found, wanted, case.rtol, atol, equal_nan=True))


def frozen(case: NodeCase, kept: str) -> NodeCase:
    """The case with all inputs but one as constants, as exporters write them."""
    model = ModelProto()
    model.CopyFrom(case.model)
    feeds = case.feeds
    inputs = [value for value in model.graph.input if value.name == kept]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.graph.initializer.extend(
        numpy_helper.from_array(np.asarray(array), name)
        for name, array in feeds.items()
        if name != kept
    )
    return replace(case, model=model, inputs=[feeds[kept]])
