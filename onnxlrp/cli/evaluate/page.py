"""The report of `onnxlrp evaluate`: one page with the table, the curves and the maps."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from xml.etree.ElementTree import Element

from onnxlrp.cli.chart import draw_chart
from onnxlrp.cli.evaluate.table import cells, column_title, fewer, fitting, number, spread
from onnxlrp.cli.files import write_bytes
from onnxlrp.cli.html import Part, element, page, row, table
from onnxlrp.cli.html import number as number_cell
from onnxlrp.data.labels import label
from onnxlrp.evaluation.journal import Journal, Json, Record
from onnxlrp.evaluation.maps import Maps
from onnxlrp.evaluation.summary import Summary

_LEAST_POINTS: Final = 5
_LETTERS: Final = 160
_SCROLL: Final = "overflow-x: auto"
_GRID: Final = "display: flex; flex-wrap: wrap; gap: .8rem 1.2rem; align-items: flex-start"
_FIGURE: Final = "margin: 0; width: 10.5rem"
_IMAGE: Final = "width: 10.5rem; margin: 0; border: 1px solid #dadee4; image-rendering: pixelated"
_CAPTION: Final = "font-size: .82rem; color: #6e7680; overflow-wrap: anywhere"
_BEST: Final = "font-weight: 600; background: #e8f3e6"


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture of the report.

    Attributes:
        file: Where it lies.
        caption: What stands below it.
    """

    file: Path
    caption: str


@dataclass(frozen=True, kw_only=True)
class Shown:
    """The samples whose maps are shown.

    Attributes:
        samples: Title and pictures of each.
    """

    samples: tuple[tuple[str, tuple[Figure, ...]], ...]

    @classmethod
    def read(
        cls, journal: Journal, maps: Maps | None, methods: Sequence[str], labels: Sequence[str]
    ) -> "Shown":
        """Find the maps of the first samples of a journal."""
        if maps is None:
            return cls(samples=())
        first: dict[int, Record] = {}
        for record in journal.records():
            if record.method and record.sample not in first:
                first[record.sample] = record
            if len(first) >= maps.count:
                break
        return cls(
            samples=tuple(
                (_title(record, labels), _figures(maps, record.sample, methods))
                for record in first.values()
            )
        )


def _title(record: Record, labels: Sequence[str]) -> str:
    def name(index: int | None) -> str:
        return "?" if index is None else label(labels, index)

    text = f"{record.name}: predicted {name(record.predicted)}"
    if record.label is not None and record.label != record.predicted:
        text += f", labelled {name(record.label)}"
    if record.explained != record.predicted:
        text += f", explained {name(record.explained)}"
    return text


def _figures(maps: Maps, sample: int, methods: Sequence[str]) -> tuple[Figure, ...]:
    every = [(maps.picture(sample), "picture")]
    every += [(maps.map(sample, method), method) for method in methods]
    return tuple(Figure(file=file, caption=text) for file, text in every if file.is_file())


def write_report(
    path: Path, summary: Summary, shown: Shown, settings: Mapping[str, Json], command: str
) -> None:
    """Write the report, with all pictures inside."""
    curves = [
        draw_chart(name, of, better=summary.better.get(name, ""), span=_span(name))
        for name, of in summary.curves.items()
        if of and max(map(len, of.values())) >= _LEAST_POINTS
    ]
    parts = [
        element("h1", "Comparison of methods"),
        element("p", _counts(summary)),
        element("p", element("code", command), class_="faint"),
        _table(summary),
        *_failures(summary),
        *_section("Curves", curves, _ABOUT_CURVES),
        *_section("Maps", [_sample(title, figures) for title, figures in shown.samples], _MAPS),
        *_skipped(summary),
        element("h2", "Settings"),
        table((), [row(name, _plain(value)) for name, value in settings.items()]),
    ]
    write_bytes(path, page("Comparison of methods - onnxlrp", *parts))


_ABOUT_CURVES: Final = (
    "Mean over the samples. insertion: the picture appears, most relevant pixels first; deletion: "
    "they vanish, most relevant first; positive and negative: top-1 hits while the most or least "
    "relevant vanish; morf and lerf: regions vanish, most or least relevant first."
)
_MAPS: Final = (
    "Red speaks for the explained class, blue against it; each map is scaled to its own 99.5th "
    "percentile. Green outlines what is to be found."
)


def _span(name: str) -> tuple[float, float]:
    """The part of the pixels, in percent, at the first and the last point of a curve."""
    return (10.0, 90.0) if name.startswith(("positive_", "negative_")) else (0.0, 100.0)


def _counts(summary: Summary) -> str:
    text = f"{summary.samples} samples"
    if summary.correct is not None:
        text += f", {summary.correct:.1%} of them predicted rightly"
    if summary.skipped_count:
        text += f", {summary.skipped_count} skipped"
    return text + "."


def _table(summary: Summary) -> Element:
    parts = [_part(summary, names) for names in fitting(summary, cells(summary), _LETTERS)]
    text = (
        "Mean \N{PLUS-MINUS SIGN} half of the 95 % bootstrap interval; \N{UPWARDS ARROW} higher is "
        "better, \N{DOWNWARDS ARROW} lower is better; the best of a column is marked."
    )
    return element("section", *parts, element("p", text, class_="faint"))


def _part(summary: Summary, columns: Sequence[str]) -> Element:
    names = [number_cell(column_title(summary, column), "th") for column in columns]
    head: list[Part] = ["method", *names]
    rows = [
        row(method, *(_cell(summary, method, column) for column in columns))
        for method in summary.methods
        if method in summary.cells
    ]
    return element("div", table(head, rows), style=_SCROLL)


def _cell(summary: Summary, method: str, column: str) -> Element:
    cell = summary.cells[method].get(column)
    if cell is None or not cell.count:
        return number_cell("-")
    made = number_cell(number(cell))
    made.append(
        element("span", f" \N{PLUS-MINUS SIGN}{spread(cell)}{fewer(summary, cell)}", class_="faint")
    )
    made.set("title", f"{cell.low:.6g} to {cell.high:.6g}, {cell.count} samples")
    if method in summary.best(column):
        made.set("style", _BEST)
    return made


def _failures(summary: Summary) -> list[Element]:
    if not summary.failures:
        return []
    rows = [row(method, why, class_="wrong") for method, why in summary.failures.items()]
    return [table(("method", "failed"), rows)]


def _skipped(summary: Summary) -> list[Element]:
    if not summary.skipped_count:
        return []
    rows = [row(name, why) for name, why in summary.skipped]
    title = f"Skipped: {summary.skipped_count}"
    return [element("h2", title), table(("sample", "reason"), rows)]


def _section(title: str, parts: Sequence[Element], text: str) -> list[Element]:
    if not parts:
        return []
    return [element("h2", title), element("p", text, class_="faint"), *parts]


def _sample(title: str, figures: Sequence[Figure]) -> Element:
    made = [
        element(
            "figure",
            element("img", src=_inline(figure.file), alt=figure.caption, style=_IMAGE),
            element("figcaption", figure.caption, style=_CAPTION),
            style=_FIGURE,
        )
        for figure in figures
    ]
    heading = element("p", title, style="margin: 1.4rem 0 .4rem")
    return element("section", heading, element("div", *made, style=_GRID))


def _inline(file: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()


def _plain(value: Json) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{name}: {entry}" for name, entry in value.items()) or "-"
    return "-" if value is None else str(value)
