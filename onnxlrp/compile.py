"""The pipeline: model + composite + target -> explanation graph."""

import gc
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version

from onnx import ModelProto, TensorProto, checker

from onnxlrp import outputs
from onnxlrp.attributors import Attribution, Task, method_of
from onnxlrp.composites.base import STARTS
from onnxlrp.errors import CompositeError, InputError, ModelError
from onnxlrp.graph import save as files
from onnxlrp.graph.check import check
from onnxlrp.graph.graph import Value
from onnxlrp.graph.lift import restore
from onnxlrp.graph.read import FAULTS, Source, one_line
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.weights import bare
from onnxlrp.hidden import mask_filter, mask_input, matching
from onnxlrp.ledger import Ledger
from onnxlrp.metadata import LEDGER, LEDGER_COLUMNS, NOTES, Metadata
from onnxlrp.ops.bodies import nested, turns_first
from onnxlrp.optimize import ALL, SUPPORT, Effort, optimize
from onnxlrp.plan import Plan, Request, plan
from onnxlrp.targets import Target, parse_target

__all__ = ["ExplanationGraph", "compile", "describe", "finish", "save"]

MOST_LEVELS = 256


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
    quantize: int | None = None,
    without: Sequence[str] = (),
    weights: str = "fold",
) -> ExplanationGraph:
    """Compile a model into one graph that computes its prediction and the relevance of its inputs.

    Args:
        model: Path, serialized bytes or ModelProto.
        composite: A composite or an attributor with parameters, or a JSON file.
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
        quantize: Number of levels of `heatmap/<input>`, which it adds; 8 in Otsuki et al. 2024.
        without: Names of optimisations that are left out: `onnxlrp.optimize.PASSES`, `support`.
        weights: `fold`: runtimes derive W+ and the like once, at load; `recompute`: in every run,
            which is slower and keeps one copy of each weight in memory.

    Raises:
        ModelError: The model cannot be read or compiled.
        UnsupportedOp: Relevance would have to cross an operator without a kind.
        CompositeError: The composite is unknown or wrong.
        RuleError: No path from the output to an explained input, or a rule that does not fit.
        InputError: A target, input or output that the model does not have.
    """
    if start is not None and start not in STARTS:
        raise CompositeError(f"start={start!r} is not one of {', '.join(STARTS)}")
    effort = Effort(without=without, weights=weights)
    method = method_of(composite)
    method.check(probes=bool(probes), masks=bool(masks), ledger=ledger)
    wanted = Pictures(heatmap or method.one_channel or quantize is not None, image, quantize)
    aim = parse_target(target, position)
    request = Request(
        composite=method.composite,
        split=split,
        output=output,
        inputs=inputs,
        keep_softmax=keep_softmax,
        base_dir=base_dir,
        stops=stops,
        targets=aim.count,
    )
    planned = plan(model, request)
    planned.tape.support.enabled = SUPPORT not in without
    book = Ledger(samplewise=_is_samplewise(planned)) if ledger else None
    probed = matching(planned, probes, "probe")
    given = {value: mask_input(planned, value) for value in matching(planned, masks, "mask")}
    filters = {value: mask_filter(mask, value.rank or 0) for value, mask in given.items()}
    found = method.attribute(Task(planned, aim, start, filters, book))
    shown = _relevances(planned, found.relevance, probed)
    shown += _pictures(planned, found, wanted)
    if book is not None:
        shown.append(_ledger_output(planned, book))
    metadata = replace(
        describe(planned, aim),
        composite=method.describe(planned.composite) | wanted.describe(),
        ledger=() if book is None else book.names,
        probes=tuple(planned.view.named(value) for value in probed if value in found.relevance),
        preprocessing=dict(preprocessing or {}),
    )
    return finish(planned, [*found.inputs, *given.values()], shown, metadata, effort)


