"""Writes the tables of docs/performance.md from files of JSON lines.

    python -m tools.bench.tables FILE.jsonl ... [--page docs/performance.md]

A table stands between `<!-- table: NAME -->` and `<!-- end -->`; of lines that measure the same
thing the last one counts.
"""

import argparse
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.bench.plot import straight  # noqa: E402
from tools.bench.sweep import series  # noqa: E402

Line = Mapping[str, Any]

MARKED = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
KEYS = ("kind", "over", "model", "engine", "preset", "variant", "weights", "provider", "precision")
SIZES = ("batch", "side")
NEEDED = 0.85
"""Share of peer's cost / limit by which an explanation is to be faster than the peer."""

NOTHING = "Not measured."


def read(files: Iterable[Path]) -> list[Line]:
    """Read the lines of all files; of equal measurements the last one."""
    found: dict[tuple[object, ...], Line] = {}
    for file in files:
        for text in file.read_text().splitlines():
            line = json.loads(text)
            found[tuple(line.get(key, "") for key in (*KEYS, *SIZES))] = line
    return list(found.values())


def fill(page: str, lines: Sequence[Line]) -> str:
    """Return the page with its tables written anew.

    Raises:
        KeyError: The page asks for a table that there is not.
    """

    def table(match: re.Match[str]) -> str:
        return f"{match[1]}{TABLES[match[2]](lines)}\n{match[3]}"

    return MARKED.sub(table, page)


def explanations(lines: Sequence[Line], provider: str) -> str:
    """Forward pass, explanation, their ratio and the arithmetic limit."""
    rows = [
        [
            line["model"],
            f"`{line['preset']}`" + (f" ({line['variant']})" if line["variant"] else ""),
            line["precision"],
            str(line["batch"]),
            _pair(_forward(line, lines)),
            _pair(line),
            f"{_number(line['ratio'], 2)} / {_number(line['ratio_median'], 2)}",
            _number(line["limit"], 2),
            _number(line["over_limit"], 2),
            _number(line["peak_mib"], 0),
            str(line["nodes"]),
            _number(line["load_s"], 1),
        ]
        for line in _explained(lines, provider)
        if line["engine"] == "ort" and line["preset"]
    ]
    head = "model|composite|precision|batch|forward ms|explanation ms|x forward|limit|x / limit|"
    return _table((head + "peak MiB|nodes|load s").split("|"), rows)


def against_peers(lines: Sequence[Line], provider: str) -> str:
    """Each peer beside our explanation by the same composite."""
    rows = []
    for line in _explained(lines, provider):
        if line["engine"] == "ort":
            continue
        start = [
            line["model"],
            str(line["batch"]),
            line["engine"],
            f"`{line['preset'] or 'forward'}`",
        ]
        if line["raises"]:
            skipped = line["raises"].startswith("skipped")
            said = line["raises"] if skipped else f"peer raises: {_plain(line['raises'])}"
            rows.append([*start, said, "", "", "", "", ""])
            continue
        own = _counterpart(line, lines)
        rows.append([*start, _pair(line), _number(line["ratio"], 1), *_compared(line, own)])
    head = "model|batch|engine|method|ms|x forward|ours ms|we are faster by|aim|peak MiB, ours"
    return _table(head.split("|"), rows)


def _compared(line: Line, own: Line | None) -> list[str]:
    if own is None:
        return ["", "", "", f"{_number(line['peak_mib'], 0)}, -"]
    aim = NEEDED * line["ratio"] / own["limit"] if own["limit"] else None
    return [
        f"{_number(own['ms_min'], 1)}" + ("" if own["preset"] == line["preset"] else "*"),
        f"{line['ms_min'] / own['ms_min']:.1f}x",
        "" if aim is None else f"{aim:.1f}x",
        f"{_number(line['peak_mib'], 0)}, {_number(own['peak_mib'], 0)}",
    ]


def _counterpart(line: Line, lines: Sequence[Line]) -> Line | None:
    """Our explanation by the same preset; for DIANNA's methods epsilon-plus or epsilon."""
    wanted = ("epsilon-plus", "epsilon") if line["engine"] == "dianna" else (line["preset"],)
    for preset in wanted:
        for own in lines:
            if _same(own, line) and own["preset"] == preset and own["ms_min"] and preset:
                return own
    return None


