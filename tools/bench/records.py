"""The measurements: what is measured, one line of each, and the table that ends a run."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from tools.bench.process import Outcome, Result

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What is measured: an engine on a model file.

    Attributes:
        engine: `ort`, `torch`, `torch-gradient`, `zennit`, `captum`, `lxt` or `dianna`.
        preset: Our preset, or DIANNA's method; empty: the forward pass.
        model: The file.
        python: The interpreter that runs it.
        peer_preset: The preset as the peer calls it.
        nodes: Nodes of the file where it is an explanation graph or the plain model.
        new_bytes: Bytes of initializers that the source model does not have.
        limit: The arithmetic limit in forward passes; None where there is none.
    """

    engine: str
    preset: str
    model: Path
    python: str
    peer_preset: str = ""
    nodes: int = 0
    new_bytes: int = 0
    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What all engines of one table have in common."""

    model: str
    provider: str
    precision: str
    commit: str
    variant: str = ""


@dataclass(frozen=True, kw_only=True)
class Line:
    """One measurement as it is printed; times in ms, None where there is none.

    Attributes:
        kind: Tells these lines from those of the other benchmarks in one file.
        variant: `recompute`, or the passes that were left out.
        ms_min: Of all runs of all processes but each process's first run.
        runs: How many these are.
        forward_ms: `ms_min` of the plain model in ONNX Runtime in the same run.
        ratio: `ms_min / forward_ms`; `ratio_median` is that of the medians.
        limit: Forward passes that the arithmetic needs.
        over_limit: `ratio / limit`.
        peak_mib: Largest memory of a process during the runs, without what it held before it
            loaded the model; the least of the processes. `load_peak_mib`: while loading.
        load_s: Opening the session, or making the module.
        first_ms: The first run.
        new_bytes: Of initializers that the source does not have.
        raises: Why there is no time: a peer's error, or that it was skipped.
        busy: Load average: above the number of cores the times are those of a shared machine.
    """

    kind: str = "explain"
    model: str
    engine: str
    preset: str
    variant: str = ""
    provider: str
    precision: str
    batch: int
    ms_min: float | None = None
    ms_median: float | None = None
    runs: int = 0
    forward_ms: float | None = None
    ratio: float | None = None
    ratio_median: float | None = None
    limit: float | None = None
    over_limit: float | None = None
    peak_mib: float | None = None
    load_peak_mib: float | None = None
    nodes: int = 0
    load_s: float | None = None
    first_ms: float | None = None
    new_bytes: int = 0
    raises: str = ""
    busy: float = 0.0
    commit: str = ""


def publish(line: "DataclassInstance", path: Path | None) -> None:
    """Print a line as JSON, and append it to a file of such lines, where there is one."""
    text = json.dumps(asdict(line))
    print(text, flush=True)
    if path is not None:
        with path.open("a") as file:
            file.write(text + "\n")


def lines(
    setting: Setting, batches: Iterable[int], found: Mapping[Engine, Sequence[Outcome]]
) -> Iterator[Line]:
    """Yield the measurements of one setting, batch by batch."""
    forward = next(engine for engine in found if (engine.engine, engine.preset) == ("ort", ""))
    for batch in batches:
        base = _times(found[forward], batch)
        for engine, outcomes in found.items():
            if outcomes and (engine.engine != "dianna" or batch == 1):
                yield _line(setting, engine, batch, outcomes, base)


def _line(
    setting: Setting, engine: Engine, batch: int, outcomes: Sequence[Outcome], base: list[float]
) -> Line:
    own, times = _own(outcomes, batch), _times(outcomes, batch)
    least, middle = _least(times), _middle(times)
    ratio, known = _over(least, _least(base)), engine.limit
    return Line(
        model=setting.model,
        engine=engine.engine,
        preset=engine.preset,
        variant=setting.variant,
        provider=setting.provider,
        precision=setting.precision,
        batch=batch,
        ms_min=least,
        ms_median=middle,
        runs=len(times),
        forward_ms=_least(base),
        ratio=ratio,
        ratio_median=_over(middle, _middle(base)),
        limit=None if known is None else round(known, 4),
        over_limit=_over(ratio, known),
        peak_mib=_smallest(own, "peak_mib", 1),
        load_peak_mib=_smallest(own, "load_peak_mib", 1),
        nodes=engine.nodes,
        load_s=_smallest(own, "load_s", 3),
        first_ms=_smallest(own, "first_ms", 3),
        new_bytes=engine.new_bytes,
        raises="" if times else _why(outcomes, batch),
        busy=round(os.getloadavg()[0], 1),
        commit=setting.commit,
    )


def _own(outcomes: Iterable[Outcome], batch: int) -> list[Result]:
    found = [item for outcome in outcomes for item in outcome.results if item["batch"] == batch]
    return [item for item in found if "times" in item]


def _times(outcomes: Iterable[Outcome], batch: int) -> list[float]:
    return [time for item in _own(outcomes, batch) for time in item["times"]]


def _why(outcomes: Iterable[Outcome], batch: int) -> str:
    """Why there are no times: skipped, or raised."""
    for outcome in outcomes:
        for item in outcome.results:
            if item["batch"] == batch and "skipped" in item:
                return f"skipped: {item['skipped']}"
    return next((outcome.raises for outcome in outcomes if outcome.raises), "no result")


def _least(times: Sequence[float]) -> float | None:
    return round(min(times), 3) if times else None


def _middle(times: Sequence[float]) -> float | None:
    return round(median(times), 3) if times else None


def _over(value: float | None, by: float | None) -> float | None:
    return None if value is None or not by else round(value / by, 4)


def _smallest(results: Sequence[Result], key: str, digits: int) -> float | None:
    return round(min(item[key] for item in results), digits) if results else None


def summary(measured: Sequence[Line]) -> list[str]:
    """Return a table: minimum and median in ms, their ratios to the plain ORT forward."""
    head = f"{'model':13s}{'batch':>5s} {'engine':15s}{'preset':22s}{'min ms':>10s}{'median':>10s}"
    rows = [head + f"{'x forward':>10s}{'x median':>9s}{'limit':>7s}{'MiB':>7s}{'load s':>7s}"]
    for r in measured:
        start = f"{r.model:13s}{r.batch:5d} {r.engine:15s}{r.preset or 'forward':22s}"
        if r.raises:
            rows.append(f"{start} raises: {r.raises}")
            continue
        rows.append(
            f"{start}{_cell(r.ms_min, 10, 1)}{_cell(r.ms_median, 10, 1)}{_cell(r.ratio, 10, 2)}"
            f"{_cell(r.ratio_median, 9, 2)}{_cell(r.limit, 7, 2)}{_cell(r.peak_mib, 7, 0)}"
            f"{_cell(r.load_s, 7, 2)}"
        )
    return rows


def _cell(value: float | None, width: int, digits: int) -> str:
    return " " * (width - 1) + "-" if value is None else f"{value:{width}.{digits}f}"
