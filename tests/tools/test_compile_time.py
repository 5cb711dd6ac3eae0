"""The benchmark of compile time prints and draws what it promises; no test looks at a time."""

import json
from pathlib import Path

import onnx
import pytest
from PIL import Image

from tools.bench import compile_time, plot


def test_lines_and_picture(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = tmp_path / "plot.png"
    options = ["--nodes", "10", "20", "40", "--repeats", "1", "--plot", str(picture)]
    assert compile_time.main(["--presets", "epsilon", "epsilon-plus", *options]) == 0
    printed = capsys.readouterr().out.splitlines()
    lines = [json.loads(line) for line in printed if line.startswith("{")]
    assert [(line["nodes"], line["preset"]) for line in lines] == [
        (nodes, preset) for nodes in (10, 20, 40) for preset in ("epsilon", "epsilon-plus")
    ]
    assert all(line["s_cpu"] > 0 and line["emitted"] > line["nodes"] for line in lines)
    assert [text.split(":")[0] for text in printed[len(lines) :]] == ["epsilon", "epsilon-plus"]
    with Image.open(picture) as drawn:
        assert drawn.size[0] >= plot.SIZE[0]
        assert len(drawn.convert("RGB").getcolors(1 << 16) or []) > 3


def test_the_network_is_valid() -> None:
    model = compile_time.deep(3)
    onnx.checker.check_model(model, full_check=True)
    assert len(model.graph.node) == 3 * compile_time.BLOCK


def test_fit() -> None:
    """A line through points on it, and the exponents of a line and of a square."""
    line = compile_time.fit([100, 200, 400], [1.5, 2.5, 4.5])
    assert (line.start, line.slope) == (pytest.approx(0.5), pytest.approx(0.01))
    assert line.worst == pytest.approx(0, abs=1e-9)
    nodes = [100, 200, 400, 800]
    assert compile_time.fit(nodes, [n / 50 for n in nodes]).exponent == pytest.approx(1)
    square = compile_time.fit(nodes, [n * n / 50 for n in nodes])
    assert square.exponent == pytest.approx(2)
    assert square.worst > 0.05


@pytest.mark.parametrize("nodes", [["10"], ["10", "10"], ["2", "10"]])
def test_depths_that_fit_no_line(nodes: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        compile_time.main(["--nodes", *nodes])
    assert "two or more different depths" in capsys.readouterr().err
