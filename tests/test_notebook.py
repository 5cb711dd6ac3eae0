"""The notebook of the docs runs from top to bottom."""

import json
import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_cells_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "models", tmp_path / "models", ignore=shutil.ignore_patterns("*.py"))
    monkeypatch.chdir(tmp_path)
    cells = json.loads((ROOT / "docs/clients/explain.ipynb").read_text())["cells"]
    names: dict[str, object] = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "cell", "exec"), names)
    assert names["found"]["overlay/image"].shape == (1, 64, 64, 3)  # type: ignore[index]
    assert names["scores"].argmax() == names["labels"].index("star")  # type: ignore[attr-defined]
