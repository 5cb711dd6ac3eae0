"""Runs the requests of many threads through one `Explainer`; those that fit together as one."""

import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Protocol

from onnxlrp.errors import Error
from onnxlrp.runtime import Request, Result
from onnxlrp.runtime.jobs import Job, joint_key
from onnxlrp.serve.http.limits import BUSY, Refused

Seen = Callable[[int], None]


class Runner(Protocol):
    """The part of an `Explainer` that checks and runs requests."""

    def prepare(self, request: Request, batch_size: int = 32) -> Job:
        """Check a request."""

    def together(self, jobs: list[Job]) -> list[Result]:
        """Run jobs with equal keys as one."""

    def stop(self) -> None:
        """Break off what runs."""

    def resume(self) -> None:
        """Let runs pass again."""


@dataclass(frozen=True, kw_only=True)
class _Waiting:
    job: Job
    key: Hashable | None
    future: "Future[Result]" = field(default_factory=Future)


class Batcher:
    """One thread that runs what waits: whatever came while the last run was under way.

    Nobody waits for company: a lone request runs at once, and requests that came during a run
    share the next one. A run whose requests were all abandoned is broken off.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        size: int,
        queue: int,
        patience: float = 60.0,
        seen: Seen | None = None,
    ) -> None:
        """Start the thread.

        Args:
            runner: Checks and runs.
            size: Most samples per run.
            queue: Most requests that wait.
            patience: Seconds that the last runs may take when the thread is to end.
            seen: Called with the number of samples of every run.
        """
        self._runner, self._size, self._queue = runner, size, queue
        self._patience = patience
        self._running: set[Future[Result]] = set()
        self._seen = seen or (lambda _: None)
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._closed = self._stopped = False
        self._thread = threading.Thread(target=self._work, name="batcher", daemon=True)
        self._thread.start()

    def submit(self, request: Request) -> "Future[Result]":
        """Check a request and let it wait for its run; a cancelled future is not run.

        Raises:
            InputError: An array does not fit.
            Refused: Too many wait, or the server stops.
        """
        job = self._runner.prepare(request, self._size)
        entry = _Waiting(job=job, key=joint_key(job))
        with self._changed:
            if self._closed:
                raise Refused(BUSY, "the server is stopping")
            if len(self._waiting) >= self._queue:
                raise Refused(BUSY, f"{self._queue} requests wait already: try again later")
            self._waiting.append(entry)
            self._changed.notify()
        return entry.future

    def abandon(self, future: "Future[Result]") -> None:
        """Tell that nobody waits for a result any more."""
        future.cancel()
        with self._changed:
            if future in self._running:
                self._running.remove(future)
                if not self._running:
                    self._runner.stop()

    def close(self) -> None:
        """Finish what waits, then end the thread; what takes too long is broken off."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        self._thread.join(self._patience)
        with self._changed:
            _fail(self._waiting, Refused(BUSY, "the server is stopping"))
            self._waiting.clear()
            self._stopped = True
            self._runner.stop()
        self._thread.join(self._patience)

    def _work(self) -> None:
        while group := self._take():
            live = [entry for entry in group if entry.future.set_running_or_notify_cancel()]
            if live:
                with self._changed:
                    self._running = {entry.future for entry in live}
                self._run(live)
                with self._changed:
                    self._running = set()
                    if not self._stopped:
                        self._runner.resume()

    def _take(self) -> list[_Waiting]:
        """Return the oldest request and the others that fit into its run; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return []
            group = [self._waiting.popleft()]
            room = self._size - group[0].job.plan.count
            for entry in [] if group[0].key is None else list(self._waiting):
                if entry.key == group[0].key and entry.job.plan.count <= room:
                    group.append(entry)
                    room -= entry.job.plan.count
                    self._waiting.remove(entry)
            return group

    def _run(self, group: list[_Waiting]) -> None:
        try:
            self._seen(sum(entry.job.plan.count for entry in group))
            results = self._runner.together([entry.job for entry in group])
        except (Error, MemoryError) as error:
            self._apart(group, error)
        except BaseException as error:  # the thread must live on, and the requests must hear of it
            _fail(group, error)
            if not isinstance(error, Exception):
                raise
        else:
            for entry, result in zip(group, results, strict=True):
                entry.future.set_result(result)

    def _apart(self, group: list[_Waiting], error: BaseException) -> None:
        """After a failure: run each alone, so that one bad request fails only itself."""
        for entry in group:
            if len(group) > 1 and entry.future in self._running:
                self._run([entry])
            else:
                _fail([entry], error)


def _fail(group: Iterable[_Waiting], error: BaseException) -> None:
    for entry in group:
        if not entry.future.cancelled():
            entry.future.set_exception(error)