def describe(planned: Plan, aim: Target) -> Metadata:
    """What an explanation graph says about itself, whatever its outputs are."""
    return Metadata(
        version=_version(),
        source=planned.graph.digest,
        composite=planned.composite.describe(),
        target=aim.text,
        inputs=tuple(value.name for value in planned.inputs),
        output=planned.output.name,
        explained=planned.view.named(planned.output.explained),
        shadow=planned.shadow,
        labels=_labels(planned),
        notes=_notes(planned),
    )


def finish(
    planned: Plan,
    inputs: Sequence[Value],
    shown: Sequence[Value],
    metadata: Metadata,
    effort: Effort = ALL,
) -> ExplanationGraph:
    """Drop what no output needs, check, and write the model with the inputs that were added."""
    optimize(planned.tape, shown, effort)
    check(planned.graph, "optimize")
    finished = files.to_model(planned.graph, inputs, shown, metadata.properties())
    _check_model(finished)
    restore(finished)
    return ExplanationGraph(finished, metadata, planned.graph.folder)


def _is_samplewise(planned: Plan) -> bool:
    """Whether every value that relevance passes has the batch on axis 0."""
    every = nested(planned.kinds)
    passed = (v for kind in every.values() for v in (*kind.operands, kind.output))
    if any(turns_first(kind) for kind in every.values()):
        return False
    return all(planned.tape.has_batch(value) for value in passed)


def _relevances(
    planned: Plan, found: Mapping[Value, Value], probed: Sequence[Value]
) -> list[Value]:
    values = [value for value in (*planned.inputs, *probed) if value in found]
    named = planned.view.named
    return [outputs.relevance(planned.tape, v, found[v], named(v)) for v in values]


@dataclass(frozen=True)
class Pictures:
    """The pictures that are asked for, and the number of levels of their heat."""

    heatmap: bool
    image: bool
    levels: int | None

    def __post_init__(self) -> None:
        if self.levels is not None and not 2 <= self.levels <= MOST_LEVELS:
            raise InputError(
                f"quantize={self.levels}: a heatmap has from 2 to {MOST_LEVELS} levels"
            )

    def describe(self) -> dict[str, object]:
        """What the metadata say beside the composite."""
        return {} if self.levels is None else {"quantize": self.levels}


def _pictures(planned: Plan, found: Attribution, wanted: Pictures) -> list[Value]:
    """`heatmap/` and `image/` of the inputs that are pictures, where they are asked for."""
    if not wanted.heatmap and not wanted.image:
        return []
    t = planned.tape
    heats = {value: _heat(t, value, found, wanted.levels) for value in planned.inputs}
    maps = {value: heat for value, heat in heats.items() if heat is not None}
    if not maps:
        names = ", ".join(value.name for value in planned.inputs)
        raise InputError(f"no heatmap: none of the inputs {names} has two or more spatial axes")
    shown: list[Value | None] = []
    if wanted.heatmap:
        shown += [outputs.heatmap(t, value, heat) for value, heat in maps.items()]
    if wanted.image:
        shown += [outputs.image(t, value, heat) for value, heat in maps.items()]
    return [value for value in shown if value is not None]


def _heat(t: Tape, value: Value, found: Attribution, levels: int | None) -> Value | None:
    """The map of an input: the method's own, or its relevance summed over the channels."""
    heat = found.heatmaps.get(value)
    if heat is None and value in found.relevance:
        heat = outputs.total(t, value, found.relevance[value])
    return heat if heat is None or levels is None else outputs.quantized(t, heat, levels)


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


def _notes(planned: Plan) -> list[list[str]]:
    """What the model itself says of its maps."""
    texts = {item.key: item.value for item in planned.graph.source.metadata_props}
    try:
        found = json.loads(texts.get(NOTES, "[]"))
        return [[str(name), str(text)] for name, text in found]
    except (TypeError, ValueError) as error:
        raise ModelError(f"metadata key '{NOTES}' of the model holds no pairs of texts") from error


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
