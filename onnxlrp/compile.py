"""The pipeline: model + composite + target -> explanation graph."""

import gc
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

import numpy as np
from onnx import ModelProto, TensorProto, checker, numpy_helper

from onnxlrp import outputs
from onnxlrp.composites.base import STARTS
from onnxlrp.errors import CompositeError, InputError, ModelError
from onnxlrp.graph import save as files
from onnxlrp.graph.check import check
from onnxlrp.graph.graph import Value
from onnxlrp.graph.lift import restore
from onnxlrp.graph.read import FAULTS, Source, one_line
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.weights import bare
from onnxlrp.ledger import Ledger
from onnxlrp.metadata import LEDGER, LEDGER_COLUMNS, MASK, SHADOW, Metadata
from onnxlrp.ops.bodies import nested, turns_first
from onnxlrp.optimize import optimize
from onnxlrp.plan import Plan, Request, plan
from onnxlrp.relevance import Filter, propagate
from onnxlrp.targets import Target, parse_target, seed

__all__ = ["ExplanationGraph", "compile", "save"]


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
        files.save(self.model, path, self.folder)

    def to_bytes(self) -> bytes:
        """Serialize the model with all its data.

        Raises:
            ModelError: It would exceed 2 GiB.
        """
        return files.to_bytes(self.model, self.folder)


