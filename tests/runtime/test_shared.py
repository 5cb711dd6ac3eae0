"""Weights of several sessions in one place, and what reads them from the file."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxlrp
from onnxlrp.errors import ModelError
from onnxlrp.runtime import Explainer, Weights
from onnxlrp.runtime.initializers import read_weights
from tests.nets import DIGITS, MLP, RESNET, VGG
from tests.runtime.cuda import ON_CPU

CLOSE = 1e-5  # dense products without packed weights sum in another order


@pytest.mark.parametrize("path", [DIGITS, MLP, RESNET, VGG])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_weights_are_those_that_onnx_reads(path, as_bytes):
    want = {t.name: numpy_helper.to_array(t) for t in onnx.load(path).graph.initializer}
    found = read_weights(path.read_bytes() if as_bytes else str(path), least=0)
    assert found.keys() == want.keys()
    for name, array in found.items():
        assert array.dtype == want[name].dtype
        np.testing.assert_array_equal(array, want[name])


def test_external_data_is_mapped(tmp_path):
    path = tmp_path / "model.onnx"
    model = onnx.load(VGG)
    want = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    onnx.save_model(model, path, save_as_external_data=True, size_threshold=0, location="w.bin")
    found = read_weights(str(path))
    assert found
    for name, array in found.items():
        np.testing.assert_array_equal(array, want[name])
        assert not array.flags.owndata
    assert read_weights(path.read_bytes()) == {}


TYPES = ["float32", "float64", "float16", "int64", "int32", "uint8", "int8", "bool"]


@pytest.mark.parametrize("dtype", TYPES)
def test_types(dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    tensor = numpy_helper.from_array(array, "w")
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [], [tensor])
    found = read_weights(helper.make_model(graph).SerializeToString(), least=0)
    if dtype == "bool":
        assert not found
    else:
        np.testing.assert_array_equal(found["w"], array)


def test_values_in_typed_fields_are_left_to_the_runtime():
    tensor = helper.make_tensor("w", onnx.TensorProto.FLOAT, [2], [1.0, 2.0])
    graph = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "g", [], [], [tensor])
    assert read_weights(helper.make_model(graph).SerializeToString(), least=0) == {}


def test_sessions_share_one_copy():
    graphs = [onnxlrp.compile(VGG, composite=name) for name in ("epsilon", "epsilon-plus")]
    weights = Weights()
    shared = [Explainer(graph, ON_CPU, weights=weights) for graph in graphs]
    assert 0 < weights.size == weights.saved
    x = {
        "image": np.random.default_rng(0).random(
            (2, *shared[0].signature.inputs["image"].shape[1:])
        )
    }
    x = {"image": x["image"].astype(np.float32)}
    for graph, explain in zip(graphs, shared, strict=True):
        want, got = Explainer(graph, ON_CPU)(x), explain(x)
        for a, b in ((got.relevance, want.relevance), (got.outputs, want.outputs)):
            for name, array in b.items():
                np.testing.assert_allclose(a[name], array, atol=CLOSE * np.abs(array).max())


def test_the_plain_model_shares_them_too(tmp_path):
    path = tmp_path / "model.lrp.onnx"
    onnxlrp.save(onnxlrp.compile(MLP), path)
    weights = Weights()
    plain, explanation = weights.of(MLP), weights.of(path)
    assert plain
    assert all(explanation[name] is value for name, value in plain.items())


def test_equal_names_with_other_values_are_kept_apart():
    weights, other = Weights(), onnx.load(MLP)
    tensor = max(other.graph.initializer, key=lambda t: len(t.raw_data))
    tensor.raw_data = bytes(len(tensor.raw_data))
    first, second = weights.of(str(MLP)), weights.of(other.SerializeToString())
    assert first[tensor.name] is not second[tensor.name]
    assert not second[tensor.name].numpy().any()


@pytest.mark.parametrize("data", [b"\x3a\xff\xff\xff\xff\x0f", b"\x0f", b"\xff" * 20])
def test_what_is_no_model(data):
    with pytest.raises(ModelError, match="weights of the model cannot be read") as caught:
        read_weights(data)
    assert "\n" not in str(caught.value)


def test_no_such_file():
    with pytest.raises(ModelError, match="cannot be read"):
        read_weights("/nowhere/model.onnx")
