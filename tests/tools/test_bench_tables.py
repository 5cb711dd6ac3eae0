"""The tables of docs/performance.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools.bench import tables

ROOT = Path(__file__).resolve().parents[2]
PAGE = "# Title\n\n<!-- table: NAME -->\nold\n<!-- end -->\n\nafter\n"


def line(**given: Any) -> dict[str, Any]:
    usual: dict[str, Any] = {
        "kind": "explain", "model": "net", "engine": "ort", "preset": "", "variant": "",
        "provider": "cpu", "precision": "fp32", "batch": 1, "ms_min": 10.0, "ms_median": 12.0,
        "ratio": 1.0, "ratio_median": 1.0, "limit": None, "over_limit": None, "peak_mib": 100.0,
        "nodes": 7, "load_s": 0.5, "raises": "",
    }  # fmt: skip
    return usual | given


LINES = [
    line(),
    line(preset="epsilon-plus", ms_min=33.0, ms_median=40.0, ratio=3.3, ratio_median=3.33,
         limit=3.0, over_limit=1.1, nodes=99, load_s=1.5, peak_mib=200.0),
    line(engine="zennit", preset="epsilon-plus", ms_min=132.0, ratio=13.2, peak_mib=400.0),
    line(engine="captum", preset="epsilon", ms_min=None, ratio=None, peak_mib=None,
         raises="TypeError: <class 'Relu'> | no"),
    line(engine="dianna", preset="rise", ms_min=3300.0, ratio=330.0),
    line(engine="torch", ms_min=20.0, ratio=2.0),
]  # fmt: skip


def filled(name: str, lines: list[dict[str, Any]]) -> list[list[str]]:
    page = tables.fill(PAGE.replace("NAME", name), lines)
    assert page.startswith(f"# Title\n\n<!-- table: {name} -->\n")
    assert page.endswith("\n<!-- end -->\n\nafter\n")
    assert "\nold\n" not in page
    rows = [text for text in page.splitlines() if text.startswith("|")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def test_explanations() -> None:
    head, _, row = filled("cpu", LINES)
    assert dict(zip(head, row, strict=True)) == {
        "model": "net", "composite": "`epsilon-plus`", "precision": "fp32", "batch": "1",
        "forward ms": "10.0 / 12.0", "explanation ms": "33.0 / 40.0", "x forward": "3.30 / 3.33",
        "limit": "3.00", "x / limit": "1.10", "peak MiB": "200", "nodes": "99", "load s": "1.5",
    }  # fmt: skip


def test_peers() -> None:
    head, _, zennit, captum, rise, torch = filled("cpu-peers", LINES)
    assert zennit[head.index("we are faster by")] == "4.0x"
    # 0.85 x 13.2 forward passes / 3
    assert zennit[head.index("aim")] == "3.7x"
    assert zennit[-1] == "400, 200"
    assert captum[4] == "peer raises: TypeError: class 'Relu' / no"
    assert rise[head.index("ours ms")] == "33.0*"
    assert rise[head.index("we are faster by")] == "100.0x"
    assert torch[head.index("ours ms")] == ""
    assert {len(row) for row in (head, zennit, captum, rise, torch)} == {len(head)}


def test_nothing_measured() -> None:
    page = tables.fill(PAGE.replace("NAME", "cuda"), LINES)
    assert "\nNot measured.\n" in page


def test_memory() -> None:
    same = {"kind": "memory", "model": "net", "preset": "epsilon-plus", "batch": 2}
    own = {"engine": "ort", "weights": "fold", "live_mib": 30.0, "weights_mib": 70.0}
    ours = {**same, **own, "peak_mib": 110.0, "over_live": 1.1}
    peer = {**same, "engine": "zennit", "weights": "", "peak_mib": 300.0}
    *_, row = filled("memory", [ours, peer])
    assert row == ["net", "`epsilon-plus`", "fold", "2", "110", "30 + 70", "1.10", "300"]


def test_load_and_sweep() -> None:
    loaded = {
        "kind": "load", "model": "net", "preset": "epsilon", "weights": "fold", "load_s": 1.0,
        "loaded_mib": 300.0, "weights_mib": 100.0, "derived_mib": 90.0, "forms": 0.9,
        "load_per_form": 0.5, "memory_per_form": 1.0,
    }  # fmt: skip
    *_, row = filled("load", [loaded])
    assert row == ["net", "`epsilon` fold", "1.00", "300", "100", "90", "0.90", "0.50", "1.00"]
    points = [
        {"kind": "sweep", "over": "batch", "model": "net", "preset": "", "batch": n, "side": 8,
         "ms_min": 3.0 * n + 1}
        for n in (1, 2, 4)
    ]  # fmt: skip
    *_, row = filled("sweep", points)
    assert row == ["batch", "net forward", "3.0 ms per sample", "+1.0", "0.0%"]


def test_the_last_of_equal_lines_counts(tmp_path: Path) -> None:
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    first.write_text("".join(json.dumps(item) + "\n" for item in LINES))
    second.write_text(json.dumps(line(ms_min=5.0)) + "\n" + json.dumps(line(batch=8)) + "\n")
    found = tables.read([first, second])
    assert len(found) == len(LINES) + 1
    assert found[0]["ms_min"] == 5.0


def test_unknown_table() -> None:
    with pytest.raises(KeyError):
        tables.fill(PAGE.replace("NAME", "none"), LINES)


def test_the_page_has_every_table(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "performance.md").read_text()
    assert {match[2] for match in tables.MARKED.finditer(page)} == tables.TABLES.keys()
    copy, lines = tmp_path / "page.md", tmp_path / "lines.jsonl"
    copy.write_text(page)
    lines.write_text(json.dumps(LINES[0]) + "\n" + json.dumps(LINES[1]) + "\n")
    assert tables.main([str(lines), "--page", str(copy)]) == 0
    assert "33.0 / 40.0" in copy.read_text()