def _forward(line: Line, lines: Sequence[Line]) -> Line | None:
    return next((own for own in lines if _same(own, line) and not own["preset"]), None)


def _same(own: Line, line: Line) -> bool:
    """Whether a line is one of ours in the same setting as another line."""
    keys = ("kind", "model", "provider", "precision", "batch", "variant")
    return own.get("engine") == "ort" and all(own.get(key) == line.get(key) for key in keys)


def _explained(lines: Sequence[Line], provider: str) -> Iterator[Line]:
    for line in lines:
        if line["kind"] == "explain" and line["provider"] == provider:
            yield line


def memory(lines: Sequence[Line]) -> str:
    """Peak beside the live set and zennit's peak."""
    own = [line for line in lines if line["kind"] == "memory" and line["engine"] == "ort"]
    peers = {
        (line["model"], line["preset"], line["batch"]): line
        for line in lines
        if line["kind"] == "memory" and line["engine"] == "zennit"
    }
    rows = []
    for line in own:
        peer = peers.get((line["model"], line["preset"], line["batch"]))
        rows.append(
            [
                line["model"],
                f"`{line['preset'] or 'forward'}`",
                line["weights"],
                str(line["batch"]),
                _number(line["peak_mib"], 0),
                f"{line['live_mib']:.0f} + {line['weights_mib']:.0f}",
                _number(line["over_live"], 2),
                "" if peer is None else _number(peer["peak_mib"], 0),
            ]
        )
    head = "model|composite|weights|batch|peak MiB|live values + weights MiB|peak / both|zennit MiB"
    return _table(head.split("|"), rows)


def load(lines: Sequence[Line]) -> str:
    """Load time and memory by derived weight forms."""
    rows = [
        [
            line["model"],
            f"`{line['preset']}` {line['weights']}" if line["preset"] else "plain model",
            _number(line["load_s"], 2),
            _number(line["loaded_mib"], 0),
            _number(line["weights_mib"], 0),
            _number(line["derived_mib"], 0),
            _number(line["forms"], 2),
            _number(line["load_per_form"], 2),
            _number(line["memory_per_form"], 2),
        ]
        for line in lines
        if line["kind"] == "load"
    ]
    head = "model|session|load s|held MiB|weights MiB|derived MiB|forms|"
    return _table((head + "load per form / plain|memory per derived byte").split("|"), rows)


def sweep(lines: Sequence[Line]) -> str:
    """The lines that fit time over batch and over pixels."""
    measured = [dict(line) for line in lines if line["kind"] == "sweep"]
    rows = []
    for over, unit in (("batch", "ms per sample"), ("pixels", "ms per million pixels")):
        for name, points in series(measured, over).items():
            line = straight(points)
            fitted = [f"{line.slope:.1f} {unit}", f"{line.start:+.1f}", f"{line.worst:.1%}"]
            rows.append([over, name, *fitted])
    return _table(["over", "what", "slope", "at 0, ms", "off the line by at most"], rows)


TABLES: dict[str, Callable[[Sequence[Line]], str]] = {
    "cpu": lambda lines: explanations(lines, "cpu"),
    "cpu-peers": lambda lines: against_peers(lines, "cpu"),
    "cuda": lambda lines: explanations(lines, "cuda"),
    "cuda-peers": lambda lines: against_peers(lines, "cuda"),
    "tensorrt": lambda lines: explanations(lines, "tensorrt"),
    "memory": memory,
    "load": load,
    "sweep": sweep,
}


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return NOTHING
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _pair(line: Line | None) -> str:
    """Minimum and median."""
    if line is None or line["ms_min"] is None:
        return "-"
    return f"{_number(line['ms_min'], 1)} / {_number(line['ms_median'], 1)}"


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _plain(text: str) -> str:
    """A text that a cell can hold."""
    return text.replace("|", "/").replace("<", "").replace(">", "")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the tables of a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.jsonl")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "performance.md")
    options = parser.parse_args(arguments)
    options.page.write_text(fill(options.page.read_text(), read(options.files)))
    print(f"wrote {options.page}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
