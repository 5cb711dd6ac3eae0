"""Measures onnxlrp on the zoo that `tools/peers/export_zoo.py` wrote, as a table in Markdown.

    python -m tools.zoo_table FOLDER [--only GLOB ...] [--jobs N] [--write docs/zoo.md]

For each file of the manifest: node coverage by `onnxlrp.inspect`, then `onnxlrp.compile` with the
composite `auto`, then, with ONNX Runtime, the graph on the inputs that lie beside the file: its
outputs against those of the file itself, its relevance finite and not all zero. An exception that
is not an `onnxlrp.Error` is a defect, as is an answer that does not come within a minute. Results
are kept in `FOLDER/results.json`; the table shows all of them, also those of earlier runs.
"""

import argparse
import json
import multiprocessing
import re
import sys
import textwrap
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import onnxlrp  # noqa: E402

SECONDS = 60
OUTPUTS = 1e-5
"""Of max|output|: the lift changes kernels (AveragePool of opset 19 rounds otherwise)."""
HEAD = ("model", "exporter", "opset", "nodes", "coverage", "without a rule", "result", "compile, s")

INTRODUCTION = """# The zoo

Small networks with random weights, exported by `tools/peers/export_zoo.py` and measured by
`tools/zoo_table.py`: {files} files in {rows} rows, one row for each network and exporter (all of
its opsets together, the worst of each measure).

- *coverage*: share of the nodes on the paths from the explained inputs to the output that have a
  rule (`onnxlrp inspect`). Where it is below 100 %, the operators without a rule are named.
- *explained*: the graph that `auto` compiles gives the outputs of the file, and relevance that is
  finite and not all zero.
- *compiled*: the graph is made, but ONNX Runtime does not run the file itself.
- *refused*: one line says why. Tree ensembles, kernels and neighbours are to be refused.
- `torchscript` and `dynamo` are PyTorch's exporters; `ort_extended` and `ort_all` are files that
  ONNX Runtime optimised, `ort_fused` and `ort_mha` those of its transformer optimiser, `qdq`,
  `qoperator`, `dynamic`, `matmul_4bit` those of its quantisers, `fp16` those of its converter.

{packages}

A subset, with gradients that other programs computed, is tested in `tests/zoo`.

To repeat it, with PyTorch and with Keras in an environment each:

    python -m tools.peers.export_zoo FOLDER
    python -m tools.zoo_table FOLDER --jobs 2 --write docs/zoo.md
"""

Entry = dict[str, Any]


@dataclass(kw_only=True)
class Result:
    """What was found about one file.

    Attributes:
        file: Its name.
        coverage: Share of the nodes on the path that have a rule; negative where it is unknown.
        lacking: How often each operator without a rule occurs.
        reasons: Why, for each of them.
        seconds: How long `compile` took.
        outcome: `explained`, `compiled` (not run), `refused`, `wrong` or `defect`.
        text: The refusal, or what is wrong.
        trace: The traceback of a defect.
    """

    file: str
    coverage: float = -1.0
    lacking: dict[str, int] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    seconds: float = 0.0
    outcome: str = "defect"
    text: str = ""
    trace: str = ""


def measure(folder: Path, file: str) -> Result:
    """Measure one file in a process of its own."""
    ours, theirs = multiprocessing.Pipe(duplex=False)
    context = multiprocessing.get_context("fork")
    worker = context.Process(target=_work, args=(folder / file, theirs))
    worker.start()
    theirs.close()
    try:
        found = (
            Result(**ours.recv()) if ours.poll(SECONDS) else _lost(file, "no answer in a minute")
        )
    except EOFError:
        found = _lost(file, "the process ended without an answer")
    worker.kill()
    worker.join()
    return found


def _lost(file: str, text: str) -> Result:
    return Result(file=file, text=text, trace=text)


def _work(path: Path, answer: Connection) -> None:
    result = Result(file=path.name)
    try:
        _inspect(path, result)
        graph = _compile(path, result)
        _run(graph, path, result)
    except onnxlrp.Error as error:
        result.outcome, result.text = "refused", f"{type(error).__name__}: {_line(error)}"
    except Exception as error:  # noqa: BLE001 - whatever else comes is a defect, and is reported
        result.text = f"{type(error).__name__}: {_line(error)}"
        result.trace = traceback.format_exc()
    answer.send(asdict(result))


def _inspect(path: Path, result: Result) -> None:
    report = onnxlrp.inspect(path)
    result.coverage = report.coverage
    result.lacking = dict(Counter(row.op for row in report.unsupported))
    result.reasons = sorted({f"{row.op}: {_line(row.why)}" for row in report.unsupported})


def _compile(path: Path, result: Result) -> onnxlrp.ExplanationGraph:
    begin = time.perf_counter()
    try:
        return onnxlrp.compile(path, composite="auto")
    finally:
        result.seconds = time.perf_counter() - begin


