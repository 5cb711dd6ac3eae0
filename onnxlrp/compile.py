"""The pipeline: model + composite + target -> explanation graph."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import numpy as np
from onnx import ModelProto, TensorProto, checker, numpy_helper

from onnxlrp import outputs
from onnxlrp.canonize import canonize
from onnxlrp.composites import Assigned, Composite, assign, batch_norm, parse
from onnxlrp.composites.base import STARTS
from onnxlrp.errors import CompositeError, InputError, ModelError, RuleError
from onnxlrp.graph.check import check
from onnxlrp.graph.digest import digest
from onnxlrp.graph.graph import Graph, Value
from onnxlrp.graph.load import Source, load, read
from onnxlrp.graph.save import LIMIT, save, to_bytes, to_model
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site, View
from onnxlrp.ledger import Ledger
from onnxlrp.metadata import (
    LEDGER,
    LEDGER_COLUMNS,
    MASK,
    RELEVANCE,
    SCOPE,
    SEED,
    TARGET,
    Metadata,
    is_explanation,
)
from onnxlrp.ops import kinds_of
from onnxlrp.ops.kinds import Kind
from onnxlrp.optimize import optimize
from onnxlrp.relevance import Filter, propagate
from onnxlrp.targets import Output, parse_target, seed

__all__ = ["ExplanationGraph", "Plan", "compile", "plan", "save"]

log = logging.getLogger(__name__)

MOVES = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
FINAL = frozenset({"LogSoftmax", "Sigmoid", "Softmax"})


@dataclass(frozen=True)
class ExplanationGraph:
    """A model that computes the prediction and its relevance.

    Attributes:
        model: The ONNX model.
        metadata: What it says about itself.
        folder: Folder of the external data of the source.
    """

    model: ModelProto
    metadata: Metadata
    folder: str = field(default="", repr=False)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model, whole or not at all; external data is copied beside it.

        Raises:
            ModelError: The file cannot be written.
        """
        save(self.model, path, self.folder)

    def to_bytes(self) -> bytes:
        """Serialize the model with all its data.

        Raises:
            ModelError: It would exceed 2 GiB.
        """
        return to_bytes(self.model, self.folder)


@dataclass(frozen=True)
class Plan:
    """A model as it will be explained, before anything is propagated."""

    graph: Graph
    tape: Tape
    view: View
    kinds: Mapping[Site, Kind]
    composite: Composite
    assigned: Mapping[Site, Assigned]
    inputs: tuple[Value, ...]
    output: Output


def compile(  # noqa: A001
    model: Source,
    *,
    composite: str = "auto",
    split: str | None = None,
    target: str | int | Sequence[int] = "argmax",
    start: str | None = None,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    probes: Sequence[str] = (),
    masks: Sequence[str] = (),
    ledger: bool = False,
    heatmap: bool = False,
    image: bool = False,
    keep_softmax: bool = False,
    base_dir: str | os.PathLike[str] | None = None,
    position: Sequence[int] | None = None,
    stops: Sequence[str] = (),
    preprocessing: Mapping[str, object] | None = None,
) -> ExplanationGraph:
    """Compile a model into one graph that computes its prediction and the relevance of its inputs.

    Args:
        model: Path, serialized bytes or ModelProto.
        composite: A preset with parameters, or a JSON file.
        split: Split at the Add of two live values; None: the preset's own.
        target: `argmax`, an index or index tuple, `input`, `input:T`, `seed`, `contrast:A:B`,
            `clrp` or `sglrp`.
        start: `logit`, `one` or `probability`; None: the method's own.
        output: The explained output; None: the first that depends on an explained input.
        inputs: The explained inputs; None: all from which a float path reaches the output.
        probes: Globs over hidden values whose relevance becomes an output.
        masks: Globs over hidden values whose relevance is multiplied by an input `mask/<value>`.
        ledger: Whether to add the output `ledger`.
        heatmap: Whether to add `heatmap/<input>`.
        image: Whether to add `image/<input>`.
        keep_softmax: Explain a final softmax or sigmoid itself, not its input.
        base_dir: Folder of external data for bytes and protos.
        position: Leading indices of the output that `argmax` keeps fixed.
        stops: Names of nodes at which relevance ends.
        preprocessing: How a picture becomes an input, recorded in the metadata.

    Raises:
        ModelError: The model cannot be read or compiled.
        UnsupportedOp: Relevance would have to cross an operator without a kind.
        CompositeError: The composite is unknown or wrong.
        RuleError: No path from the output to an explained input, or a rule that does not fit.
        InputError: A target, input or output that the model does not have.
    """
    if start is not None and start not in STARTS:
        raise CompositeError(f"start={start!r} is not one of {', '.join(STARTS)}")
    aim = parse_target(target, position)
    planned = plan(
        model,
        composite=composite,
        split=split,
        output=output,
        inputs=inputs,
        keep_softmax=keep_softmax,
        base_dir=base_dir,
        stops=stops,
        targets=aim.count,
    )
    t, book = planned.tape, Ledger() if ledger else None
    started, extra = seed(t, planned.output, aim, start or planned.composite.start)
    filters, mask_inputs = _masks(planned, masks)
    rules = {site: item.rule for site, item in planned.assigned.items()}
    found = propagate(t, planned.kinds, rules, {planned.output.explained: started}, filters, book)
    found = _finished(t, planned, found)
    probed = _matching(planned, probes, "probe")
    shown = [outputs.relevance(t, value, found[value]) for value in planned.inputs]
    shown += [outputs.relevance(t, v, found[v]) for v in probed if v in found]
    for wanted, make in ((heatmap, outputs.heatmap), (image, outputs.image)):
        made = [make(t, value, found[value]) for value in planned.inputs] if wanted else []
        shown += [value for value in made if value is not None]
    if book is not None:
        shown.append(_ledger_output(t, book, planned))
    check(planned.graph, "propagate")
    optimize(planned.graph, shown)
    check(planned.graph, "optimize")
    metadata = _metadata(model, base_dir, planned, aim.text, book, probed, preprocessing)
    made_model = to_model(planned.graph, [*extra, *mask_inputs], shown, metadata.properties())
    _checked(made_model)
    return ExplanationGraph(made_model, metadata, planned.graph.folder)


