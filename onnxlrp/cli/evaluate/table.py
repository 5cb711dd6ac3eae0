"""The table of `onnxlrp evaluate` as text: methods down, columns across."""

import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from onnxlrp.cli.table import format_table
from onnxlrp.evaluation.summary import Cell, Summary

ARROWS: Final = {"higher": "\N{UPWARDS ARROW}", "lower": "\N{DOWNWARDS ARROW}", "": ""}
_WIDTH: Final = 150


def format_summary(summary: Summary) -> str:
    """Return the table in as many parts as the terminal is narrow, and what failed."""
    methods = [method for method in summary.methods if method in summary.cells]
    parts = []
    if methods:
        width = shutil.get_terminal_size((_WIDTH, 24)).columns
        columns = cells(summary)
        for names in fitting(summary, columns, width):
            head = ["method", *(column_title(summary, name) for name in names)]
            rows = [
                [method, *(columns[name][k] for name in names)] for k, method in enumerate(methods)
            ]
            parts.append(format_table(head, rows))
    parts.extend(f"failed: {method}: {why}" for method, why in summary.failures.items())
    return "\n\n".join([*parts, *([_counts(summary)] if summary.samples else [])])


def number(cell: Cell) -> str:
    """Return a mean as text."""
    if not math.isfinite(cell.mean):
        return "-"
    return f"{cell.mean:.3f}" if _is_fixed(cell) else f"{cell.mean:.2e}"


def spread(cell: Cell) -> str:
    """Return half the width of the confidence interval as text, in the digits of the mean."""
    if not math.isfinite(_half(cell)):
        return ""
    return f"{_half(cell):.3f}" if _is_fixed(cell) else f"{_half(cell):.1e}"


def _half(cell: Cell) -> float:
    return (cell.high - cell.low) / 2


def _is_fixed(cell: Cell) -> bool:
    """Whether three digits behind the point say enough."""
    size = max(abs(cell.mean), _half(cell))
    return 1e-3 <= size < 1e3 or size == 0


def fewer(summary: Summary, cell: Cell) -> str:
    """Return the number of samples where it is not that of all."""
    return f" (n={cell.count})" if cell.count < summary.samples else ""


def _cell(summary: Summary, method: str, column: str) -> str:
    cell = summary.cells[method].get(column)
    if cell is None or not cell.count:
        return "-"
    best = "*" if method in summary.best(column) else ""
    return f"{number(cell)} \N{PLUS-MINUS SIGN}{spread(cell)}{best}{fewer(summary, cell)}"


def cells(summary: Summary) -> dict[str, list[str]]:
    """Return the texts of each column, a method each."""
    methods = [method for method in summary.methods if method in summary.cells]
    return {
        column: [_cell(summary, method, column) for method in methods] for column in summary.better
    }


def column_title(summary: Summary, column: str) -> str:
    """Return a column with an arrow to where it is better."""
    return f"{column} {ARROWS[summary.better.get(column, '')]}".strip()


def fitting(
    summary: Summary, columns: Mapping[str, Sequence[str]], width: int
) -> Iterator[list[str]]:
    """Yield the names of columns that fit side by side in so many letters."""
    first = max(map(len, ["method", *summary.cells]))
    names: list[str] = []
    used = first
    for name, texts in columns.items():
        needed = 2 + max(map(len, [column_title(summary, name), *texts]))
        if names and used + needed > width:
            yield names
            names, used = [], first
        names.append(name)
        used += needed
    if names:
        yield names


def _counts(summary: Summary) -> str:
    text = f"{summary.samples} samples"
    if summary.correct is not None:
        text += f", {summary.correct:.1%} predicted rightly"
    if summary.skipped_count:
        text += f", {summary.skipped_count} skipped"
    return f"{text}; mean \N{PLUS-MINUS SIGN} half of the 95 % bootstrap interval, * best"
