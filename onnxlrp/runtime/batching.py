"""Finds the batch size from which on a larger one gains nothing, within a bound on memory."""

import gc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from onnxlrp.errors import InputError
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.signature import Port

__all__ = [
    "BatchChoice",
    "Trial",
    "available_memory",
    "choose_batch",
    "peak_memory",
    "reset_peak",
    "resident_memory",
]

_STATUS: Final = Path("/proc/self/status")
_RESET: Final = Path("/proc/self/clear_refs")
_SHARE: Final = 0.8


@dataclass(frozen=True, kw_only=True)
class Trial:
    """What was measured for one batch size.

    Attributes:
        batch: Samples per run.
        seconds: Shortest time of a run.
        memory: Peak of the memory of the process in bytes; None where the system does not tell.
    """

    batch: int
    seconds: float
    memory: int | None

    @property
    def throughput(self) -> float:
        """Samples per second."""
        return self.batch / self.seconds


@dataclass(frozen=True, kw_only=True)
class BatchChoice:
    """The batch size that was found.

    Attributes:
        batch: Samples per run.
        trials: Everything that was measured, by rising batch size.
        reason: Why the search ended, in words.
    """

    batch: int
    trials: tuple[Trial, ...]
    reason: str


def choose_batch(
    measure: Callable[[int], Trial],
    *,
    limit: int,
    memory: int | None,
    start: int | None = None,
    gain: float = 0.05,
) -> BatchChoice:
    """Double the batch while it pays and fits; return the smallest that is good enough.

    The search ends at the limit, where two doublings in a row have raised the throughput by less
    than `gain`, or before a batch whose memory, predicted as a line through the last two peaks,
    exceeds the bound: that batch is not run. Chosen is the smallest batch whose throughput is
    within `gain` of the best.

    Args:
        measure: Runs a batch of a given size.
        limit: Largest batch to try.
        memory: Bound on the memory of the process in bytes; None: no bound.
        start: Memory of the process before the first run.
        gain: Least share by which a doubling must raise the throughput.
    """
    trials: list[Trial] = []
    reason = f"the limit of {limit} is reached"
    batch, flat = 1, 0
    while batch <= limit:
        wanted = predict(trials, batch, start)
        if memory is not None and wanted is not None and wanted > memory:
            reason = f"batch {batch} would need about {wanted >> 20} MiB of {memory >> 20} MiB"
            break
        trials.append(measure(batch))
        rate = _best(trials) / _best(trials[:-1]) - 1 if len(trials) > 1 else math.inf
        flat = flat + 1 if rate < gain else 0
        if flat == 2:
            reason = f"two doublings raised the throughput by less than {gain:.0%} each"
            break
        batch *= 2
    if not trials:
        raise InputError(f"no batch fits: {reason}")
    good = [trial for trial in trials if trial.throughput * (1 + gain) >= _best(trials)]
    return BatchChoice(batch=good[0].batch, trials=tuple(trials), reason=reason)


def predict(trials: Sequence[Trial], batch: int, start: int | None) -> int | None:
    """Predict the peak of a batch as a line through the last two peaks; None: not known.

    Before the second peak, the memory of the process before the first run takes its place.
    """
    peaks = [(0, start), *((trial.batch, trial.memory) for trial in trials)]
    known = [(size, peak) for size, peak in peaks if peak is not None][-2:]
    if len(known) < 2:
        return None
    (few, low), (many, high) = known
    return round(high + max(high - low, 0) / (many - few) * (batch - many))


def _best(trials: Sequence[Trial]) -> float:
    return max(trial.throughput for trial in trials)


def measure_run(run: Callable[[], object], batch: int, repeats: int = 3) -> Trial:
    """Run something once to warm up, then measure the shortest of some runs and the peak memory."""
    gc.collect()
    reset_peak()
    run()
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return Trial(batch=batch, seconds=min(times), memory=peak_memory())


def peak_memory() -> int | None:
    """Return the peak of the resident memory of the process in bytes; None: not known."""
    return _kibibytes(_STATUS, "VmHWM")


def resident_memory() -> int | None:
    """Return the resident memory of the process in bytes; None: not known."""
    return _kibibytes(_STATUS, "VmRSS")


def available_memory() -> int | None:
    """Return what the process may come to hold: what it holds and most of what is free."""
    free, own = _kibibytes(Path("/proc/meminfo"), "MemAvailable"), resident_memory()
    if free is None or own is None:
        return None
    group = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
    try:
        most, now = (path.read_text().strip() for path in group)
    except OSError:
        most, now = "max", "0"
    if most != "max":
        free = min(free, int(most) - int(now))
    return own + round(_SHARE * free)


def sample_inputs(ports: Mapping[str, Port], batch: int) -> dict[str, Array]:
    """Return random floats, and zeros of other types, in the shapes of the inputs.

    Raises:
        InputError: An axis besides the first is free.
    """
    rng = np.random.default_rng(0)
    found: dict[str, Array] = {}
    for name, port in ports.items():
        free = any(not isinstance(dim, int) for dim in port.shape[1:])
        if free or port.dtype is None or port.dtype == object:
            raise InputError(f"input '{name}' is {port}: pass inputs= of one sample")
        first = [dim if isinstance(dim, int) else batch for dim in port.shape[:1]]
        shape = (*first, *(dim for dim in port.shape[1:] if isinstance(dim, int)))
        real = port.dtype.kind == "f"
        values = rng.standard_normal(shape) if real else np.zeros(shape)
        found[name] = values.astype(port.dtype)
    return found


def _kibibytes(path: Path, key: str) -> int | None:
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(found[0]) * 1024 if found else None


def reset_peak() -> None:
    """Let the peak start anew from what the process holds now, where the system can."""
    try:
        _RESET.write_text("5")
    except OSError:
        return