def plan(
    model: Source,
    *,
    composite: str = "auto",
    split: str | None = None,
    output: str | None = None,
    inputs: Sequence[str] | None = None,
    keep_softmax: bool = False,
    base_dir: str | os.PathLike[str] | None = None,
    stops: Sequence[str] = (),
    targets: int = 1,
) -> Plan:
    """Load a model, see it canonically and assign rules; what `compile` and `inspect` share."""
    bn = batch_norm(composite)
    graph = load(model, base_dir)
    _refuse_explained(graph)
    check(graph, "load")
    t, view = Tape(graph, targets), View(graph)
    canonize(view, t, bn)
    check(graph, "canonize")
    known = {site.name for site in view}
    for name in stops:
        if name not in known:
            raise InputError(f"--stop {name}: the model has no node of that name")
    candidates = _input_values(graph, inputs)
    kinds = kinds_of(view, candidates, frozenset(stops))
    explained = _output(graph, view, kinds, output, keep_softmax)
    kinds = _on_path(kinds, explained.explained)
    reached = _reached(graph, candidates, kinds, explained, inputs)
    chosen = parse(composite, split, kinds)
    assigned = assign(chosen, kinds)
    return Plan(graph, t, view, kinds, chosen, assigned, reached, explained)


def _refuse_explained(graph: Graph) -> None:
    properties = {item.key: item.value for item in graph.source.metadata_props}
    if is_explanation(properties):
        raise ModelError("the model is an explanation graph already; compile its source instead")
    reserved = (RELEVANCE, SCOPE, MASK, "heatmap/", "image/")
    for name in graph.values:
        if name.startswith(reserved) or name in {TARGET, SEED, LEDGER}:
            raise ModelError(
                f"value '{name}' has a name that explanation graphs use; rename it in the model"
            )


def _input_values(graph: Graph, names: Sequence[str] | None) -> tuple[Value, ...]:
    known = {value.name: value for value in graph.inputs}
    if names is None:
        return tuple(value for value in graph.inputs if value.is_float) or graph.inputs
    for name in names:
        if name not in known:
            raise InputError(f"input '{name}' is not one of {', '.join(known)}")
    return tuple(known[name] for name in names)


def _output(
    graph: Graph,
    view: View,
    kinds: Mapping[Site, Kind],
    name: str | None,
    keep_softmax: bool,
) -> Output:
    """The explained output, and the value before its final softmax."""
    live = {
        v for site, kind in kinds.items() if kind.operands for v in site.outputs if v is not None
    }
    if name is not None:
        found = [value for value in graph.outputs if value.name == name]
        if not found:
            known = ", ".join(value.name for value in graph.outputs)
            raise InputError(f"output '{name}' is not one of {known}")
    else:
        found = [value for value in graph.outputs if value in live and value.is_float]
    if not found or found[0] not in live:
        raise RuleError(_no_path(kinds))
    value = found[0]
    if keep_softmax:
        return Output(value, value)
    before, stepped = _before_softmax(graph, value)
    return Output(value, before, stepped) if before in live else Output(value, value)


def _no_path(kinds: Mapping[Site, Kind]) -> str:
    ends = [f"'{site.name}' ({site.op})" for site, kind in kinds.items() if not kind.operands]
    where = f"it ends at {', '.join(ends[:5])}" if ends else "no node reads an explained input"
    return f"no float path leads from an explained input to the output: {where}"


def _before_softmax(graph: Graph, value: Value) -> tuple[Value, str]:
    node = graph.producer(value)
    while node is not None and node.op in MOVES and node.inputs[0] is not None:
        node = graph.producer(node.inputs[0])
    if node is None or node.op not in FINAL or node.domain or node.inputs[0] is None:
        return value, ""
    return node.inputs[0], node.op


