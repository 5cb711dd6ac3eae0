"""The page of `onnxlrp inspect --html`: coverage, cost, and the canonical view as linked rows."""

from collections.abc import Iterator, Mapping, Sequence
from xml.etree.ElementTree import Element

from onnxlrp.cli.dot import color
from onnxlrp.cli.html import Part, element, number, page, row, table
from onnxlrp.costs import Derived
from onnxlrp.inspection import Report, Row

_MIB = 2**20


def make_page(model: str, report: Report, said: Sequence[str], derived: Sequence[Derived]) -> bytes:
    """Return the page.

    Args:
        model: Name of the model.
        report: What `inspect` found.
        said: Lines about coverage and cost.
        derived: Derived weights.
    """
    producers = {name: k for k, item in enumerate(report.rows) for name in item.outputs}
    head = ("node", "operator", "kind", "rule", "why", "reads")
    rows = [_row(k, item, producers) for k, item in enumerate(report.rows)]
    return page(
        f"{model} - onnxlrp",
        element("h1", model),
        *(element("p", line) for line in said),
        *_unsupported(report),
        element("h2", "Nodes that relevance can reach, in forward order"),
        table(head, rows),
        *_weights(derived),
    )


def _row(index: int, item: Row, producers: Mapping[str, int]) -> Element:
    kind = element("span", item.kind, class_="chip", style=f"background:{color(item)}")
    wrong = {"class_": "wrong"} if item.kind == "Unsupported" else {}
    reads = element("td", *_links(item.inputs, producers))
    return row(item.name, item.op, kind, item.rule, item.why, reads, id=f"node-{index}", **wrong)


def _links(names: Sequence[str], producers: Mapping[str, int]) -> Iterator[Part]:
    for count, name in enumerate(names):
        if count:
            yield ", "
        known = name in producers
        yield element("a", name, href=f"#node-{producers[name]}") if known else name


def _unsupported(report: Report) -> Iterator[Element]:
    if report.unsupported:
        yield element("h2", "Unsupported")
        rows = [row(item.name, item.op, item.why, class_="wrong") for item in report.unsupported]
        yield table(("node", "operator", "why"), rows)


def _weights(derived: Sequence[Derived]) -> Iterator[Element]:
    if derived:
        yield element("h2", "Derived weights")
        yield table(("value", "shape", number("MiB", "th")), [_weight(item) for item in derived])


def _weight(item: Derived) -> Element:
    if item.size is None or item.shape is None:
        return row(item.name, "unknown", number("unknown"))
    return row(item.name, str(list(item.shape)), number(f"{item.size / _MIB:.3f}"))
