"""The code on the pages of docs/ runs: what a page says to write is written, then run."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

BLOCK = re.compile(
    r"<!-- (file|diff|run)(?:: ([\w./]+))? -->\n```\w+ title=\"[^\"]+\"\n(.*?)^```$", re.M | re.S
)
PLAIN = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A code block that a comment marks: a new file, a change of a file, or a program."""

    what: str
    path: str
    text: str


def blocks(page: str) -> list[Block]:
    return [Block(*found.groups("")) for found in BLOCK.finditer((ROOT / page).read_text())]


def changed(text: str, diff: str) -> str:
    """Every place where the lines marked ` ` and `-` stand gets those marked ` ` and `+`."""
    lines = [line or " " for line in diff.splitlines()]
    old, new = (
        "".join(f"{line[1:]}\n" for line in lines if line[0] in marks) for marks in (" -", " +")
    )
    assert old in text, f"these lines are gone:\n{old}"
    return text.replace(old, new)


def copied(tmp_path: Path) -> Path:
    """A copy of the package and the models."""
    skip = shutil.ignore_patterns("__pycache__")
    for name in ("onnxlrp", "models"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=skip)
    return tmp_path


def run(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-W", "error::SyntaxWarning", "-c", text]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def apply(block: Block, folder: Path) -> None:
    path = folder / block.path
    if block.what == "file":
        assert not path.exists(), f"{block.path} exists: a page must not replace it"
        path.write_text(block.text)
    elif block.what == "diff":
        path.write_text(changed(path.read_text(), block.text))
    else:
        done = run(block.text, folder)
        assert done.returncode == 0, f"{block.text}\n{done.stderr}"


@pytest.mark.slow
def test_extending(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    found = blocks("docs/extending.md")
    for block in found:
        apply(block, folder)
    assert sum(block.what == "run" for block in found) == 5


def test_extending_marks_every_block_of_code() -> None:
    """No Python and no JSON on that page is left out of the test above."""
    text = (ROOT / "docs/extending.md").read_text()
    fences = re.findall(r"^```(?:python|json|diff)\b", text, re.M)
    assert len(fences) == len(blocks("docs/extending.md"))


def test_quick_start(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    text = (ROOT / "docs/quickstart.md").read_text()
    done = run("\n".join(PLAIN.findall(text)), folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["5", "(1, 3, 64, 64)"]
    assert (folder / "star.png").stat().st_size > 1000


def test_a_wrong_change_is_noticed() -> None:
    with pytest.raises(AssertionError, match="are gone"):
        changed("a\nb\n", " a\n+x\n c\n")
    assert changed("a\nb\n", " a\n+x\n b\n") == "a\nx\nb\n"
