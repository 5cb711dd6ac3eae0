"""Explains one shard: a function of the shard alone, whoever calls it, and how often."""

import shutil
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from onnxlrp.data.preprocess import Preprocessing
from onnxlrp.distribute.folder import Folder
from onnxlrp.distribute.items import Item, Shard
from onnxlrp.distribute.job import Job, Receipt
from onnxlrp.distribute.reader import Reader, only_input
from onnxlrp.distribute.rows import Row, make_row
from onnxlrp.distribute.sinks import Sink, commit, open_sink
from onnxlrp.errors import DataError, InputError
from onnxlrp.metadata import HEATMAP, RELEVANCE, TARGET
from onnxlrp.runtime import Explainer, Request, Result, Settings
from onnxlrp.runtime.providers import check_providers
from onnxlrp.runtime.signature import Signature

__all__ = ["Tools", "explain_shard"]


@dataclass(frozen=True, kw_only=True)
class Tools:
    """What a worker opens once: a session and a reader.

    Attributes:
        job: What is to be done.
        explain: The session.
        reader: Reads samples for it.
    """

    job: Job
    explain: Explainer
    reader: Reader

    @classmethod
    def open(cls, job: Job) -> "Tools":
        """Load the graph.

        Raises:
            InputError: The model takes several inputs or no target, or a provider does not work.
            ModelError: It cannot be loaded.
        """
        explain = Explainer(job.model, job.providers, settings=Settings(threads=job.threads))
        check_providers(job.providers or (), explain.providers)
        said = job.preprocessing
        if said is None and explain.metadata.preprocessing:
            said = explain.metadata.preprocessing
        _check_target(job, explain)
        steps = None if said is None else Preprocessing.from_json(said)
        port = only_input(explain.signature.inputs)
        reader = Reader(job.source, port, steps, job.layout)
        return cls(job=job, explain=explain, reader=reader)


def _check_target(job: Job, explain: Explainer) -> None:
    takes = TARGET in explain.signature.extra
    if takes and job.target is None:
        raise InputError("this graph takes a target: pass --target INDEX")
    if job.target is not None and not takes:
        raise InputError(
            f"the graph was compiled for the target '{explain.metadata.target}': --target needs "
            "one compiled with --target input"
        )


def explain_shard(tools: Tools, shard: Shard) -> Receipt:
    """Explain the samples of a shard and write their results, then the receipt.

    Samples that cannot be read or explained are listed in the receipt. Killed at any moment, it
    leaves no receipt and no half-written result, and can be called again.

    Raises:
        ModelError: ONNX Runtime failed: no fault of a sample.
        OSError: The results cannot be written.
    """
    began = time.perf_counter()
    folder = Folder(Path(tools.job.out))
    temporary = folder.partial / f"{shard.name}-{uuid.uuid4().hex}"
    faults: dict[int, str] = {}
    sink: Sink | None = None
    try:
        for row in _rows(tools, shard, faults):
            if sink is None:
                shapes = _shapes(tools.explain.signature, row)
                sink = open_sink(tools.job.format, temporary, shapes, tools.job.colors)
            try:
                sink.add(row)
            except InputError as error:
                faults[row.index] = str(error)
        file = ""
        if sink is not None and len(faults) < len(shard.items):
            sink.close()
            file = shard.name + ("" if tools.job.format == "png" else f".{tools.job.format}")
            commit(temporary, folder.data / file)
    finally:
        _remove(temporary)
    items = {item.index: item for item in shard.items}
    receipt = Receipt(
        shard=shard.number,
        items=len(items),
        explained=len(items) - len(faults),
        file=file,
        seconds=round(time.perf_counter() - began, 3),
        failures=tuple((index, items[index].name, why) for index, why in sorted(faults.items())),
        notes=tools.reader.notes,
    )
    folder.file(receipt)
    return receipt


def _rows(tools: Tools, shard: Shard, faults: dict[int, str]) -> Iterator[Row]:
    """Yield results in the order of the samples; samples without one go into `faults`."""
    items, job = shard.items, tools.job
    port = only_input(tools.explain.signature.inputs)

    def decode(item: Item) -> Request:
        return Request(inputs={port.name: tools.reader.read(item)[None]}, target=job.target)

    def failed(number: int, error: BaseException) -> Result | None:
        if not isinstance(error, DataError | InputError | OSError):
            raise error
        faults[items[number].index] = " ".join(str(error).split()) or type(error).__name__
        return None

    results = tools.explain.stream(
        items, decode=decode, batch_size=job.batch_size, workers=1, on_error=failed
    )
    at = 0
    for result in results:
        while items[at].index in faults:
            at += 1
        try:
            yield make_row(items[at], result, job.values)
        except DataError as error:
            faults[items[at].index] = str(error)
        at += 1


def _shapes(signature: Signature, row: Row) -> Mapping[str, tuple[int, ...] | None]:
    """The shape of each array where the graph fixes it."""
    found: dict[str, tuple[int, ...] | None] = {}
    for name, array in row.arrays.items():
        source = name if name in signature.outputs else name.replace(HEATMAP, RELEVANCE, 1)
        shape = signature.outputs[source].shape
        tail = shape if source != name else shape[len(shape) - array.ndim :]
        fixed = all(isinstance(dim, int) for dim in (tail[1:] if source != name else tail))
        found[name] = array.shape if fixed else None
    return found


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)
