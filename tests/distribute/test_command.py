"""`onnxlrp batch`: what it prints, what it refuses, its exit status."""

import io
import re

import numpy as np
import pytest

import onnxlrp
from onnxlrp.cli.app import main
from onnxlrp.cli.progress import Progress
from tests.distribute.results import read_npz
from tests.nets import VGG

PLAIN = ("--format", "npz", "--preprocess", "unit", "--workers", "1", "--shard-size", "8")


@pytest.fixture
def call(pictures, tmp_path, capsys):
    def run(model, *words, data=pictures, out="out"):
        line = ["batch", str(model), str(data), "-o", str(tmp_path / out), *PLAIN, *words]
        status = main(line)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_a_model_is_compiled_first(call, tmp_path):
    status, out, _ = call(VGG, "--composite", "grad-cam")
    assert status == 0
    assert "19 of 20 explained, 1 failed" in out
    assert (tmp_path / "out" / "model.lrp.onnx").is_file()
    row = read_npz(tmp_path / "out")[0]
    assert row["heatmap/image"].shape == (64, 64)


def test_a_run_is_not_overwritten(call, graph):
    assert call(graph)[0] == 0
    status, _, err = call(graph)
    assert status == 1
    assert "--resume" in err
    status, out, _ = call(graph, "--resume")
    assert status == 0
    assert out.startswith("0 samples in")


def test_a_target_for_a_graph_that_takes_one(call, tmp_path):
    path = tmp_path / "free.lrp.onnx"
    onnxlrp.compile(VGG, composite="epsilon-plus", target="input").save(path)
    status, _, err = call(path)
    assert (status, "pass --target" in err) == (1, True)
    assert call(path, "--target", "2")[0] == 0  # nothing was done, so that is no other run
    status, _, err = call(path, "--target", "3", "--resume")
    assert (status, "another target: 2, now 3" in err) == (1, True)
    fixed = tmp_path / "fixed.lrp.onnx"
    onnxlrp.compile(VGG, composite="epsilon-plus", target="2").save(fixed)
    explain = onnxlrp.Explainer(fixed)
    x = np.zeros((1, 3, 64, 64), np.float32)
    assert explain({"image": x}).target.tolist() == [2]
    assert _targets(tmp_path / "out") == {2}


def _targets(out):
    return {int(row["target"][0]) for row in read_npz(out).values()}


def test_what_is_refused(call, graph, tmp_path):
    status, _, err = call(graph, "--composite", "epsilon")
    assert status == 1
    assert "compiled already" in err
    status, _, err = call(graph, "--target", "2")
    assert status == 1
    assert "--target input" in err
    status, _, err = call(graph, "--gpus", "1")
    assert (status, "--engine ray" in err) == (1, True)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("--workers", "0"), "--workers must be at least 1"),
        (("--threads", "0"), "threads=0 must be at least 1"),
        (("--batch-size", "0"), "--batch-size must be at least 1"),
        (("--provider", "none"), "provider 'none'"),
        (("--engine", "ray", "--address", "ray://127.0.0.1:1"), "--address auto"),
    ],
)
def test_numbers_and_names_are_checked(call, graph, words, what):
    status, _, err = call(graph, *words)
    assert (status, what in err, len(err.splitlines())) == (1, True, 1)
    assert call(graph)[0] == 0  # the refused run left nothing in the way


def test_what_was_assumed_is_said_once(graph, pictures, tmp_path, capsys):
    line = ["batch", str(graph), str(pictures), "-o", str(tmp_path / "out"), "--format", "npz"]
    assert main([*line, "--shard-size", "5", "--workers", "1"]) == 0
    said = capsys.readouterr()
    notes = [line for line in said.err.splitlines() if line.startswith("note: ")]
    assert notes == ["note: assumed preprocessing 'imagenet' (change it with --preprocess)"]
    assert "failures.jsonl, first 004.png: " in said.out


def test_progress_says_how_fast_it_goes():
    stream = io.StringIO()
    progress = Progress(label="x", stream=stream, shown=-100.0, rate=True)
    progress(50, 100)
    progress.shown = -100.0
    progress(60, 100)
    first, second = stream.getvalue().splitlines()
    assert first == "x: 50 of 100"
    assert re.fullmatch(r"x: 60 of 100, \d+\.\d per second, 0 min left", second)


def test_nothing_explained_is_an_error(call, graph, tmp_path):
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "a.png").write_bytes(b"bad")
    status, out, err = call(graph, data=folder)
    assert status == 1
    assert "0 of 1 explained, 1 failed" in out
    assert "no sample could be explained: a.png: " in err
