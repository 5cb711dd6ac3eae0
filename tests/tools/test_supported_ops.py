"""The tables of operators in the docs and the README are those that the declarations give."""

from pathlib import Path

import pytest
from onnx import defs

from onnxlrp.lower.registry import LOWERINGS
from onnxlrp.ops import OPS
from tools import supported_ops


@pytest.fixture(scope="module")
def found() -> dict[str, list[supported_ops.Row]]:
    return supported_ops.rows()


def test_every_operator_has_a_kind_and_a_sentence() -> None:
    for name, function in OPS.items():
        assert supported_ops.kinds_of(function), name
        assert supported_ops.summary(function), name


def test_every_operator_of_onnx_is_listed_once(found: dict[str, list[supported_ops.Row]]) -> None:
    for title, domain in {"ai.onnx": "", "ai.onnx.ml": "ai.onnx.ml"}.items():
        listed = [item.name.removeprefix(f"{domain}.") for item in found[title]]
        schemas = {s.name for s in defs.get_all_schemas_with_history() if s.domain == domain}
        assert sorted(listed) == sorted(schemas)


def test_every_declaration_is_listed(found: dict[str, list[supported_ops.Row]]) -> None:
    listed = {item.name for items in found.values() for item in items}
    assert {*OPS, *LOWERINGS} <= listed


def test_states(found: dict[str, list[supported_ops.Row]]) -> None:
    states = {item.name: item.state for items in found.values() for item in items}
    assert set(states.values()) == set(supported_ops.STATES)
    known = {
        "Conv": "kind", "LSTM": "lowered", "Attention": "function", "If": "body",
        "Scatter": "renamed", "Constant": "source", "ArgMax": "stop", "ImageDecoder": "refused",
        "SwiGLU": "refused", "ai.onnx.ml.SVMRegressor": "refused",
        "com.microsoft.FusedConv": "lowered", "SimplifiedLayerNormalization": "lowered",
    }  # fmt: skip
    assert {name: states[name] for name in known} == known


def test_a_refusal_has_a_reason(found: dict[str, list[supported_ops.Row]]) -> None:
    assert all(r.text for items in found.values() for r in items if r.state == "refused")


def test_relevance_crosses_nearly_all_operators(found: dict[str, list[supported_ops.Row]]) -> None:
    crossed, asked = supported_ops.share(found)
    assert crossed / asked >= 0.95


def test_kinds_come_from_what_is_returned() -> None:
    assert supported_ops.kinds_of(OPS["Conv"]) == ["LinearMap"]
    assert supported_ops.kinds_of(OPS["MatMul"]) == ["LinearMap", "Product"]


def test_unknown_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """What nothing is said of is an error, never a row."""
    monkeypatch.delitem(OPS, "Conv")
    with pytest.raises(LookupError, match="operator 'Conv'"):
        supported_ops.rows()


def test_tables_are_fresh(capsys: pytest.CaptureFixture[str]) -> None:
    assert supported_ops.main(["--check"]) == 0, capsys.readouterr()


def _folder(path: Path) -> tuple[Path, Path]:
    readme = path / "README.md"
    readme.write_text("before\n<!-- operators -->\nold\n<!-- /operators -->\nafter\n")
    return readme, path / supported_ops.DOCS


def test_write_then_check(tmp_path: Path) -> None:
    readme, docs = _folder(tmp_path)
    option = ["--root", str(tmp_path)]
    assert supported_ops.main(["--check", *option]) == 1
    assert supported_ops.main(["--write", *option]) == 0
    assert supported_ops.main(["--check", *option]) == 0
    text = readme.read_text()
    assert text.startswith("before\n<!-- operators -->\n| state |")
    assert text.endswith("(docs/operators.md).\n<!-- /operators -->\nafter\n")
    docs.write_text(docs.read_text().replace("`Conv`", "`Konv`"))
    assert supported_ops.main(["--check", *option]) == 1


def test_another_release_of_onnx_is_not_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It has other operators; the check says that it did not happen."""
    _folder(tmp_path)
    option = ["--root", str(tmp_path)]
    supported_ops.main(["--write", *option])
    monkeypatch.setattr(supported_ops.onnx, "__version__", "1.99.0")
    assert supported_ops.main(["--check", *option]) == 0
    assert "not checked" in capsys.readouterr().out


def test_no_markers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert supported_ops.main(["--check", "--root", str(tmp_path)]) == 1
    assert "has no lines <!-- operators -->" in capsys.readouterr().err