def _on_path(kinds: Mapping[Site, Kind], explained: Value) -> dict[Site, Kind]:
    """The sites that relevance can reach from the explained value, in forward order."""
    hot = {explained}
    kept: list[Site] = []
    for site in reversed(list(kinds)):
        if any(value in hot for value in site.outputs):
            kept.append(site)
            hot.update(kinds[site].operands)
    return {site: kinds[site] for site in reversed(kept)}


def _reached(
    graph: Graph,
    candidates: tuple[Value, ...],
    kinds: Mapping[Site, Kind],
    explained: Output,
    asked: Sequence[str] | None,
) -> tuple[Value, ...]:
    hot = {explained.explained} | {v for kind in kinds.values() for v in kind.operands}
    reached = tuple(value for value in candidates if value in hot)
    missing = [value.name for value in candidates if value not in hot]
    if not reached or (asked is not None and missing):
        raise RuleError(f"{_no_path(kinds)}; inputs without a path: {', '.join(missing)}")
    return reached


def _masks(planned: Plan, globs: Sequence[str]) -> tuple[dict[Value, Filter], list[Value]]:
    """Filters that multiply the relevance of hidden values by an input `mask/<value>`."""
    filters: dict[Value, Filter] = {}
    given: list[Value] = []
    for value in _matching(planned, globs, "mask"):
        shape = value.shape or ()
        channels = shape[1] if len(shape) > 1 else None
        if not isinstance(channels, int):
            raise InputError(f"mask '{value.name}': its number of channels is not known")
        name = MASK + value.name
        ones = numpy_helper.from_array(np.ones((1, channels), dtype=np.float32), name)
        mask = Value(name, TensorProto.FLOAT, (None, channels), ones, variable=True)
        planned.graph.declare(mask)
        given.append(mask)
        filters[value] = _masked(mask, len(shape))
    return filters, given


def _masked(mask: Value, rank: int) -> Filter:
    def apply(t: Tape, r: Value) -> Value:
        column = t.op("Unsqueeze", mask, list(range(2, rank))) if rank > 2 else mask
        if t.targets > 1:
            column = t.op("Tile", column, [t.targets] + [1] * (rank - 1))
        return t.op("Mul", r, column)

    return apply


def _matching(planned: Plan, globs: Sequence[str], what: str) -> list[Value]:
    """Hidden values on the path whose names match, in forward order."""
    hidden = [v for site in planned.kinds for v in site.outputs if v is not None]
    found: list[Value] = []
    for pattern in globs:
        matches = [value for value in hidden if fnmatchcase(value.name, pattern)]
        if not matches:
            names = ", ".join(value.name for value in hidden[:10])
            raise InputError(f"{what} '{pattern}' matches no hidden value; there are: {names}, ...")
        found += [value for value in matches if value not in found]
    return found


def _finished(t: Tape, planned: Plan, found: Mapping[Value, Value]) -> dict[Value, Value]:
    """Give every explained input its relevance; multiply by the input where the method says so."""
    done = dict(found)
    t.scope = "input"
    for value in planned.inputs:
        r = found.get(value)
        done[value] = t.zeros(value) if r is None else r
        if planned.composite.times_input:
            done[value] = t.op("Mul", done[value], t.at(value))
    return done


def _ledger_output(t: Tape, book: Ledger, planned: Plan) -> Value:
    table = outputs.spread_targets(t, book.table(t))
    batch = planned.inputs[0].shape[0] if planned.inputs[0].shape else None
    shape = outputs.with_targets(t, (batch, len(book.names), len(LEDGER_COLUMNS)))
    return t.named(LEDGER, table, Value(LEDGER, TensorProto.FLOAT, shape))


def _metadata(
    model: Source,
    base_dir: str | os.PathLike[str] | None,
    planned: Plan,
    target: str,
    book: Ledger | None,
    probed: Sequence[Value],
    preprocessing: Mapping[str, object] | None,
) -> Metadata:
    return Metadata(
        version=_version(),
        source=digest(*read(model, base_dir)),
        composite=planned.composite.describe(),
        target=target,
        inputs=tuple(value.name for value in planned.inputs),
        output=planned.output.value.name,
        explained=planned.output.explained.name,
        ledger=() if book is None else book.names,
        probes=tuple(value.name for value in probed),
        preprocessing=dict(preprocessing or {}),
    )


def _version() -> str:
    try:
        return installed_version("onnxlrp")
    except PackageNotFoundError:
        return "0+source"


def _checked(model: ModelProto) -> None:
    if model.ByteSize() > LIMIT or any(t.data_location for t in model.graph.initializer):
        return
    try:
        checker.check_model(model, full_check=True)
    except (checker.ValidationError, ValueError, RuntimeError) as error:
        raise ModelError(f"the explanation graph is not valid ONNX: {error}") from error