def _run(graph: onnxlrp.ExplanationGraph, path: Path, result: Result) -> None:
    """Run both, unoptimised: equal outputs, finite relevance."""
    import onnxruntime

    beside = np.load(path.with_suffix(".npz"))
    feeds = {key[3:]: beside[key] for key in beside.files if key.startswith("in/")}
    wanted = {key[4:]: beside[key] for key in beside.files if key.startswith("out/")}
    if not wanted:
        result.outcome, result.text = "compiled", "the source does not run"
        return
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = 1, 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        session = onnxruntime.InferenceSession(
            graph.to_bytes(), options, providers=["CPUExecutionProvider"]
        )
        names = [value.name for value in session.get_outputs()]
        found = dict(zip(names, session.run(None, feeds), strict=True))
    except Exception as error:  # noqa: BLE001 - the runtime's errors have no common base
        result.outcome, result.text = "wrong", f"does not run: {_line(error)}"
        return
    result.text = "; ".join(_wrong(found, wanted))
    result.outcome = "wrong" if result.text else "explained"


def _wrong(found: dict[str, Any], wanted: dict[str, Any]) -> Iterable[str]:
    """Say what of the outputs is not as it must be."""
    for name, value in wanted.items():
        if value.dtype.kind not in "fV" and not np.array_equal(found[name], value):
            yield f"output {name} differs"
        elif value.dtype.kind == "f" and value.size:
            far = np.abs(found[name].astype(float) - value.astype(float)).max()
            if not far <= OUTPUTS * np.abs(value).max():
                yield f"output {name} differs by {far:.1e}"
    relevance = {name: a for name, a in found.items() if name.startswith("relevance/")}
    for name, value in relevance.items():
        if not np.isfinite(value).all():
            yield f"{name} is not finite"
    if not any(value.any() for value in relevance.values()):
        yield "all relevance is zero"


def _line(error: object) -> str:
    return " ".join(str(error).split())[:300]


