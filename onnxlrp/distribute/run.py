"""Runs a whole data set: lists it once, hands out what is not done, sums up."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from onnxlrp.distribute.folder import Folder
from onnxlrp.distribute.items import into_shards, list_items
from onnxlrp.distribute.job import Job, Lost, Outcome
from onnxlrp.distribute.local import explain_local
from onnxlrp.distribute.parquet_rows import import_arrow
from onnxlrp.distribute.plan import Plan
from onnxlrp.errors import DataError, ModelError

__all__ = ["Progress", "Summary", "check_folder", "run"]

Progress: TypeAlias = Callable[[int, int], None]
Say: TypeAlias = Callable[[str], None]

_HOPELESS: Final = 10


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did.

    Attributes:
        items: Samples of the data set.
        explained: Samples with a result, of this run and earlier ones.
        failed: Samples that have none, listed in `failures.jsonl`.
        now: Samples that this run worked on.
        seconds: How long it took, with listing and loading.
        lost: Shards that no worker could finish, with the last reason.
    """

    items: int
    explained: int
    failed: int
    now: int
    seconds: float
    lost: tuple[tuple[int, str], ...] = ()


def _quiet(*_: object) -> None:
    """Say nothing."""


def run(job: Job, plan: Plan, progress: Progress = _quiet, say: Say = _quiet) -> Summary:
    """Explain a data set, or what is left of it.

    Args:
        job: What is to be done.
        plan: How the work is spread.
        progress: Called with (samples done, samples in all) after every shard.
        say: Called once with each thing that was assumed about the samples.

    Raises:
        DataError: No samples, or the folder holds another run.
        ModelError: The workers cannot load the model.
        RuntimeMissing: Ray or pyarrow is asked for, but not installed.
    """
    began = time.perf_counter()
    if job.format == "parquet":
        import_arrow()
    folder = Folder(Path(job.out))
    head = _head(folder, job, plan)
    finished = folder.finished()
    total = int(str(head["items"]))
    done = already = sum(receipt.items for receipt in folder.receipts())
    lost: list[tuple[int, str]] = []
    progress(done, total)
    notes: set[str] = set()
    with closing(_outcomes(job, plan, folder, finished)) as outcomes:
        for outcome in outcomes:
            if isinstance(outcome, Lost):
                lost.append((outcome.shard, outcome.reason))
                if len(lost) >= _HOPELESS and done == already:
                    raise ModelError(f"no shard can be done: {outcome.reason}")
                continue
            done += outcome.items
            for note in sorted(set(outcome.notes) - notes):
                say(note)
            notes.update(outcome.notes)
            progress(done, total)
    failed = folder.write_failures()
    return Summary(
        items=total,
        explained=done - failed,
        failed=failed,
        now=done - already,
        seconds=time.perf_counter() - began,
        lost=tuple(sorted(lost)),
    )


def check_folder(path: Path, *, resume: bool) -> None:
    """Check that a folder holds no run, or one to go on with.

    Raises:
        DataError: It holds a run, and nobody asked to go on with it.
    """
    if not resume and Folder(path).head() is not None:
        raise DataError(f"'{path}' holds a run: go on with --resume, or choose another folder")


def _outcomes(job: Job, plan: Plan, folder: Folder, done: frozenset[int]) -> Generator[Outcome]:
    places = folder.places(done)
    try:
        if plan.engine == "local":
            shards = (folder.shard(*place) for place in places)
            yield from explain_local(job, shards, plan.workers, plan.retries)
        else:
            from onnxlrp.distribute.ray_engine import explain_ray

            yield from explain_ray(job, list(places), plan)
    finally:
        folder.forget()


def _head(folder: Folder, job: Job, plan: Plan) -> Mapping[str, object]:
    """The head of the run in the folder, or of a new one."""
    settings = json.loads(json.dumps({"model": _digest(job.model), **job.settings()}))
    check_folder(folder.path, resume=plan.resume)
    folder.make()
    head = folder.head()
    for left in folder.partial.iterdir():
        shutil.rmtree(left, ignore_errors=True) if left.is_dir() else left.unlink(missing_ok=True)
    if head is None:
        items = list_items(job.source, skip=folder.path.resolve())
        folder.begin(into_shards(items, plan.shard_size), settings)
        return folder.head() or {}
    before = head["settings"]
    assert isinstance(before, dict)
    for name in settings:
        if settings[name] != before.get(name):
            raise DataError(
                f"'{folder.path}' holds a run with another {name}: {before.get(name)}, now "
                f"{settings[name]}; choose another folder"
            )
    return head


def _digest(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