def save(graph: ExplanationGraph, path: str | os.PathLike[str]) -> None:
    """Write an explanation graph, as `graph.save(path)`."""
    graph.save(path)


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Let Python not look for cycles while the graph grows: each look walks all of it."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@_collector_paused()
def compile(  # noqa: A001, PLR0913 - name and keywords of the contract
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
    request = Request(
        composite=composite,
        split=split,
        output=output,
        inputs=inputs,
        keep_softmax=keep_softmax,
        base_dir=base_dir,
        stops=stops,
        targets=aim.count,
    )
    planned = plan(model, request)
    book = Ledger(samplewise=_is_samplewise(planned)) if ledger else None
    probed, masked = _matching(planned, probes, "probe"), _matching(planned, masks, "mask")
    found, given = _explain(planned, aim, start, masked, book)
    shown = _relevances(planned, found, probed)
    shown += _pictures(planned, found, heatmap=heatmap, image=image)
    if book is not None:
        shown.append(_ledger_output(planned, book))
    optimize(planned.graph, shown)
    check(planned.graph, "optimize")
    metadata = Metadata(
        version=_version(),
        source=planned.graph.digest,
        composite=planned.composite.describe(),
        target=aim.text,
        inputs=tuple(value.name for value in planned.inputs),
        output=planned.output.name,
        explained=planned.view.named(planned.output.explained),
        ledger=() if book is None else book.names,
        probes=tuple(planned.view.named(value) for value in probed if value in found),
        preprocessing=dict(preprocessing or {}),
        shadow=planned.shadow,
        labels=_labels(planned),
    )
    finished = files.to_model(planned.graph, given, shown, metadata.properties())
    _check_model(finished)
    restore(finished)
    return ExplanationGraph(finished, metadata, planned.graph.folder)


def _explain(
    planned: Plan, aim: Target, start: str | None, masked: Sequence[Value], book: Ledger | None
) -> tuple[dict[Value, Value], list[Value]]:
    """Emit seed and walk; return the relevance of every value and the inputs that were added."""
    t = planned.tape
    started = seed(t, planned.output, aim, start or planned.composite.start)
    masks = {value: _mask_input(planned, value) for value in masked}
    filters = {value: _masked(mask, value.rank or 0) for value, mask in masks.items()}
    rules = {site: item.rule for site, item in planned.assigned.items()}
    seeds = {planned.output.explained: started.relevance}
    lookups = _lookups(planned) if planned.composite.times_input else {}
    filters |= {value: _times(value, filters.get(value)) for value in lookups}
    if book is not None:
        t.samples = t.op("Shape", started.relevance, end=1)
        _compare(planned, started.weights, book)
    found = propagate(t, planned.kinds, rules, seeds, filters, book)
    t.scope = "input"
    for value in planned.inputs:
        found.setdefault(value, t.zeros(value))
        if planned.composite.times_input and value not in lookups.values():
            x = t.at(value)
            x = x if value.dtype == TensorProto.FLOAT else t.op("Cast", x, to=TensorProto.FLOAT)
            found[value] = t.op("Mul", found[value], x)
    return found, [*started.inputs, *masks.values()]


def _lookups(planned: Plan) -> dict[Value, Value]:
    """What token ids pick or become, and the input that they come from.

    Gradient x input is taken there: an id is a name, not a size.
    """
    origin = {value: value for value in planned.inputs}
    found: dict[Value, Value] = {}
    for site, kind in planned.kinds.items():
        sources = [origin[value] for value in kind.operands if value in origin]
        named = not kind.operands or not kind.operands[0].is_float or site.integer("token_ids")
        if not sources or not named:
            continue
        if kind.output.is_float:
            found[kind.output] = sources[0]
        else:
            origin |= dict.fromkeys(site.results, sources[0])
    return found


def _times(value: Value, other: Filter | None) -> Filter:
    """Multiply relevance by the forward value, behind another filter."""

    def apply(t: Tape, r: Value) -> Value:
        return t.op("Mul", r if other is None else other(t, r), t.at(value))

    return apply


def _compare(planned: Plan, weights: Value, book: Ledger) -> None:
    """One row for the explained entries: the prediction, what the shadow gives, the difference."""
    t, output = planned.tape, planned.output
    if output.deployed is None:
        return
    t.scope = SHADOW
    given = t.op("Cast", t.at(output.deployed), to=TensorProto.FLOAT)
    own = t.op("Mul", weights, t.rows(given))
    copied = t.op("Mul", weights, t.rows(t.at(output.value)))
    with book.row(t, SHADOW) as entry:
        entry.flows([own], [copied])
        entry.absorb("rule", t.op("Sub", own, copied))


def _is_samplewise(planned: Plan) -> bool:
    """Whether every value that relevance passes has the batch on axis 0."""
    every = nested(planned.kinds)
    passed = (v for kind in every.values() for v in (*kind.operands, kind.output))
    if any(turns_first(kind) for kind in every.values()):
        return False
    return all(planned.tape.has_batch(value) for value in passed)


def _mask_input(planned: Plan, value: Value) -> Value:
    """The optional input `mask/<value>`, `[N, C]`, whose default is ones."""
    channels = value.shape[1] if value.shape is not None and len(value.shape) > 1 else None
    if not isinstance(channels, int):
        raise InputError(f"mask '{value.name}': its number of channels is not known")
    name = MASK + planned.view.named(value)
    ones = numpy_helper.from_array(np.ones((1, channels), dtype=np.float32), name)
    mask = Value(name, TensorProto.FLOAT, (None, channels), ones, variable=True)
    return planned.graph.declare(mask)


def _masked(mask: Value, rank: int) -> Filter:
    """Multiply relevance `[T*N, C, ...]` by a mask `[N, C]`."""

    def apply(t: Tape, r: Value) -> Value:
        column = t.op("Unsqueeze", mask, list(range(2, rank))) if rank > 2 else mask
        if t.targets == 1:
            return t.op("Mul", r, column)
        cube = t.op(
            "Reshape", r, t.op("Concat", [t.targets, -1], t.op("Shape", r, start=1), axis=0)
        )
        return t.op("Reshape", t.op("Mul", cube, column), t.op("Shape", r))

    return apply


def _matching(planned: Plan, globs: Sequence[str], what: str) -> list[Value]:
    """Hidden values on the path whose names match, in forward order."""
    named = planned.view.named
    values = [value for site in planned.kinds for value in site.results]
    hidden = list({named(value): value for value in reversed(values)}.values())[::-1]
    found: list[Value] = []
    for pattern in globs:
        matches = [value for value in hidden if fnmatchcase(named(value), pattern)]
        if not matches:
            names = ", ".join(named(value) for value in hidden[:10])
            raise InputError(f"{what} '{pattern}' matches no hidden value; there are: {names}, ...")
        found += [value for value in matches if value not in found]
    return found


def _relevances(
    planned: Plan, found: Mapping[Value, Value], probed: Sequence[Value]
) -> list[Value]:
    values = [*planned.inputs, *(value for value in probed if value in found)]
    named = planned.view.named
    return [outputs.relevance(planned.tape, v, found[v], named(v)) for v in values]


def _pictures(
    planned: Plan, found: Mapping[Value, Value], *, heatmap: bool, image: bool
) -> list[Value]:
    """`heatmap/` and `image/` of the inputs that are pictures, where they are asked for."""
    made: list[Value | None] = []
    for wanted, make in ((heatmap, outputs.heatmap), (image, outputs.image)):
        if wanted:
            made += [make(planned.tape, value, found[value]) for value in planned.inputs]
    shown = [value for value in made if value is not None]
    if (heatmap or image) and not shown:
        names = ", ".join(value.name for value in planned.inputs)
        raise InputError(f"no heatmap: none of the inputs {names} has two or more spatial axes")
    return shown


def _ledger_output(planned: Plan, book: Ledger) -> Value:
    t, first = planned.tape, planned.inputs[0]
    table = outputs.spread_targets(t, book.table(t))
    batch = first.shape[0] if first.shape and book.samplewise else 1
    shape = outputs.with_targets(t, (batch, len(book.names), len(LEDGER_COLUMNS)))
    return t.named(table, Value(LEDGER, TensorProto.FLOAT, shape, variable=True))


def _labels(planned: Plan) -> dict[str, list[int | str]]:
    """The keys of outputs that a ZipMap makes, in the order of the classes."""
    found: dict[str, list[int | str]] = {}
    for value in planned.graph.outputs:
        node = planned.graph.producer(value)
        if node is not None and node.op == "ZipMap":
            lists = (node.attributes.get(f"classlabels_{kind}") for kind in ("int64s", "strings"))
            found[value.name] = next(list(item) for item in lists if isinstance(item, list))  # type: ignore[arg-type]
    return found


def _version() -> str:
    try:
        return installed_version("onnxlrp")
    except PackageNotFoundError:
        return "0+source"


def _check_model(model: ModelProto) -> None:
    """Let ONNX's own checker see the result, but for the numbers in its weights."""
    try:
        checker.check_model(bare(model), full_check=True)
    except FAULTS as error:
        raise ModelError(f"the explanation graph is not valid ONNX: {one_line(error)}") from error
