"""The tables of `onnxlrp evaluate` as files: per sample, and summed up."""

import argparse
import csv
import io
import json
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Final

from onnxlrp.cli.fields import field_words
from onnxlrp.cli.files import write_bytes, write_whole
from onnxlrp.evaluation.journal import Journal, Json, Record
from onnxlrp.evaluation.summary import Cell, Summary

_REPEATED: Final = ("composites", "metrics", "provider")
_OPTIONS: Final = {
    **dict.fromkeys(("output", "quantize", "labels", "label_file", "preprocess", "layout")),
    **dict.fromkeys(("limit", "per_class", "shuffle", "out")),
    "explain": "predicted",
    "seed": 0,
    "show": 8,
    "batch_size": 32,
}
"""Options with their defaults."""


def command_line(options: argparse.Namespace) -> str:
    """Return the command that makes these results again."""
    words = ["onnxlrp", "evaluate", options.model, options.data]
    for name in _REPEATED:
        for value in getattr(options, name) or ():
            words += [f"--{name}", value]
    for name, default in _OPTIONS.items():
        value = getattr(options, name)
        if value != default:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return shlex.join([*words, *field_words(options)])


def write_results(path: Path, journal: Journal, columns: Sequence[str]) -> None:
    """Write one row per sample and method, without holding them."""

    def write(file: IO[bytes]) -> None:
        text = io.TextIOWrapper(file, "utf-8", newline="", write_through=True)
        table = csv.writer(text, lineterminator="\n")
        head = ("sample", "name", "method", "label", "predicted", "explained", "failed")
        table.writerow((*head, *columns))
        for record in journal.records():
            table.writerow(_row(record, columns))
        text.detach()

    write_whole(path, write)


def _row(record: Record, columns: Iterable[str]) -> list[object]:
    values = [record.values.get(column, math.nan) for column in columns]
    known = [record.label, record.predicted, record.explained]
    return [
        record.sample,
        record.name,
        record.method,
        *("" if value is None else value for value in known),
        record.failed,
        *("" if math.isnan(value) else repr(value) for value in values),
    ]


def write_summary_csv(path: Path, summary: Summary) -> None:
    """Write one row per method and column: mean, ends of its 95 % interval, samples."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("method", "column", "better", "mean", "low", "high", "n", "best", "failed"))
    for method in summary.methods:
        for column, cell in summary.cells.get(method, {}).items():
            numbers = [_text(value) for value in (cell.mean, cell.low, cell.high)]
            best = "yes" if method in summary.best(column) else ""
            better = summary.better.get(column, "")
            table.writerow((method, column, better, *numbers, cell.count, best, ""))
        if method in summary.failures:
            table.writerow((method, "", "", "", "", "", 0, "", summary.failures[method]))
    write_bytes(path, text.getvalue().encode())


def as_json(summary: Summary, settings: Mapping[str, Json], command: str) -> dict[str, Json]:
    """Return the summary as plain lists and dicts; numbers that are not known are null."""
    return {
        "command": command,
        "settings": dict(settings),
        "samples": summary.samples,
        "accuracy": summary.correct,
        "skipped": summary.skipped_count,
        "skipped_samples": [{"name": name, "reason": why} for name, why in summary.skipped],
        "better": dict(summary.better),
        "methods": [
            {
                "name": method,
                "failed": summary.failures.get(method),
                "columns": {
                    column: _cell(cell) for column, cell in summary.cells.get(method, {}).items()
                },
            }
            for method in summary.methods
        ],
        "curves": {
            name: {method: [_known(v) for v in curve.tolist()] for method, curve in of.items()}
            for name, of in summary.curves.items()
        },
    }


def write_summary_json(path: Path, summary: Mapping[str, Json]) -> None:
    """Write the summary."""
    write_bytes(path, (json.dumps(summary, indent=2, allow_nan=False) + "\n").encode())


def _cell(cell: Cell) -> dict[str, Json]:
    numbers = {"mean": cell.mean, "low": cell.low, "high": cell.high}
    return {**{name: _known(value) for name, value in numbers.items()}, "n": cell.count}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _text(value: float) -> str:
    return repr(value) if math.isfinite(value) else ""
