"""The table of operators in the README is the one that the declarations give."""

from pathlib import Path

import pytest

from onnxlrp.ops import OPS
from tools import supported_ops

README = supported_ops.ROOT / "README.md"


def test_every_operator_has_a_kind_and_a_sentence() -> None:
    for name, function in OPS.items():
        assert supported_ops.kinds_of(function), name
        assert supported_ops.summary(function), name


def test_table_names_every_operator() -> None:
    made = supported_ops.table()
    assert all(f"`{name}`" in made for name in OPS)


def test_kinds_come_from_what_is_returned() -> None:
    assert supported_ops.kinds_of(OPS["Conv"]) == ["LinearMap"]
    assert supported_ops.kinds_of(OPS["MatMul"]) == ["LinearMap", "Product"]


@pytest.mark.skipif(not README.exists(), reason="README.md is not written yet")
def test_readme_is_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert supported_ops.main(["--check"]) == 0, capsys.readouterr()


def test_write_then_check(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- operators -->\nold\n<!-- /operators -->\nafter\n")
    option = ["--readme", str(readme)]
    assert supported_ops.main(["--check", *option]) == 1
    assert supported_ops.main(["--write", *option]) == 0
    assert supported_ops.main(["--check", *option]) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- operators -->\n| operators |")
    assert text.endswith("|\n<!-- /operators -->\nafter\n")


def test_no_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert supported_ops.main(["--check", "--readme", str(tmp_path / "none.md")]) == 1
    assert "has no lines <!-- operators -->" in capsys.readouterr().err
