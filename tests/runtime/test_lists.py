"""Outputs that ONNX Runtime gives as lists."""

import json

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

from onnxlrp.runtime import Explainer
from tests.runtime import graphs

W = np.array([[1, 2], [3, 4], [5, -6]], np.float32)
X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
LABELS = {
    "int64s": [4, 9],
    "int64s turned": [9, 4],
    "strings": ["bee", "cat"],
    "strings turned": ["cat", "bee"],
}


def zipped(labels: str) -> ModelProto:
    """One dictionary per sample beside the scores."""
    model = graphs.explanation(graphs.ARGMAX)
    kind = labels.split()[0]
    key = TensorProto.INT64 if kind == "int64s" else TensorProto.STRING
    number = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    rows = helper.make_sequence_type_proto(helper.make_map_type_proto(key, number))
    zipmap = helper.make_node(
        "ZipMap",
        ["y"],
        ["rows"],
        domain="ai.onnx.ml",
        **{f"classlabels_{kind}": LABELS[labels]},
    )
    model.graph.node.append(zipmap)
    model.graph.output.append(helper.make_value_info("rows", rows))
    model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 1))
    properties = {item.key: item.value for item in model.metadata_props}
    properties["onnxlrp.labels"] = json.dumps({"rows": LABELS[labels]})
    helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.mark.parametrize("batch_size", [1, 3, 32])
@pytest.mark.parametrize("labels", LABELS)
def test_dictionaries_are_the_scores(labels: str, batch_size: int) -> None:
    """The column of an entry is its index, by which targets speak of it, whatever its label."""
    result = Explainer(zipped(labels), providers=["CPUExecutionProvider"])(
        {"x": X}, batch_size=batch_size
    )
    rows = result.outputs["rows"]
    assert (rows.dtype, rows.shape) == (np.float32, (7, 2))
    np.testing.assert_allclose(rows, X @ W, rtol=1e-6)
    np.testing.assert_array_equal(rows, result.outputs["y"])
    np.testing.assert_array_equal(result.target, rows.argmax(axis=1))
    np.testing.assert_allclose(result.relevance["x"], X * W.T[result.target], rtol=1e-6)


@pytest.mark.parametrize("batch_size", [1, 32])
def test_sequences_of_equal_arrays_are_stacked(batch_size: int) -> None:
    """Sample by sample: a sequence has no batch axis of its own."""
    model = graphs.explanation(graphs.ARGMAX)
    model.graph.node.append(helper.make_node("SequenceConstruct", ["y", "y"], ["both"]))
    kind = helper.make_tensor_type_proto(TensorProto.FLOAT, ["N", 2])
    model.graph.output.append(helper.make_value_info("both", helper.make_sequence_type_proto(kind)))
    onnx.checker.check_model(model, full_check=True)
    explain = Explainer(model, providers=["CPUExecutionProvider"])
    both = explain({"x": X[:1]}, batch_size=batch_size).outputs["both"]
    np.testing.assert_allclose(both.reshape(2, 2), np.stack([X[0] @ W] * 2), rtol=1e-6)
