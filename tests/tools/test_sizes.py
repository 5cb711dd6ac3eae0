"""The caps of files and functions hold, and the tool sees when they do not."""

import ast
from pathlib import Path

import pytest

from tools import sizes

BRANCHED = """
def f(x):
    '''Text.'''
    if x:
        return 1
    elif x is None:
        return 2
    for y in x:
        while y:
            y -= 1
    try:
        def g():
            return x
    except ValueError:
        pass
    match x:
        case 1:
            pass
        case _:
            pass
"""


def test_caps_hold(capsys: pytest.CaptureFixture[str]) -> None:
    assert sizes.main([]) == 0, capsys.readouterr().out


def test_counts() -> None:
    outer, inner = sizes.functions(ast.parse(BRANCHED))
    assert sizes.complexity(outer) == 9
    assert sizes.complexity(inner) == 1
    assert sizes.statements(outer) == 14
    assert sizes.statements(inner) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1\n" * 401, "401"),
        ("def f():\n" + "    x = 1\n" * 41, "41"),
        ("def f(x):\n" + "    if x:\n        pass\n" * 10, "11"),
    ],
)
def test_too_large(
    text: str, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "large.py").write_text(text)
    assert sizes.main([str(tmp_path)]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "TOO LARGE" in line]
    assert len(lines) == 1
    assert complaint in lines[0]


def test_at_the_cap(tmp_path: Path) -> None:
    (tmp_path / "full.py").write_text("x = 1\n" * 400)
    assert sizes.main([str(tmp_path)]) == 0
