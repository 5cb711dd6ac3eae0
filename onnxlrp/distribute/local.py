"""Workers as processes of this machine: one that dies is replaced, its shard given out again."""

import contextlib
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Final, TypeAlias

from onnxlrp.distribute.items import Shard
from onnxlrp.distribute.job import Job, Lost, Outcome, Receipt, Refused
from onnxlrp.distribute.shard import Tools, explain_shard
from onnxlrp.errors import Error, ModelError

__all__ = ["explain_local"]

Message: TypeAlias = Receipt | Refused | str

_SECONDS_TO_END: Final = 10.0


@dataclass(frozen=True, eq=False)
class _Worker:
    process: BaseProcess
    connection: Connection


@dataclass(frozen=True)
class _Task:
    shard: Shard
    tried: int = 0


class _Tasks:
    """What is still to be done: first what must be tried again."""

    def __init__(self, shards: Iterator[Shard]) -> None:
        self._shards = shards
        self._again: deque[_Task] = deque()

    def next(self) -> _Task | None:
        if self._again:
            return self._again.popleft()
        shard = next(self._shards, None)
        return None if shard is None else _Task(shard)

    def fail(self, task: _Task, reason: str, retries: int) -> Lost | None:
        """Put a task back, or give it up."""
        if task.tried < retries:
            self._again.append(_Task(task.shard, task.tried + 1))
            return None
        return Lost(shard=task.shard.number, reason=reason)


def explain_local(
    job: Job, shards: Iterator[Shard], workers: int, retries: int
) -> Iterator[Outcome]:
    """Yield the outcome of every shard, in the order in which they end.

    Closing the iterator ends the workers. A worker ends by itself, after its shard, when this
    process is gone.

    Raises:
        ModelError: A worker cannot load the model.
    """
    tasks, busy = _Tasks(shards), dict[_Worker, _Task]()
    idle: list[_Worker] = []
    try:
        while True:
            while len(busy) < workers and (task := tasks.next()) is not None:
                worker = idle.pop() if idle else _start(job)
                busy[worker] = task
                with contextlib.suppress(OSError):
                    worker.connection.send(task.shard)  # one that is dead is found below
            if not busy:
                return
            for worker in _ready(busy):
                task, message = busy.pop(worker), _receive(worker)
                if message is None:
                    message = _died(worker)
                else:
                    idle.append(worker)
                outcome = _judged(tasks, task, message, retries)
                if outcome is not None:
                    yield outcome
    finally:
        _end([*busy, *idle])


def _judged(tasks: _Tasks, task: _Task, message: Message, retries: int) -> Outcome | None:
    if isinstance(message, Refused):
        raise ModelError(f"a worker cannot start: {message.reason}")
    if isinstance(message, Receipt):
        return message
    return tasks.fail(task, message, retries)


def _start(job: Job) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(job, theirs), daemon=True)
    process.start()
    theirs.close()  # or we would never see that it is dead
    return _Worker(process, ours)


def _ready(busy: dict[_Worker, _Task]) -> list[_Worker]:
    found = set(map(id, wait([worker.connection for worker in busy])))
    return [worker for worker in busy if id(worker.connection) in found]


def _receive(worker: _Worker) -> Message | None:
    try:
        message: Message = worker.connection.recv()
    except (EOFError, OSError):
        return None
    return message


def _died(worker: _Worker) -> str:
    worker.connection.close()
    worker.process.join(_SECONDS_TO_END)
    code = worker.process.exitcode
    return (
        f"its worker died (signal {-code})" if code and code < 0 else f"its worker ended ({code})"
    )


def _end(workers: list[_Worker]) -> None:
    for worker in workers:
        worker.connection.close()
    for worker in workers:
        worker.process.join(_SECONDS_TO_END)
        if worker.process.is_alive():
            worker.process.terminate()
            worker.process.join()


def _work(job: Job, connection: Connection) -> None:
    """The life of a worker: shards in, receipts out, until the pipe is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        shard = connection.recv()
        try:
            tools = Tools.open(job)
        except (Error, OSError) as error:
            connection.send(Refused(reason=str(error)))
            return
        while True:
            connection.send(attempt(tools, shard))
            shard = connection.recv()


def attempt(tools: Tools, shard: Shard) -> Receipt | str:
    """Explain a shard; return the receipt, or what went wrong."""
    try:
        return explain_shard(tools, shard)
    except (Error, OSError, MemoryError) as error:
        return " ".join(str(error).split()) or type(error).__name__
