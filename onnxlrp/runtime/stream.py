"""Explains a stream: decoding, copying and computing overlap, order and memory are kept."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeAlias

import numpy.typing as npt

from onnxlrp.errors import Error, InputError
from onnxlrp.runtime.jobs import Job, Request, joint_key
from onnxlrp.runtime.result import Result

__all__ = ["Decoded", "OnError", "Options", "stream"]

Decoded: TypeAlias = Mapping[str, npt.ArrayLike] | Request
OnError: TypeAlias = Literal["raise", "skip"] | Callable[[int, BaseException], Result | None]
Outcome: TypeAlias = Result | BaseException
Entry: TypeAlias = tuple[int, Future[Job]]


class Engine(Protocol):
    """What runs the jobs.

    Attributes:
        parallel: Jobs that may run at once.
    """

    parallel: int

    def prepare(self, request: Request, batch_size: int) -> Job:
        """Check a request."""

    def together(self, jobs: Sequence[Job]) -> list[Result]:
        """Run jobs with equal keys as one."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """How a stream is worked off.

    Attributes:
        decode: Turns an item into inputs or a `Request`, in a thread of its own.
        target: The target of items that are no `Request`.
        batch_size: Most samples per run.
        workers: Threads that decode.
        on_error: What happens where an item fails.
    """

    decode: Callable[[Any], Decoded] | None = None
    target: npt.ArrayLike | None = None
    batch_size: int = 32
    workers: int = 2
    on_error: OnError = "raise"

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is not positive, or `on_error` is not known.
        """
        for name in ("batch_size", "workers"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not callable(self.on_error) and self.on_error not in ("raise", "skip"):
            raise InputError(f"on_error={self.on_error!r} is not raise, skip or a function")

    @property
    def ahead(self) -> int:
        """Most items that are decoded and not yet run."""
        return 2 * self.batch_size + self.workers


def stream(engine: Engine, items: Iterable[Any], options: Options) -> Iterator[Result]:
    """Yield the result of every item, in order."""
    decoders = ThreadPoolExecutor(options.workers, thread_name_prefix="onnxlrp-decode")
    runners = ThreadPoolExecutor(engine.parallel, thread_name_prefix="onnxlrp-run")
    queue = _Queue(engine, items, options, decoders)
    running: deque[Future[list[tuple[int, Outcome]]]] = deque()
    try:
        while True:
            while len(running) <= engine.parallel:
                group = queue.next_group()
                if not group:
                    break
                running.append(runners.submit(_work, engine, group))
            if not running:
                return
            for index, outcome in running.popleft().result():
                result = _handled(index, outcome, options.on_error)
                if result is not None:
                    yield result
    finally:
        for pool in (decoders, runners):
            pool.shutdown(wait=True, cancel_futures=True)


class _Queue:
    """Items that are being decoded, in order, never more than `ahead`."""

    def __init__(
        self,
        engine: Engine,
        items: Iterable[Any],
        options: Options,
        pool: ThreadPoolExecutor,
    ) -> None:
        self._engine, self._options, self._pool = engine, options, pool
        self._items = enumerate(items)
        self._waiting: deque[Entry] = deque()

    def next_group(self) -> list[Entry]:
        """Take the next items that may run as one; one alone where it failed, none at the end."""
        group: list[Entry] = []
        total = 0
        while self._fill():
            future = self._waiting[0][1]
            if future.exception() is not None:
                return group or [self._waiting.popleft()]
            count, key = future.result().plan.count, joint_key(future.result())
            fits = key is not None and total + count <= self._options.batch_size
            if group and not (fits and key == joint_key(group[0][1].result())):
                break
            group.append(self._waiting.popleft())
            total += count
            if not fits:
                break
        return group

    def _fill(self) -> bool:
        while len(self._waiting) < self._options.ahead:
            entry = next(self._items, None)
            if entry is None:
                break
            self._waiting.append((entry[0], self._pool.submit(self._decode, *entry)))
        return bool(self._waiting)

    def _decode(self, index: int, item: Any) -> Job:
        options = self._options
        found = item if options.decode is None else options.decode(item)
        if not isinstance(found, Mapping | Request):
            raise InputError(
                f"item {index} of the stream is {type(found).__name__}, neither a dict of arrays "
                "nor a Request; pass decode= to turn it into one"
            )
        if isinstance(found, Mapping):
            found = Request(inputs=found, target=options.target)
        return self._engine.prepare(found, options.batch_size)


def _work(engine: Engine, group: Sequence[Entry]) -> list[tuple[int, Outcome]]:
    """Run a group; where it fails, each item alone, so that only the guilty ones fail."""
    failed = group[0][1].exception()
    if failed is not None:
        return [(group[0][0], failed)]
    jobs = [future.result() for _, future in group]
    numbers = [index for index, _ in group]
    try:
        return list(zip(numbers, engine.together(jobs), strict=True))
    except Error as error:
        if len(group) == 1:
            return [(numbers[0], error)]
    return [outcome for entry in group for outcome in _work(engine, [entry])]


def _handled(index: int, outcome: Outcome, on_error: OnError) -> Result | None:
    if isinstance(outcome, Result):
        return outcome
    if on_error == "skip":
        return None
    if callable(on_error):
        return on_error(index, outcome)
    raise outcome
