import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

from onnxlrp.attributors import describe_attributors
from onnxlrp.cli.detect import is_explanation_graph
from onnxlrp.composites import describe
from tests.runtime import graphs


def test_composites(command):
    status, out, err = command("composites")
    assert (status, err) == (0, "")
    everything = [*describe(), *describe_attributors()]
    for entry in everything:
        assert f"\n{entry['name']} " in out
    status, out, _ = command("composites", "epsilon-plus")
    assert status == 0
    assert "AlphaBeta" in out
    status, out, _ = command("composites", "--json")
    assert json.loads(out) == json.loads(json.dumps(everything))


def test_attributors(command, cnn, tmp_path):
    status, out, _ = command("composites", "smoothgrad")
    assert status == 0
    assert "Smilkov" in out
    assert "sigma 0.15" in out
    status, out, _ = command("inspect", cnn, "--composite", "smoothgrad")
    assert status == 0
    assert "composite smoothgrad, output" in out
    for text, why in (
        ("smoothgrad:noise=1", "no parameter 'noise'; it takes: samples, sigma, squared"),
        ("smoothgrad:samples=many", "samples=many is not a whole number"),
        ("integrated-gradients:steps=0", "steps=0 must be at least 1"),
    ):
        status, _, err = command("compile", cnn, "-o", tmp_path / "x.onnx", "--composite", text)
        assert (status, err.count("\n")) == (1, 1)
        assert why in err
    status, _, err = command(
        "compile", cnn, "-o", tmp_path / "x.onnx", "--composite", "smoothgrad", "--ledger"
    )
    assert status == 1
    assert "'smoothgrad' has no ledger" in err


def test_inspect(command, cnn):
    status, out, err = command("inspect", cnn, "--composite", "epsilon")
    assert (status, err) == (0, "")
    assert "Conv" in out
    assert "coverage 100.0%" in out
    status, out, _ = command("inspect", cnn, "--why")
    assert "why" in out.splitlines()[0]
    status, out, _ = command("inspect", cnn, "--json")
    report = json.loads(out)
    assert {"rows", "coverage", "composite", "output", "inputs"} <= set(report)
    assert report["coverage"] == 1


def test_compile(command, cnn, tmp_path):
    graph = tmp_path / "cnn.lrp.onnx"
    status, out, err = command(
        "compile", cnn, "-o", graph, "--composite", "epsilon", "--heatmap", "--preprocess", "unit"
    )
    assert (status, err) == (0, "")
    assert "output     'scores', explained before its activation: 'logits'" in out
    assert "composite  epsilon" in out
    assert f"wrote      {graph}" in out
    assert is_explanation_graph(graph)
    assert not is_explanation_graph(cnn)
    names = [value.name for value in onnx.load(graph).graph.output]
    assert names == ["scores", "relevance/picture", "heatmap/picture"]


def test_explain_a_picture(command, cnn, photo, labels, tmp_path):
    out = tmp_path / "out.png"
    status, said, err = command("explain", cnn, photo, "-o", out, "--labels", labels, "--top", 3)
    assert (status, err) == (0, "")
    assert said.startswith("photo: ")
    assert any(label in said for label in ("cat", "dog", "owl", "bee"))
    for text in ("explained score f", "conservation R / f", "assumed preprocessing 'imagenet'"):
        assert text in said
    assert Image.open(out).width > 1200
    assert sum(line.endswith("%") for line in said.splitlines()) == 3


def test_explain_an_explanation_graph_gives_the_same(command, cnn, photo, tmp_path):
    graph, first, second = (tmp_path / name for name in ("g.onnx", "a.npz", "b.npz"))
    assert command("compile", cnn, "-o", graph, "--preprocess", "tf")[0] == 0
    status, said, _ = command("explain", graph, photo, "-o", first)
    assert status == 0
    assert "assumed" not in said
    assert command("explain", cnn, photo, "-o", second, "--preprocess", "tf")[0] == 0
    a, b = np.load(first), np.load(second)
    np.testing.assert_array_equal(a["relevance/picture"], b["relevance/picture"])
    assert a["scores"].shape == (1, 4)
    assert a["target"].shape == (1,)


def test_conservation_without_bias(command, mlp, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 5)))
    out = tmp_path / "out.json"
    status, _, err = command("explain", mlp, tmp_path / "x.npy", "-o", out)
    assert (status, err) == (0, "")
    samples = json.loads(out.read_text())["samples"]
    assert [sample["name"] for sample in samples] == ["x[0]", "x[1]", "x[2]"]
    for sample in samples:
        assert abs(sample["conservation"] - 1) < 1e-3
        assert sample["score"] == pytest.approx(sample["top"][0]["score"], rel=1e-5)


