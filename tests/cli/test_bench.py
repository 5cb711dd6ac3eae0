"""`onnxlrp bench`; no test looks at a time."""

import json

import numpy as np
import onnx
import pytest

from models import transformer
from onnxlrp.cli.bench.worker import draw_inputs
from onnxlrp.errors import InputError
from onnxlrp.runtime.signature import Port
from tests.cli.test_bad_input import one_line

QUICK = ("--rounds", "1", "--seconds", "0")


def test_table(command, cnn):
    status, out, err = command("bench", cnn, *QUICK, "--providers", "cpu", "--batch", "1", "3")
    assert (status, err) == (0, "")
    head, _, *rows = [line.split() for line in out.splitlines()]
    assert head[:3] == ["provider", "batch", "what"]
    assert [row[:3] for row in rows] == [
        ["CPU", batch, what] for batch in "13" for what in ("forward", "auto")
    ]


def test_json(command, cnn):
    asked = ("--composite", "epsilon", "--composite", "epsilon-plus:epsilon=1e-3")
    status, out, err = command("bench", cnn, *QUICK, *asked, "--json", "--target", "2")
    assert (status, err) == (0, "")
    found = json.loads(out)["measurements"]
    assert [line["composite"] for line in found] == ["", *asked[1::2]]
    assert found[0]["ratio"] == found[0]["ratio_median"] == 1
    assert found[0]["nodes"] < found[1]["nodes"]
    assert all(0 < line["ms_min"] <= line["ms_median"] for line in found)
    assert all(line["ratio"] == pytest.approx(line["ms_min"] / found[0]["ms_min"], rel=0.2)
               for line in found)  # fmt: skip


def test_free_axes(command, tmp_path):
    onnx.save(transformer.bert(), tmp_path / "bert.onnx")
    status, _, err = command("bench", tmp_path / "bert.onnx", *QUICK)
    assert status == 1
    assert one_line(err)
    assert "axis 1 of input 'input_ids' is free: pass --dim L=SIZE" in err
    status, out, err = command("bench", tmp_path / "bert.onnx", *QUICK, "--dim", "L=6")
    assert (status, err) == (0, "")
    assert "attnlrp" not in out  # the name that was asked for: auto
    assert "auto" in out


BAD = [
    (["{none}.onnx"], "none.onnx"),
    (["{cnn}", "--composite", "epsilonn"], "epsilonn"),
    (["{cnn}", "--target", "9"], "9"),
    (["{cnn}", "--providers", "NoProvider"], "NoProvider"),
    (["{cnn}", "--batch", "0"], "--batch must be at least 1"),
    (["{cnn}", "--rounds", "0"], "--rounds must be at least 1"),
    (["{cnn}", "--seconds", "-1"], "--seconds must be at least 0"),
    (["{cnn}", "--dim", "L"], "--dim expects NAME=SIZE"),
    (["{cnn}", "--dim", "L=0"], "--dim expects NAME=SIZE"),
    (["{graph}"], "is an explanation graph"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD)
def test_bad_input(command, cnn, tmp_path, arguments, message):
    places = {"cnn": cnn, "none": tmp_path / "none", "graph": tmp_path / "graph.onnx"}
    if "{graph}" in arguments:
        assert command("compile", cnn, "-o", places["graph"])[0] == 0
    status, out, err = command("bench", *(text.format(**places) for text in arguments))
    assert status == 1
    assert one_line(err), err
    assert message in err
    assert out == ""


def test_a_model_that_cannot_run(command, cnn, tmp_path):
    model = onnx.load(cnn)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(model, tmp_path / "fixed.onnx")
    status, _, err = command("bench", tmp_path / "fixed.onnx", *QUICK, "--batch", "4")
    assert status == 1
    assert one_line(err), err
    assert "no free batch axis: batch 4 does not fit" in err


def port(name, dtype, *shape):
    kinds = {np.float16: "float16", np.float32: "float", np.int64: "int64", np.bool_: "bool"}
    return Port(name=name, dtype=np.dtype(dtype), kind=kinds[dtype], shape=shape)


def test_drawn_inputs():
    ports = {
        "image": port("image", np.float32, "N", 3, 4),
        "half": port("half", np.float16, None, 2),
        "ids": port("ids", np.int64, "N", "L"),
        "attention_mask": port("attention_mask", np.int64, "N", "L"),
        "flags": port("flags", np.bool_, 2),
    }
    drawn = draw_inputs(ports, 5, {"L": 7})
    assert {name: array.shape for name, array in drawn.items()} == {
        "image": (5, 3, 4),
        "half": (5, 2),
        "ids": (5, 7),
        "attention_mask": (5, 7),
        "flags": (2,),
    }
    assert all(drawn[name].dtype == port.dtype for name, port in ports.items())
    assert set(drawn["ids"].flat) == {0, 1}
    assert set(drawn["attention_mask"].flat) == {1}


def test_text_cannot_be_drawn():
    text = Port(name="text", dtype=np.dtype(object), kind="string", shape=("N",))
    with pytest.raises(InputError, match="'text' is string"):
        draw_inputs({"text": text}, 1, {})
