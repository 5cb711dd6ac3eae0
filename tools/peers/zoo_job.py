"""One export of the zoo: a job writes a file in a process of its own, a check reads it back."""

import fcntl
import json
import multiprocessing
import os
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

__all__ = ["Entry", "Feeds", "Job", "Manifest", "Written", "run", "runtime_outputs"]

Feeds = dict[str, NDArray[np.generic]]

MANIFEST = "manifest.json"
SEED = 7


@dataclass(frozen=True)
class Written:
    """What a job says of the file it wrote.

    Attributes:
        feeds: Values for every input.
        note: What differs from what was asked for; empty where nothing does.
    """

    feeds: Feeds
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One file to write.

    Attributes:
        name: The network.
        family: What it belongs to.
        exporter: Which program writes it.
        opset: The opset that is asked for; 0 where the exporter chooses.
        write: Writes the model to a path.
        expect: `explain`, or `refuse` for what has no relevance by design.
        variant: Tells apart two files of one network and exporter.
        seconds: After how long the export is given up.
    """

    name: str
    family: str
    exporter: str
    opset: int
    write: Callable[[Path], Written]
    expect: str = "explain"
    variant: str = ""
    seconds: float = 240

    @property
    def file(self) -> str:
        """Name of the file, which also identifies the job in the manifest."""
        parts = (self.name, self.variant, self.exporter, str(self.opset or ""))
        return "-".join(part for part in parts if part) + ".onnx"


@dataclass(kw_only=True)
class Entry:
    """What the manifest says of a job: the file, or why there is none."""

    file: str
    name: str
    family: str
    exporter: str
    requested: int
    expect: str
    opset: int = 0
    domains: list[str] = field(default_factory=list)
    nodes: int = 0
    inputs: list[dict[str, object]] = field(default_factory=list)
    size: int = 0
    seconds: float = 0.0
    note: str = ""
    runs: str = ""
    failed: str = ""


class Manifest:
    """The entries of a folder by file; several commands may add to it at a time."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / MANIFEST

    def entries(self) -> dict[str, Entry]:
        """What is there now."""
        held = json.loads(self.path.read_text()) if self.path.exists() else []
        return {entry["file"]: Entry(**entry) for entry in held}

    def put(self, entry: Entry) -> None:
        """Add or replace an entry."""
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            entries = self.entries() | {entry.file: entry}
            ordered = [asdict(entries[file]) for file in sorted(entries)]
            part = self.path.with_suffix(".part")
            part.write_text(json.dumps(ordered, indent=1) + "\n")
            os.replace(part, self.path)


def run(job: Job, folder: Path) -> Entry:
    """Write the file of a job in a forked process; a crash or a hang is an entry like any other."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    worker = multiprocessing.get_context("fork").Process(target=_work, args=(job, folder, theirs))
    begin = time.monotonic()
    worker.start()
    theirs.close()
    entry = _answer(job, ours)
    if worker.is_alive():
        worker.join(5)
        worker.kill()
    entry.seconds = round(time.monotonic() - begin, 1)
    if entry.failed:
        for left in (folder / job.file, (folder / job.file).with_suffix(".npz")):
            left.unlink(missing_ok=True)
    return entry


def _answer(job: Job, ours: Connection) -> Entry:
    if not ours.poll(job.seconds):
        return _blank(job, failed=f"no answer within {job.seconds:.0f} s")
    try:
        return Entry(**ours.recv())
    except EOFError:
        return _blank(job, failed="the exporting process ended without an answer")


def _blank(job: Job, *, failed: str = "") -> Entry:
    return Entry(
        file=job.file,
        name=f"{job.name}-{job.variant}" if job.variant else job.name,
        family=job.family,
        exporter=job.exporter,
        requested=job.opset,
        expect=job.expect,
        failed=failed,
    )


def _work(job: Job, folder: Path, answer: Connection) -> None:
    """What the forked process does: the chatter of exporters goes to a log beside the files."""
    log = os.open(folder / "export.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    entry = _blank(job)
    try:
        _export(job, folder / job.file, entry)
    except Exception as error:  # noqa: BLE001 - an exporter may raise anything; it is recorded
        print(job.file, traceback.format_exc(), flush=True)
        entry.failed = _line(error)
    answer.send(asdict(entry))


def _export(job: Job, path: Path, entry: Entry) -> None:
    written = job.write(path)
    model = onnx.load(path, load_external_data=False)
    stamps = {stamp.domain or "ai.onnx": stamp.version for stamp in model.opset_import}
    entry.opset = stamps.get("ai.onnx", 0)
    used = {node.domain or "ai.onnx" for node in model.graph.node}
    entry.domains = sorted(used)
    entry.nodes = len(model.graph.node)
    entry.size = sum(part.stat().st_size for part in path.parent.glob(path.name + "*"))
    entry.inputs = [_described(value) for value in model.graph.input]
    entry.note = written.note
    feeds = {name: array for name, array in written.feeds.items() if name in _names(model)}
    outputs: Feeds = {}
    try:
        feeds, outputs = _outputs(path, feeds, entry)
        entry.runs = "yes"
    except Exception as error:  # noqa: BLE001 - the runtime may refuse what an exporter wrote
        entry.runs = _line(error)
    np.savez_compressed(
        path.with_suffix(".npz"),
        **{f"in/{name}": array for name, array in feeds.items()},
        **{f"out/{name}": array for name, array in outputs.items()},
    )


def _outputs(path: Path, feeds: Feeds, entry: Entry) -> tuple[Feeds, Feeds]:
    """Run a file; where it runs only one sample at a time, keep the first and say so."""
    try:
        return feeds, runtime_outputs(path, feeds)
    except Exception:
        if len({array.shape[:1] for array in feeds.values()}) != 1:
            raise
        single = {name: array[:1] for name, array in feeds.items()}
        outputs = runtime_outputs(path, single)
        entry.note = f"{entry.note} runs with a batch of one only".strip()
        return single, outputs


def _names(model: onnx.ModelProto) -> set[str]:
    return {value.name for value in model.graph.input}


def _described(value: onnx.ValueInfoProto) -> dict[str, object]:
    tensor = value.type.tensor_type
    shape = [d.dim_param or d.dim_value for d in tensor.shape.dim]
    kind = onnx.TensorProto.DataType.Name(tensor.elem_type)
    return {"name": value.name, "type": kind.lower(), "shape": shape}


def runtime_outputs(path: Path, feeds: Feeds) -> Feeds:
    """Run a file in ONNX Runtime without graph optimisation and return its tensors."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    found = session.run(None, feeds)
    names = [value.name for value in session.get_outputs()]
    return {
        name: array
        for name, array in zip(names, found, strict=True)
        if isinstance(array, np.ndarray) and array.dtype != object
    }


def _line(error: BaseException) -> str:
    """An error as one line: its type and what it says first, or what caused it."""
    while isinstance(error.__cause__, Exception) and "step" in str(error):
        error = error.__cause__
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:300]}"