def test_explain_rows_with_feature_names(command, mlp, tmp_path):
    (tmp_path / "rows.csv").write_text("age,height,weight,dose,days\n1,2,3,4,5\n5,4,3,2,1\n")
    status, _, err = command("explain", mlp, tmp_path / "rows.csv", "-o", tmp_path / "rows.png")
    assert (status, err) == (0, "")
    assert Image.open(tmp_path / "rows.png").height > 400


def test_two_inputs_and_one_value(command, scalar, tmp_path):
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "x.npz", left=rng.normal(size=(2, 5)), right=rng.normal(size=(2, 40)))
    for name in ("o.png", "o.json", "o.npz"):
        status, _, err = command("explain", scalar, tmp_path / "x.npz", "-o", tmp_path / name)
        assert (status, err) == (0, "")
    found = np.load(tmp_path / "o.npz")
    total = found["relevance/left"].sum(1) + found["relevance/right"].sum(1)
    np.testing.assert_allclose(total, found["y"], rtol=1e-4)
    sample = json.loads((tmp_path / "o.json").read_text())["samples"][0]
    assert (sample["target"], sample["top"]) == (None, [])
    assert sample["score"] == pytest.approx(float(found["y"][0]), rel=1e-6)


def test_explain_a_folder_into_a_folder(command, cnn, tmp_path):
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (16, 16), "red" if name == "a" else "blue").save(folder / f"{name}.png")
    Image.new("RGB", (16, 16), "green").save(folder / "a.webp")
    status, _, err = command("explain", cnn, folder, "-o", out, "--preprocess", "unit")
    assert (status, err) == (0, "")
    wanted = ["a-2.npz", "a-2.png", "a.npz", "a.png", "b.npz", "b.png", "summary.json"]
    assert sorted(file.name for file in out.iterdir()) == wanted
    assert len(json.loads((out / "summary.json").read_text())["samples"]) == 3


def test_target_chosen_when_explaining(command, cnn, photo, tmp_path):
    graph, a, b = (tmp_path / name for name in ("g.onnx", "a.npz", "b.npz"))
    status, _, err = command("compile", cnn, "-o", graph, "--target", "input")
    assert (status, err) == (0, "")
    assert command("explain", graph, photo, "-o", a, "--target", "2")[0] == 0
    assert command("explain", cnn, photo, "-o", b, "--target", "2")[0] == 0
    np.testing.assert_allclose(
        np.load(a)["relevance/picture"], np.load(b)["relevance/picture"], rtol=1e-5, atol=1e-7
    )


def test_two_classes_are_both_named(command, cnn, photo, labels, tmp_path):
    words = ("explain", cnn, photo, "-o", tmp_path / "x.png", "--target", "contrast:1:0")
    first, second = Path(labels).read_text().split()[:2]
    _, out, _ = command(*words, "--labels", labels)
    assert out.startswith(f"photo: {second} minus {first}\n")
    assert command(*words)[1].startswith("photo: class 1 minus class 0\n")


def test_standard_input(cnn, photo, tmp_path):
    out = tmp_path / "out.png"
    arguments = [sys.executable, "-m", "onnxlrp.cli", "explain", cnn, "-", "-o", str(out)]
    with open(photo, "rb") as file:
        run = subprocess.run(arguments, stdin=file, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
    assert run.stdout.startswith("stdin: ")
    assert out.exists()


@pytest.mark.parametrize("out", ["out.json", "out.html"])
def test_explaining_a_graph_never_imports_the_compiler(tmp_path, out):
    onnx.save(graphs.explanation(graphs.ARGMAX), tmp_path / "g.onnx")
    np.save(tmp_path / "x.npy", np.ones((2, 3)))
    code = (
        "import sys; from onnxlrp.cli import main\n"
        f"status = main(['explain', 'g.onnx', 'x.npy', '-o', '{out}'])\n"
        "assert not {'onnx', 'networkx'} & set(sys.modules)\n"
        "sys.exit(status)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": str(_root())},
    )
    assert run.returncode == 0, run.stderr
    text = (tmp_path / out).read_text()
    if out == "out.json":
        assert json.loads(text)["samples"][0]["relevance"] == 9
    else:
        assert ">sum of relevance R</th><td>9</td>" in text


def _root():
    from pathlib import Path

    return Path(__file__).parents[2]
