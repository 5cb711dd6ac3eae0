"""The page of `onnxlrp explain -o OUT.html`: a section per sample."""

import base64
import io
from collections.abc import Sequence
from xml.etree.ElementTree import Element

from PIL import Image

from onnxlrp.cli.findings import Finding
from onnxlrp.cli.html import element, number, page, row, table


def make_section(
    finding: Finding, drawings: Sequence[Image.Image], notes: Sequence[str]
) -> Element:
    """Make the section of one sample: drawings, prediction, numbers, what was assumed."""
    caption = finding.caption()
    title = f"{finding.name}: {caption.title}"
    tables = [_numbers(finding)]
    if caption.top:
        tables.insert(0, _prediction(caption.heading, caption.top))
    return element(
        "section",
        element("h2", finding.name if finding.name == caption.title else title),
        *(_picture(drawing, f"relevance, {title}") for drawing in drawings),
        element("div", *tables, class_="beside"),
        *(element("p", note, class_="faint") for note in notes),
    )


def make_page(sections: Sequence[Element], findings: Sequence[Finding]) -> bytes:
    """Return the page; several samples are listed at its top."""
    title = findings[0].name if len(findings) == 1 else f"{len(findings)} samples"
    contents = []
    if len(findings) > 1:
        for index, section in enumerate(sections):
            section.set("id", f"sample-{index}")
        head = ("sample", "explained", number("score", "th"), number("conservation", "th"))
        contents.append(table(head, [_entry(k, finding) for k, finding in enumerate(findings)]))
    return page(f"{title} - onnxlrp", element("h1", f"Relevance: {title}"), *contents, *sections)


def _entry(index: int, finding: Finding) -> Element:
    link = element("a", finding.name, href=f"#sample-{index}")
    return row(link, finding.caption().title, _cell(finding.score), _cell(finding.conservation))


def _cell(value: float | None) -> Element:
    return number("unknown" if value is None else f"{value:.5g}")


def _prediction(heading: str, top: Sequence[tuple[str, str, float]]) -> Element:
    rows = [row(label, number(score), _bar(share)) for label, score, share in top]
    return table((heading, number("score", "th"), ""), rows)


def _bar(share: float) -> Element:
    filled = element("span", style=f"width:{100 * min(max(share, 0), 1):.1f}%")
    return element("span", filled, class_="bar")


def _numbers(finding: Finding) -> Element:
    caption = finding.caption()
    said = [
        ("output", finding.output),
        ("target", finding.target),
        ("composite", finding.composite),
        *caption.numbers,
    ]
    return table((), [row(element("th", name), value) for name, value in said if value])


def _picture(drawing: Image.Image, words: str) -> Element:
    data = io.BytesIO()
    drawing.save(data, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(data.getvalue()).decode('ascii')}"
    size = {"width": str(drawing.width), "height": str(drawing.height)}
    return element("img", src=source, alt=words, **size)
