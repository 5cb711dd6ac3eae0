"""The table of the zoo: what is measured of a file, and how the page says it."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from tools import zoo_table

STORED = Path(__file__).parents[1] / "zoo" / "stored"
WHOLE = "sklearn_logistic-skl2onnx-17"
ENTRY = {"exporter": "made", "opset": 17, "nodes": 2, "expect": "explain", "failed": ""}


@pytest.fixture
def folder(tmp_path):
    """One file that is explained, one whose stored output is wrong, one with a tree, one broken."""
    for name in ("good", "moved"):
        for end in (".onnx", ".npz"):
            shutil.copy(STORED / f"{WHOLE}{end}", tmp_path / f"{name}{end}")
    with np.load(tmp_path / "moved.npz") as held:
        arrays = {key: held[key] * (2 if key == "out/probabilities" else 1) for key in held.files}
    np.savez(tmp_path / "moved.npz", **arrays)
    onnx.save(trees(), tmp_path / "trees.onnx")
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    for name in ("trees", "broken"):
        np.savez(tmp_path / f"{name}.npz")
    entries = [ENTRY | {"file": f"{name}.onnx", "name": name} for name in NAMES]
    entries += [ENTRY | {"file": "never.onnx", "name": "never", "failed": "it <cannot> | so"}]
    (tmp_path / "manifest.json").write_text(json.dumps(entries))
    (tmp_path / "versions.json").write_text('{"torch": "2.0"}')
    return tmp_path


NAMES = ("good", "moved", "trees", "broken")


def trees():
    """A tree of one leaf."""
    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node(
        "TreeEnsembleRegressor", ["x"], ["y"], "wood", domain="ai.onnx.ml", n_targets=1,
        nodes_treeids=[0], nodes_nodeids=[0], nodes_featureids=[0], nodes_modes=["LEAF"],
        nodes_values=[0.0], nodes_truenodeids=[0], nodes_falsenodeids=[0], target_treeids=[0],
        target_nodeids=[0], target_ids=[0], target_weights=[1.0],
    )  # fmt: skip
    graph = onnx.helper.make_graph([node], "g", [value("x", 1, [2, 3])], [value("y", 1, [2, 1])])
    stamps = [onnx.helper.make_opsetid("", 17), onnx.helper.make_opsetid("ai.onnx.ml", 3)]
    return onnx.helper.make_model(graph, opset_imports=stamps, ir_version=8)


def test_a_file_is_measured(folder):
    found = zoo_table.measure(folder, "good.onnx")
    assert (found.outcome, found.coverage, found.text) == ("explained", 1, "")
    assert found.seconds > 0


def test_an_output_that_is_not_the_stored_one_is_wrong(folder):
    found = zoo_table.measure(folder, "moved.onnx")
    assert found.outcome == "wrong"
    assert "output probabilities differs by" in found.text


def test_a_refusal_names_the_operator(folder):
    found = zoo_table.measure(folder, "trees.onnx")
    assert found.outcome == "refused"
    assert found.lacking == {"ai.onnx.ml.TreeEnsembleRegressor": 1}
    assert found.coverage < 1


def test_a_process_that_ends_is_a_defect(folder, monkeypatch):
    monkeypatch.setattr(zoo_table, "_work", lambda path, answer: None)
    found = zoo_table.measure(folder, "good.onnx")
    assert found.outcome == "defect"
    assert "ended without an answer" in found.text


def test_relevance_that_is_zero_or_not_finite_is_wrong():
    def wrong(*values):
        relevance = {f"relevance/{k}": np.float32([v]) for k, v in enumerate(values)}
        return list(zoo_table._wrong(relevance, {}))

    assert wrong(0.0, 1.0) == []
    assert wrong(0.0, 0.0) == ["all relevance is zero"]
    assert wrong(np.nan) == ["relevance/0 is not finite"]


def test_the_page_says_it_all(folder):
    page, reasons = folder / "zoo.md", folder / "findings.md"
    arguments = ["--only", "good*", "*", "--jobs", "2", "--write", page, "--findings", reasons]
    assert zoo_table.main([str(folder), *map(str, arguments)]) == 1
    text = page.read_text()
    assert "4 files in 4 rows" in text
    assert "torch 2.0" in text
    assert f"onnx {onnx.__version__}" in text
    assert "| all | 4 | 2 | 1 | 0 | 2 | 1 | 0 |" in text
    assert "| good | made | 17 | 2 | 100.0 % |  | explained |" in text
    assert "| ai.onnx.ml.TreeEnsembleRegressor (1) | refused |" in text
    assert "- 1 x output probabilities differs" in text.partition("## Wrong")[2]
    assert "- 1 x it &lt;cannot> \\| so - never.onnx" in text
    assert "TreeEnsembleRegressor" in reasons.read_text()


def test_earlier_results_stay(folder):
    page = folder / "zoo.md"
    zoo_table.main([str(folder), "--only", "good.onnx", "--write", str(page)])
    assert zoo_table.main([str(folder), "--only", "trees.onnx", "--write", str(page)]) == 0
    assert "2 files in 2 rows" in page.read_text()
