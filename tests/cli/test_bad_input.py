"""Every mistake: one line on standard error, status 1, nothing half-written."""

import os
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

from onnxlrp.cli import main
from onnxlrp.cli.app import describe
from onnxlrp.errors import ModelError

MODELS = [
    ("empty", b""),
    ("random", bytes(range(256)) * 8),
    ("text", b"this is no model"),
    ("truncated", None),
]


def one_line(err):
    return err.startswith("error: ") and err.count("\n") == 1


@pytest.mark.parametrize(("name", "content"), MODELS)
@pytest.mark.parametrize("verb", ["compile", "explain", "inspect"])
def test_bad_models(command, cnn, photo, tmp_path, verb, name, content):
    path = tmp_path / f"{name}.onnx"
    path.write_bytes(Path(cnn).read_bytes()[:500] if content is None else content)
    before = sorted(tmp_path.iterdir())
    out = {"compile": ["-o", tmp_path / "o.onnx"], "explain": ["-o", tmp_path / "o.png"]}
    inputs = [photo] if verb == "explain" else []
    status, _, err = command(verb, path, *inputs, *out.get(verb, []))
    assert status == 1
    assert one_line(err), err
    assert sorted(tmp_path.iterdir()) == before


EXPLAIN = [
    (["{cnn}", "{none}.png", "-o", "o.png"], "there is no file or folder"),
    (["{none}.onnx", "{photo}", "-o", "o.png"], "none.onnx"),
    (["{cnn}", "{text}", "-o", "o.png"], "cannot tell what"),
    (["{cnn}", "{junk}", "-o", "o.png"], "cannot read the picture"),
    (["{cnn}", "{array}", "-o", "o.png"], "input 'picture' expects"),
    (["{cnn}", "{words}", "-o", "o.png"], "input 'picture' expects"),
    (["{mlp}", "{photo}", "-o", "o.png"], "does not take a picture"),
    (["{cnn}", "{photo}", "-o", "nowhere/o.png"], "there is no folder"),
    (["{cnn}", "{photo}", "-o", "{photo}/o.png"], "there is no folder"),
    (["{cnn}", "{photo}", "-o", "o.gif"], "its name should end in"),
    (["{cnn}", "{photo}", "-o", "nowhere/folder"], "there is no folder"),
    (["{cnn}", "{photo}", "-o", "nowhere/o.html"], "there is no folder"),
    (["{cnn}", "{photo}", "{junk}", "-o", "o.html"], "cannot read the picture"),
    (["{cnn}", "{photo}", "-o", "o.png", "--preprocess", "imagnet"], "unknown preprocessing"),
    (["{cnn}", "{photo}", "-o", "o.png", "--preprocess", "{none}.json"], "No such file"),
    (["{cnn}", "{photo}", "-o", "o.png", "--layout", "nhwc"], "in layout NHWC"),
    (["{cnn}", "{photo}", "-o", "o.png", "--labels", "{none}.txt"], "No such file"),
    (["{cnn}", "{photo}", "-o", "o.png", "--top", "-1"], "--top must not be negative"),
    (["{cnn}", "{photo}", "-o", "o.png", "--percentile", "0"], "percentile must be"),
    (["{cnn}", "{photo}", "-o", "o.png", "--composite", "epsilonn"], "epsilonn"),
    (["{cnn}", "{photo}", "-o", "o.png", "--composite", "epsilon:low=x"], "low"),
    (["{cnn}", "{photo}", "-o", "o.png", "--composite", "{none}.json"], "none.json"),
    (["{cnn}", "{photo}", "-o", "o.png", "--split", "half"], "half"),
    (["{cnn}", "{photo}", "-o", "{photo}"], "is read as an input"),
    (["{cnn}", "{photo}", "-o", "o.png", "--target", "9"], "9"),
    (["{cnn}", "{photo}", "-o", "o.png", "--target", "best"], "best"),
    (["{cnn}", "{photo}", "-o", "o.png", "--target", "input"], "is for `onnxlrp compile`"),
    (["{cnn}", "{photo}", "-o", "o.png", "--position", "a"], "--position expects"),
    (["{cnn}", "{photo}", "-o", "o.png", "--start", "odd"], "odd"),
    (["{cnn}", "{photo}", "-o", "o.png", "--output", "z"], "'z'"),
    (["{cnn}", "{photo}", "-o", "o.png", "--input", "z"], "'z'"),
    (["{cnn}", "{photo}", "-o", "o.png", "--stop", "z"], "z"),
    (["{cnn}", "{photo}", "-o", "o.png", "--batch-size", "0"], "batch_size must be"),
    (["{cnn}", "{photo}", "-o", "o.png", "--provider", "NoProvider"], "NoProvider"),
    (["{graph}", "{photo}", "-o", "o.png", "--composite", "epsilon"], "is compiled already"),
    (["{graph}", "{photo}", "-o", "o.png", "--target", "1"], "--target input"),
    (["{chosen}", "{photo}", "-o", "o.png"], "pass --target"),
    (["{chosen}", "{photo}", "-o", "o.png", "--target", "4"], "out of range"),
    (["{chosen}", "{photo}", "-o", "o.png", "--target", "x"], "expects an index"),
]