def table(entries: Sequence[Entry], results: dict[str, Result], versions: dict[str, str]) -> str:
    """Return the page: a summary, one row per network and exporter, and what is refused."""
    made = [entry for entry in entries if entry["file"] in results]
    groups: dict[tuple[str, str], list[Entry]] = defaultdict(list)
    for entry in made:
        groups[entry["exporter"], entry["name"]].append(entry)
    packages = ", ".join(f"{name} {number}" for name, number in sorted(versions.items()))
    versions_line = textwrap.fill(
        f"Written and measured with {packages}.", 100, break_on_hyphens=False
    )
    lines = [INTRODUCTION.format(files=len(made), rows=len(groups), packages=versions_line)]
    lines += [*_summary(made, results), "", *_refusals(made, results)]
    lines += ["## Every network and exporter", ""]
    lines += [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    lines += [_row(group, results) for _, group in sorted(groups.items())]
    where: dict[str, list[str]] = defaultdict(list)
    for entry in entries:
        if entry["failed"]:
            where[_anywhere(entry["failed"])].append(entry["file"])
    lines += ["", "## What the exporters refuse", "", *_ranked(where, named=99)]
    return "\n".join(lines) + "\n"


def _refusals(made: Sequence[Entry], results: dict[str, Result]) -> list[str]:
    """What has no relevance, by reason, the most frequent first; and what is wrong, if anything."""
    lines: list[str] = []
    for title, states in (("Refused", {"refused"}), ("Wrong", {"wrong", "defect"})):
        where: dict[str, list[str]] = defaultdict(list)
        for result in (results[entry["file"]] for entry in made):
            if result.outcome in states:
                for reason in {_general(text) for text in result.reasons or [result.text]}:
                    where[reason].append(result.file)
        lines += [f"## {title}", "", *(_ranked(where, named=99) or ["Nothing."]), ""]
    return lines


def _summary(made: Sequence[Entry], results: dict[str, Result]) -> list[str]:
    """One row per exporter: files, full coverage, outcomes."""
    head = ("exporter", "files", "coverage 100 %", "explained", "compiled", "refused", "wrong",
            "defect")  # fmt: skip
    lines = [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    for exporter in [*sorted({entry["exporter"] for entry in made}), "all"]:
        found = [results[entry["file"]] for entry in made if exporter in {"all", entry["exporter"]}]
        full = sum(result.coverage == 1 for result in found)
        states = Counter(result.outcome for result in found)
        cells = (exporter, len(found), full, *(states[state] for state in head[3:]))
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def _row(group: Sequence[Entry], results: dict[str, Result]) -> str:
    """One row: the opsets of one network by one exporter, the worst of each measure."""
    found = [results[entry["file"]] for entry in group]
    sizes = [entry["nodes"] for entry in group]
    lacking: Counter[str] = Counter()
    for result in found:
        lacking |= Counter(result.lacking)
    coverage = min(result.coverage for result in found)
    texts = sorted({result.text for result in found if not result.lacking and result.text})
    ops = ", ".join(f"{op} ({count})" for op, count in lacking.most_common())
    outcomes = Counter(result.outcome for result in found)
    cells = (
        group[0]["name"],
        group[0]["exporter"],
        ", ".join(map(str, sorted({entry["opset"] for entry in group}))),
        f"{min(sizes)}-{max(sizes)}" if min(sizes) < max(sizes) else str(sizes[0]),
        f"{100 * coverage:.1f} %" if coverage >= 0 else "",
        ops or _plain("; ".join(texts)[:200]),
        ", ".join(outcomes) + (" (as it must be)" if group[0]["expect"] == "refuse" else ""),
        f"{max(result.seconds for result in found):.2f}",
    )
    return f"| {' | '.join(cells)} |"


def _plain(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("](", "]\\(")


def findings(results: dict[str, Result]) -> str:
    """Return what stands in the way, most frequent first, and every defect with its trace."""
    lines = [f"# Findings over {len(results)} files", "", "## Operators without a rule", ""]
    where: dict[str, list[str]] = defaultdict(list)
    for result in results.values():
        for reason in {_general(reason) for reason in result.reasons}:
            where[reason].append(result.file)
    lines += _ranked(where)
    for title, outcome in (("Refused", "refused"), ("Wrong", "wrong"), ("Defects", "defect")):
        where = defaultdict(list)
        for result in results.values():
            if result.outcome == outcome and not (outcome == "refused" and result.lacking):
                where[_general(result.text)].append(result.file)
        note = " for another reason" if outcome == "refused" else ""
        lines += ["", f"## {title}{note}", "", *_ranked(where)]
    traces: dict[str, list[str]] = defaultdict(list)
    for result in results.values():
        if result.outcome == "defect":
            traces["\n".join(result.trace.strip().splitlines()[-14:])].append(result.file)
    lines += ["", "## Tracebacks", ""]
    for trace, files in sorted(traces.items(), key=lambda item: -len(item[1])):
        lines += [f"{len(files)} x, {files[0]}", "", "```", trace, "```", ""]
    return "\n".join(lines) + "\n"


def _general(text: str) -> str:
    """A reason without names of nodes, values and folders, and without the advice behind it."""
    return re.sub("'[^']*'|--stop .*", "'...'", _anywhere(text).split("; replace it")[0])


def _anywhere(text: str) -> str:
    """A reason without the folders of files."""
    return re.sub("/[^ ]*/(?=[^/ ]*[.]onnx)", "", text)


def _ranked(where: dict[str, list[str]], named: int = 3) -> list[str]:
    """What stands where, the most frequent first, with the names of some files."""
    ranked = sorted(where.items(), key=lambda item: (-len(item[1]), item[0]))
    return [
        f"- {len(files)} x {_plain(what)} - {', '.join(files[:named])}" for what, files in ranked
    ]


def _held(path: Path) -> dict[str, Result]:
    """The results of earlier runs by file."""
    found = json.loads(path.read_text()) if path.exists() else []
    return {each["file"]: Result(**each) for each in found}


def measured(
    folder: Path, entries: Sequence[Entry], globs: Sequence[str], jobs: int
) -> Iterator[Result]:
    """Measure the files that match, those of the first glob first."""
    made = [entry["file"] for entry in entries if not entry["failed"]]
    files = dict.fromkeys(file for glob in globs for file in made if fnmatch(file, glob))
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(jobs, mp_context=context) as pool:
        yield from pool.map(measure, [folder] * len(files), files)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure the files and print or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="*", default=["*"], help="measure what matches these globs")
    parser.add_argument("--jobs", type=int, default=1, help="how many files at a time")
    parser.add_argument("--write", type=Path, help="write the table here")
    parser.add_argument("--findings", type=Path, help="write reasons and tracebacks here")
    options = parser.parse_args(arguments)
    entries = json.loads((options.folder / "manifest.json").read_text())
    held = options.folder / "results.json"
    results = _held(held)
    for result in measured(options.folder, entries, options.only, options.jobs):
        results[result.file] = result
        held.write_text(json.dumps([asdict(each) for each in results.values()], indent=1))
        print(f"{result.file:60} {result.outcome:9} {result.text[:150]}", file=sys.stderr)
    made = table(entries, results, _versions(options.folder))
    if options.write:
        options.write.write_text(made)
    else:
        print(made)
    if options.findings:
        options.findings.write_text(findings(results))
    return int(any(result.outcome in {"defect", "wrong"} for result in results.values()))


def _versions(folder: Path) -> dict[str, str]:
    """What the files were written with, and what measures them."""
    held = folder / "versions.json"
    written: dict[str, str] = json.loads(held.read_text()) if held.exists() else {}
    return written | {name: version(name) for name in ("onnx", "onnxruntime")}


if __name__ == "__main__":
    sys.exit(main())
