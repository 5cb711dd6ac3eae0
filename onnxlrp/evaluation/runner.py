"""Measures every method on every sample, one method and one sample at a time."""

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from onnxlrp.data.datasets.items import Item, ItemReader
from onnxlrp.data.datasets.listing import Entry
from onnxlrp.errors import DataError, Error
from onnxlrp.evaluation.frame import Floats
from onnxlrp.evaluation.journal import Journal, Record
from onnxlrp.evaluation.maps import Maps
from onnxlrp.evaluation.measures import Measure
from onnxlrp.evaluation.method import Explained, Method, Settings
from onnxlrp.evaluation.plain import Plain, Source
from onnxlrp.evaluation.randomise import randomised
from onnxlrp.metrics import Case
from onnxlrp.runtime.result import Array

Progress: TypeAlias = Callable[[int, int], None]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is measured.

    Attributes:
        source: The model.
        plain: The model without explanations.
        reader: Reads the samples.
        methods: Names of the methods.
        measures: The metrics.
        black: A black pixel, `[C]`.
        explain: `predicted` or `label`: the class that is explained.
        seed: Of everything that is drawn by chance.
        settings: How methods are compiled and run.
        maps: Where pictures for the report go; None: nowhere.
    """

    source: Source
    plain: Plain
    reader: ItemReader
    methods: tuple[str, ...]
    measures: tuple[Measure, ...]
    black: Floats
    explain: str = "predicted"
    seed: int = 0
    settings: Settings = field(default_factory=Settings)
    maps: Maps | None = None

    @property
    def entries(self) -> Sequence[Entry]:
        """The samples."""
        return self.reader.listing.entries

    def check(self) -> None:
        """Check labels against the classes of the model, by a run with the first sample.

        Raises:
            DataError: A label that the model does not have, or no sample can be read.
        """
        listing = self.reader.listing
        self.plain(self.plain.frame.to_case(self._first().x)[None])
        count = self.plain.classes or 0
        if listing.classes is not None and listing.classes != count:
            raise DataError(
                f"the data has {listing.classes} classes by their sorted names, the model {count}: "
                "name the classes in the order of the output with --labels"
            )
        for entry in self.entries:
            if entry.label is None and self.explain == "label":
                raise DataError(f"--explain label: sample '{entry.name}' has no label")
            if entry.label is not None and not 0 <= entry.label < count:
                raise DataError(
                    f"label {entry.label} of '{entry.name}': the model has classes 0 to {count - 1}"
                )

    def _first(self) -> Item:
        reason = ""
        for entry in self.entries:
            try:
                return self.reader.read(entry)
            except DataError as error:
                reason = reason or str(error)
        raise DataError(f"no sample can be read; the first: {reason}")


@dataclass
class _State:
    """What is done: a flag per method and sample, and the samples that were skipped."""

    done: npt.NDArray[np.bool_]
    skipped: npt.NDArray[np.bool_]

    @classmethod
    def read(cls, job: Job, journal: Journal) -> "_State":
        count = len(job.entries)
        state = cls(np.zeros((len(job.methods), count), bool), np.zeros(count, bool))
        row = {name: position for position, name in enumerate(job.methods)}
        for record in journal.records():
            if record.method:
                state.done[row[record.method], record.sample] = True
            else:
                state.skipped[record.sample] = True
        return state

    def shown(self, sample: int, most: int) -> bool:
        """Whether a sample is among the first that can be read."""
        return not self.skipped[sample] and int((~self.skipped[:sample]).sum()) < most


def run(job: Job, journal: Journal, progress: Progress) -> dict[str, str]:
    """Measure what the journal does not hold yet.

    Returns:
        The methods that could not be compiled, with the reason.

    Raises:
        Error: The model cannot be run, or the data does not fit it.
    """
    state = _State.read(job, journal)
    failures: dict[str, str] = {}
    total = state.done.size
    for row, name in enumerate(job.methods):
        todo = [k for k in range(len(job.entries)) if _is_due(job, state, row, k)]
        if not todo:
            continue
        try:
            worker = _Worker(job, name)
        except Error as error:
            failures[name] = str(error)
            _log.info("method '%s' failed: %s", name, error)
            continue
        for sample in todo:
            if _is_due(job, state, row, sample):
                _measure(worker, journal, state, (row, sample))
            progress(row * len(job.entries) + sample + 1, total)
    return failures


def _is_due(job: Job, state: _State, row: int, sample: int) -> bool:
    if state.skipped[sample]:
        return False
    return not state.done[row, sample] or _lacks_map(job, state, job.methods[row], sample)


def _lacks_map(job: Job, state: _State, method: str, sample: int) -> bool:
    maps = job.maps
    return maps is not None and state.shown(sample, maps.count) and maps.lack(sample, method)


def _measure(worker: "_Worker", journal: Journal, state: _State, at: tuple[int, int]) -> None:
    row, sample = at
    job = worker.job
    entry = job.entries[sample]
    try:
        item = job.reader.read(entry)
    except DataError as error:
        journal.add(Record(sample=sample, name=entry.name, failed=str(error)))
        state.skipped[sample] = True
        return
    drawn = _lacks_map(job, state, worker.name, sample)
    if drawn and job.maps is not None:
        heat = worker.heat(item)
        if heat is not None:
            job.maps.write(sample, worker.name, item, job.plain.frame, heat)
    if not state.done[row, sample]:
        journal.add(worker.record(sample, item))
        state.done[row, sample] = True


class _Worker:
    """Measures one method."""

    def __init__(self, job: Job, name: str) -> None:
        frame = job.plain.frame
        self.job, self.name = job, name
        self._method = Method(name, job.source, frame, job.settings)
        self._random = {}
        if any("randomised" in measure.asked.needs for measure in job.measures):
            for depth, model in randomised(job.source, job.seed):
                drawn = Method(name, job.source, frame, job.settings, model)
                self._random[depth] = drawn.heat

    def heat(self, item: Item) -> Array | None:
        """The map of a sample; None where the method fails on it."""
        x = self.job.plain.frame.to_case(item.x)
        scores = self.job.plain(x[None])[0]
        try:
            heat: Array = self._method(x[None], self._target(item, scores)).heat[0]
        except Error:
            return None
        return heat

    def record(self, sample: int, item: Item) -> Record:
        """Explain and measure a sample."""
        x = self.job.plain.frame.to_case(item.x)
        scores = self.job.plain(x[None])[0]
        target = self._target(item, scores)
        made = Record(
            sample=sample,
            name=item.name,
            method=self.name,
            label=item.label,
            predicted=int(scores.argmax()),
            explained=int(target[0]),
        )
        try:
            found = self._method(x[None], target)
        except Error as error:
            return Record(**{**made.__dict__, "failed": str(error)})
        values: dict[str, float] = {}
        curves: dict[str, list[float]] = {}
        case = self._case(item, x, scores, found, int(target[0]))
        for measure in self.job.measures:
            more, drawn = measure(case)
            values |= more
            curves |= drawn
        return Record(**{**made.__dict__, "values": values, "curves": curves})

    def _target(self, item: Item, scores: Array) -> npt.NDArray[np.int64]:
        chosen = item.label if self.job.explain == "label" else None
        return np.array([int(scores.argmax()) if chosen is None else chosen])

    def _case(self, item: Item, x: Floats, scores: Array, found: Explained, explained: int) -> Case:
        total = None if found.totals is None else float(found.totals[0])
        return Case(
            x=x,
            heat=found.heat[0],
            predict=self.job.plain,
            label=item.label,
            explained=explained,
            predicted=int(scores.argmax()),
            black=self.job.black,
            mask=_mask_of(item, x),
            boxes=item.boxes,
            explain=self._method.heat,
            randomised=self._random,
            total=total,
            start=self._method.started(scores, explained),
            scores=scores,
            seed=_seed(self.job.seed, item.name),
        )


def _mask_of(item: Item, x: Floats) -> npt.NDArray[np.bool_] | None:
    if item.mask is None:
        return None
    if item.mask.size != x[0].size:
        raise DataError(
            f"sample '{item.name}': the mask has shape {list(item.mask.shape)}, the input "
            f"{list(x.shape[1:])}"
        )
    return item.mask.reshape(x.shape[1:])


def _seed(seed: int, name: str) -> int:
    """A seed per sample, the same for every method."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{name}".encode()).digest()[:4])
