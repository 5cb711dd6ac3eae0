"""The canonical view as a graph in the DOT language."""

from collections.abc import Iterator, Mapping
from typing import Final

from onnxlrp.inspection import Report, Row

_COLORS: Final[Mapping[str, str]] = {
    "LinearMap": "#cfe0f5",
    "Sum": "#d5ecd0",
    "Product": "#f6e3c0",
    "Pointwise": "#efefef",
    "Move": "#ffffff",
    "Select": "#e4d7f1",
    "Norm": "#cdebea",
    "Softmax": "#f7d9e6",
    "Stop": "#d8d8d8",
    "Unsupported": "#f4a6a2",
}


def to_dot(report: Report) -> str:
    """Return the sites as boxes, coloured by kind, and the values between them as edges."""
    title = f"composite {report.composite}, coverage {report.coverage:.1%}"
    return "\n".join(
        [
            "digraph model {",
            f"  graph [label={_quote(title)}, labelloc=t, fontname=Helvetica]",
            '  node [shape=box, style="rounded,filled", fillcolor=white, fontname=Helvetica]',
            "  edge [fontname=Helvetica, fontsize=10]",
            *(f"  {line}" for line in _lines(report)),
            "}\n",
        ]
    )


def _lines(report: Report) -> Iterator[str]:
    producers: dict[str, str] = {}
    for index, name in enumerate(report.inputs):
        producers[name] = f"input{index}"
        yield f"input{index} [label={_quote(name)}, shape=ellipse]"
    for index, row in enumerate(report.rows):
        yield f"site{index} [label={_quote(*_label(row))}, fillcolor={_quote(color(row))}]"
        producers.update((name, f"site{index}") for name in row.outputs)
    yield f"output [label={_quote(report.output)}, shape=ellipse]"
    ends = [(f"site{index}", row.inputs) for index, row in enumerate(report.rows)]
    for end, names in [*ends, ("output", (report.explained,))]:
        for name in names:
            if name in producers:
                yield f"{producers[name]} -> {end} [label={_quote(name)}]"


def _label(row: Row) -> tuple[str, ...]:
    return row.name, f"{row.op}: {row.kind}", row.rule or row.why


def color(row: Row) -> str:
    """Return the colour of the kind of a site."""
    return _COLORS.get(row.kind, "#ffffff")


def _quote(*lines: str) -> str:
    """Quote the lines of a label; DOT knows escapes with a backslash, and HTML entities."""
    plain = ("".join(c if c.isprintable() else " " for c in line) for line in lines)
    escaped = (
        line.replace("\\", "\\\\").replace('"', '\\"').replace("&", "&amp;") for line in plain
    )
    return '"' + "\\n".join(escaped) + '"'
