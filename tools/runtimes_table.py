"""Writes the tables of docs/runtimes.md: explanation graphs in other runtimes.

`python tools/runtimes_table.py [--tract PYTHON] [--ort-web]`: OpenVINO, and tract and ONNX
Runtime Web where they are asked for. Graphs that do not agree run again as source models.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.engine import Session
from tests.ops.cases import CASES
from tests.second_runtime.battery import STATIC, TURNS, Arrays, Entry, distance, entries, source
from tests.second_runtime.limits import GRAPHS, limit
from tools import browser, ort_web, runtime_folder, runtime_worker

AGREES = 1e-4
PAGE = Path(__file__).parents[1] / "docs" / "runtimes.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
KEYS = {"OpenVINO (CPU)": "openvino", "ONNX Runtime Web (wasm)": "ort-web"}
Runner = Callable[[Path], dict[str, runtime_folder.Outcome]]


@dataclass(frozen=True)
class Found:
    """What one runtime did: how many graphs agree, and what did not, with the reason."""

    name: str
    form: str
    total: int
    agree: int
    models: tuple[str, ...]
    graphs: tuple[str, ...]
    seconds: float


def measure(name: str, run: Runner, form: str | None) -> Found:
    """Run all entries, then the source models of those that do not agree."""
    wanted, seconds, outcomes = _run(run, entries(form))
    failed = [n for n in wanted if not _agrees(outcomes.get(n, ""), wanted[n])]
    models, _, answers = _run(run, _sources(failed, form))
    own = [n for n in failed if n not in models or _agrees(answers.get(n, ""), models[n])]
    rest = tuple(n for n in failed if n not in own)
    agree = len(wanted) - len(failed)
    return Found(name, form or "static and batch", len(wanted), agree, rest, tuple(own), seconds)


def _run(
    run: Runner, given: Iterable[Entry]
) -> tuple[dict[str, Arrays], float, dict[str, runtime_folder.Outcome]]:
    listed = list(given)
    with tempfile.TemporaryDirectory() as folder:
        runtime_folder.write(Path(folder), [entry.stored() for entry in listed])
        start = time.perf_counter()
        outcomes = run(Path(folder)) if listed else {}
        seconds = time.perf_counter() - start
    return {entry.name: entry.wanted for entry in listed}, seconds, outcomes


def _agrees(outcome: object, wanted: Arrays) -> bool:
    """Whether a result is there and close; what is no number is not."""
    return isinstance(outcome, dict) and distance(outcome, dict(wanted)) <= AGREES


def _sources(names: list[str], form: str | None) -> list[Entry]:
    found = []
    for index, case in enumerate(CASES):
        if f"ops/{case.name}" in names:
            model = source(case, form or TURNS[index % 2])
            feeds = case.feeds()
            found.append(Entry(f"ops/{case.name}", model, feeds, Session(model)(feeds)))
    return found


def page(found: list[Found]) -> str:
    """The tables as Markdown."""
    head = ("sizes", "graphs", "agree", "model fails there too", "only the explanation fails", "s")
    lines = [f"| runtime | {' | '.join(head)} |"]
    lines.append("|---|---|---|---|---|---|---|")
    for item in found:
        runs = item.total - len(item.models)
        share = f"{len(item.graphs)} ({100 * len(item.graphs) / runs:.1f} % of {runs})"
        cells = (item.name, item.form, item.total, item.agree, len(item.models), share)
        lines.append(f"| {' | '.join(map(str, cells))} | {item.seconds:.0f} |")
    for item in found:
        lines += ["", f"### {item.name}", "", *_explained(item)]
    return "\n".join(lines)


def _explained(item: Found) -> list[str]:
    """What did not agree: single graphs, and the operators whose models do not run either."""
    lines = []
    known = GRAPHS.get(KEYS.get(item.name, ""), {})
    if item.graphs:
        lines.append("Only the explanation fails:")
        lines += [f"- `{name}`: {limit(known, name) or 'reported'}" for name in item.graphs]
    families = Counter(name.removeprefix("ops/").split()[0] for name in item.models)
    if families:
        listed = ", ".join(f"{name} ({count})" for name, count in sorted(families.items()))
        lines += ["", f"The model itself fails or predicts something else there: {listed}."]
    return lines


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tract", metavar="PYTHON", help="a Python that has tract and numpy")
    parser.add_argument("--ort-web", action="store_true", help="in Chromium")
    options = parser.parse_args()
    found = [measure("OpenVINO (CPU)", lambda f: runtime_worker.run("openvino", f), None)]
    if options.ort_web:
        dist = browser.web_runtime()
        web = measure("ONNX Runtime Web (wasm)", lambda f: ort_web.run(f, dist), None)
        found.append(web)
    if options.tract:
        python = options.tract
        found.append(measure("tract", lambda f: runtime_worker.run("tract", f, python), STATIC))
    before, _, rest = PAGE.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{page(found)}\n{END}{after}")


if __name__ == "__main__":
    main()