@pytest.fixture
def files(request, command, cnn, mlp, photo, tmp_path):
    places = {"cnn": cnn, "mlp": mlp, "photo": photo, "none": str(tmp_path / "none")}
    for key, name, content in (("text", "a.txt", b"1"), ("junk", "junk.png", b"junk")):
        (tmp_path / name).write_bytes(content)
        places[key] = str(tmp_path / name)
    np.save(tmp_path / "array.npy", np.ones((2, 3, 9, 9)))
    np.save(tmp_path / "words.npy", np.full((1, 3, 16, 16), "a"))
    places |= {key: str(tmp_path / f"{key}.npy") for key in ("array", "words")}
    for key, target in (("graph", "argmax"), ("chosen", "input")):
        places[key] = str(tmp_path / f"{key}.onnx")
        if "{" + key + "}" in request.getfixturevalue("arguments"):
            assert command("compile", cnn, "-o", places[key], "--target", target)[0] == 0
    return places


@pytest.mark.parametrize(("arguments", "message"), EXPLAIN)
def test_bad_explain(command, files, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    status, _, err = command("explain", *(argument.format(**files) for argument in arguments))
    assert status == 1
    assert one_line(err), err
    assert message in err
    assert sorted(tmp_path.iterdir()) == before


COMPILE = [
    (["{graph}", "-o", "o.onnx"], "explanation graph already"),
    (["{cnn}", "-o", "{cnn}"], "is read as an input"),
    (["{cnn}", "-o", "nowhere/o.onnx"], "there is no folder"),
    (["{cnn}", "-o", "."], "it is a folder"),
    (["{cnn}", "-o", "o.onnx", "--probe", "z*"], "z*"),
    (["{cnn}", "-o", "o.onnx", "--preprocess", "no"], "unknown preprocessing"),
]


@pytest.mark.parametrize(("arguments", "message"), COMPILE)
def test_bad_compile(command, files, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_size for path in tmp_path.iterdir()}
    status, _, err = command("compile", *(argument.format(**files) for argument in arguments))
    assert status == 1
    assert one_line(err), err
    assert message in err
    assert {path: path.stat().st_size for path in tmp_path.iterdir()} == before


INSPECT = [
    (["{cnn}", "--dot", "nowhere/o.dot"], "there is no folder"),
    (["{cnn}", "--html", "."], "it is a folder"),
    (["{cnn}", "--dot", "{cnn}"], "is read as an input"),
    (["{cnn}", "--html", "o.html", "--target", "9"], "9"),
    (["{cnn}", "--html", "o.html", "--composite", "epsilonn"], "epsilonn"),
]


@pytest.mark.parametrize(("arguments", "message"), INSPECT)
def test_bad_inspect(command, files, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    before = {path: path.stat().st_size for path in tmp_path.iterdir()}
    status, _, err = command("inspect", *(argument.format(**files) for argument in arguments))
    assert status == 1
    assert one_line(err), err
    assert message in err
    assert {path: path.stat().st_size for path in tmp_path.iterdir()} == before


def test_unknown_operator(command, tmp_path):
    node = helper.make_node("Frobnicate", ["x"], ["y"], "odd", domain="com.example")
    value = [helper.make_tensor_value_info(n, 1, ["N", 3]) for n in ("x", "y")]
    graph = helper.make_graph([node], "g", value[:1], value[1:])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "m.onnx")
    status, _, err = command("compile", tmp_path / "m.onnx", "-o", tmp_path / "o.onnx")
    assert status == 1
    assert one_line(err), err
    assert "Frobnicate" in err
    assert not (tmp_path / "o.onnx").exists()


def outside_data(cnn, tmp_path, location):
    model = onnx.load(cnn)
    for tensor in model.graph.initializer:
        onnx.external_data_helper.set_external_data(tensor, location)
        tensor.ClearField("raw_data")
    return model


def cyclic(tmp_path):
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    value = [helper.make_tensor_value_info(n, 1, ["N", 3]) for n in ("x", "b")]
    graph = helper.make_graph(nodes, "g", value[:1], value[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("kind", ["missing data", "escaping data", "cycle"])
@pytest.mark.parametrize("verb", ["compile", "inspect"])
def test_broken_structure(command, cnn, tmp_path, verb, kind):
    if kind == "cycle":
        model = cyclic(tmp_path)
    else:
        place = "gone.data" if kind == "missing data" else "../outside.data"
        model = outside_data(cnn, tmp_path, place)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    out = ["-o", tmp_path / "o.onnx"] if verb == "compile" else []
    status, _, err = command(verb, tmp_path / "m.onnx", *out)
    assert status == 1
    assert one_line(err), err
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(command, cnn, photo, tmp_path):
    shut = tmp_path / "shut"
    shut.mkdir(mode=0o500)
    status, _, err = command("explain", cnn, photo, "-o", shut / "o.png")
    assert status == 1
    assert one_line(err), err


@pytest.mark.parametrize(
    "arguments",
    [[], ["frobnicate"], ["compile", "m.onnx"], ["explain", "m"], ["inspect", "m", "--nope"]],
)
def test_wrong_usage_is_status_2(command, arguments):
    status, _, err = command(*arguments)
    assert status == 2
    assert "usage: onnxlrp" in err


def test_debug_shows_the_traceback(command, photo):
    status, _, err = command("explain", "none.onnx", photo, "-o", "o.png", "--debug")
    assert status == 1
    assert "Traceback" in err


def test_help_and_version(capsys):
    assert main(["--help"]) == 0
    assert main(["--version"]) == 0
    for verb in ("compile", "explain", "inspect", "composites"):
        assert main([verb, "--help"]) == 0
    assert "onnxlrp" in capsys.readouterr().out


def test_names_of_models_cannot_speak_to_the_terminal():
    assert describe(ModelError("node 'a\x1b[2J\nb' is odd")) == "node 'a?[2J b' is odd"
