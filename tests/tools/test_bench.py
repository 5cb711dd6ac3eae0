"""The benchmarks run and print what they promise; no test looks at a time."""

import json
import sys

import pytest

from tools.bench import explain, op_times
from tools.bench.nets import NETS, build, image_shape

PRESETS = ("epsilon", "epsilon-plus")


def test_explain(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--rounds", "1", "--repeats", "2", "--threads", "1", "--no-peers"]
    assert (
        explain.main(["--models", "mlp", "--presets", *PRESETS, "--batch", "1", "3", *options]) == 0
    )
    printed = capsys.readouterr().out.splitlines()
    lines = [json.loads(line) for line in printed if line.startswith("{")]
    assert [(line["preset"], line["batch"]) for line in lines] == [
        (preset, batch) for batch in (1, 3) for preset in ("", *PRESETS)
    ]
    assert all(0 < line["ms_min"] <= line["ms_median"] for line in lines)
    assert all(line["peak_mib"] > 0 and line["nodes"] > 0 for line in lines)
    table = [line for line in printed if not line.startswith("{")]
    assert len(table) == 1 + len(lines)
    assert [row.split()[3] for row in table[1:4]] == ["forward", *PRESETS]


def test_peers_need_their_packages() -> None:
    assert explain.importable(sys.executable, "json")
    assert not explain.importable(sys.executable, "no_such_package")


def test_peers_have_our_presets() -> None:
    known = {preset.name for preset in explain.PRESETS}
    assert {*explain.ZENNIT, *explain.CAPTUM, *explain.DEFAULT_PRESETS} <= known


def test_op_times(capsys: pytest.CaptureFixture[str]) -> None:
    assert op_times.main(["mlp", "epsilon", "--repeats", "2", "--threads", "1"]) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("mlp epsilon:")
    assert {"Gemm", "Mul"} <= {row.split()[0] for row in rows}


@pytest.mark.parametrize("name", [name for name in NETS if name not in explain.LARGE])
def test_nets(name: str) -> None:
    plain = build(name, bias=False)
    assert image_shape(plain, 5)[0] == 5
    assert not any("bias" in tensor.name for tensor in plain.graph.initializer)
