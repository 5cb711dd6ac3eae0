"""The report of `onnxlrp audit`: one page with findings, pictures and the ledger."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Final
from xml.etree.ElementTree import Element

import numpy as np
from PIL import Image

from onnxlrp.audit import DETECTORS, Audit, Finding
from onnxlrp.audit.detectors.base import by_step, no_steps
from onnxlrp.audit.pictures import Panel, panels, sample_panels
from onnxlrp.cli.audit.files import Json, number
from onnxlrp.cli.chart import draw_chart
from onnxlrp.cli.html import Part, element, page, row, table
from onnxlrp.cli.html import number as cell
from onnxlrp.metadata import LEDGER_COLUMNS

__all__ = ["make_report"]

_GRID: Final = "display: flex; flex-wrap: wrap; gap: 1rem 1.4rem; align-items: flex-start"
_FIGURE: Final = "margin: 0; max-width: 18rem"
_IMAGE: Final = "margin: 0; image-rendering: pixelated"
_CAPTION: Final = "font-size: .84rem"
_MARKS: Final = {"flagged": "background: #fde2e1", "clear": "background: #e8f3e6"}
_MOST_ROWS: Final = 40

_ABOUT: Final = (
    "Red speaks for the explained score, blue against it. Structure map: the flat rule in every "
    "layer, whatever weights and input. Random weights: the same inputs explained by models whose "
    "weights were drawn anew. Shuffled inputs: the model explains inputs whose pixels are in a "
    "random order. Verdict, on the mean map: green fact, red artifact, grey undecided, white no "
    "relevance; how it is decided is a proposal of onnxlrp, not of a paper."
)


def make_report(audit: Audit, settings: Mapping[str, Json], command: str, shown: int) -> bytes:
    """Return the page, with all pictures inside."""
    evidence = audit.evidence
    parts = [
        element("h1", f"Audit of {evidence.subject.name}"),
        element("p", _summary(audit)),
        element("p", element("code", command), class_="faint"),
        element("h2", "Findings"),
        _findings(audit.findings),
        element("h2", "Maps"),
        element("p", _ABOUT, class_="faint"),
        _grid(panels(audit)),
        *_profile(audit),
        *_samples(audit, shown),
        element("h2", "Likeness"),
        element("p", "Of the map of |R| to what no fact made; 1: the same.", class_="faint"),
        _likeness(audit),
        element("h2", "Conservation"),
        element("p", _sums(audit)),
        _ledger(audit),
        element("h2", "Settings"),
        table((), [row(element("th", name), _plain(value)) for name, value in settings.items()]),
    ]
    return page(f"Audit of {evidence.subject.name} - onnxlrp", *parts)


def _summary(audit: Audit) -> str:
    flagged = [f.name for f in audit.findings if f.verdict == "flagged"]
    mass = audit.judgement.mass
    found = f"{len(flagged)} flagged: {', '.join(flagged)}" if flagged else "nothing flagged"
    return (
        f"{len(audit.evidence.heat)} samples, {found}. Of |R|, {mass['fact']:.0%} is fact, "
        f"{mass['artifact']:.0%} artifact, {mass['undecided']:.0%} undecided."
    )


def _sums(audit: Audit) -> str:
    return (
        f"Sum of relevance over start: {number(audit.conservation)}. Sum of |R| over |start|, "
        f"median of the samples: {number(audit.amplification)}; far above 1 means that large parts "
        "of both signs cancel, and small errors count."
    )


def _findings(findings: Sequence[Finding]) -> Element:
    head = ("", "artifact", "verdict", cell("number", "th"), cell("threshold", "th"), "")
    return table(head, [_finding(k, finding) for k, finding in enumerate(findings, 1)])


def _finding(place: int, finding: Finding) -> Element:
    mark = _MARKS.get(finding.verdict)
    verdict = element("span", finding.verdict, class_="chip")
    if mark:
        verdict.set("style", mark)
    said = element("div", finding.reason or finding.meaning)
    if finding.where:
        said.append(element("p", finding.where))
    if finding.remedy:
        said.append(element("p", f"Remedy: {finding.remedy}."))
    if finding.option:
        said.append(element("p", element("code", finding.option)))
    said.append(element("p", f"source: {DETECTORS[place - 1].source}", class_="faint"))
    return row(
        str(place),
        finding.name,
        verdict,
        cell(number(finding.number)),
        cell(number(finding.threshold)),
        said,
    )


def _grid(found: Sequence[Panel]) -> Element:
    made = [
        element(
            "figure",
            element("img", src=_inline(panel.image), alt=panel.title, style=_IMAGE),
            element("figcaption", panel.title, element("p", panel.note, class_="faint")),
            style=_FIGURE,
        )
        for panel in found
    ]
    for figure in made:
        figure[1].set("style", _CAPTION)
    return element("div", *made, style=_GRID)


def _inline(image: Image.Image) -> str:
    data = io.BytesIO()
    image.save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode("ascii")


def _profile(audit: Audit) -> list[Element]:
    """The share of every step, of a recurrent net."""
    evidence = audit.evidence
    if no_steps(evidence):
        return []
    lines = {
        "maps": by_step(evidence, evidence.heat),
        "shuffled inputs": by_step(evidence, evidence.noise).mean(axis=0),
        "structure map": by_step(evidence, evidence.structure[None]),
    }
    # The first step may hold nearly all; without it the rest can be seen.
    shown = {name: np.asarray(values[1:], np.float64) for name, values in lines.items()}
    first = ", ".join(f"{name} {values[0]:.1%}" for name, values in lines.items())
    unit = "column" if evidence.columns else "row"
    text = (
        f"Share of |R| per {unit}, from the second one fed to the last one. Of the {unit} that is "
        f"fed first: {first}."
    )
    span = (2.0, float(len(lines["maps"])))
    chart = draw_chart(f"share per {unit} fed", shown, better="", span=span)
    return [element("h2", "Fading memory"), element("p", text, class_="faint"), chart]


def _samples(audit: Audit, shown: int) -> list[Element]:
    evidence = audit.evidence
    made: list[Element] = []
    for k in range(min(shown, len(evidence.chosen))):
        at = int(evidence.chosen[k])
        name = evidence.samples.names[at] if evidence.samples.names else str(at)
        made.append(element("p", f"sample {name}", style="margin: 1.2rem 0 .4rem"))
        made.append(_grid(sample_panels(evidence, k)))
    return [element("h2", "Single samples"), *made] if made else []


def _likeness(audit: Audit) -> Element:
    names = list(next(iter(audit.likeness.values())))
    head: list[Part] = ["map", *(cell(name, "th") for name in names)]
    rows = [row(name, *(cell(number(of[n])) for n in names)) for name, of in audit.likeness.items()]
    return table(head, rows)


def _ledger(audit: Audit) -> Element:
    means = audit.evidence.ledger.mean(axis=0)
    head: list[Part] = ["node", *(cell(name, "th") for name in LEDGER_COLUMNS)]
    rows = [
        row(name, *(cell(number(float(value))) for value in line))
        for name, line in zip(audit.evidence.rows, means, strict=True)
    ]
    if len(rows) > _MOST_ROWS:
        rest = f"{len(rows) - _MOST_ROWS} more nodes are in audit.json"
        rows = [*rows[:_MOST_ROWS], row(rest)]
    return element("div", table(head, rows), style="overflow-x: auto")


def _plain(value: Json) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k}: {_plain(v)}" for k, v in value.items() if v) or "none"
    return "-" if value is None else str(value)
