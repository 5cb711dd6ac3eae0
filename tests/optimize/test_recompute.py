"""Weights that are derived in every run: equal values, and nothing for a runtime to keep."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnxlrp
from models.builders import small_cnn
from onnxlrp.errors import InputError
from tests.nets import run

METHOD = "epsilon-gamma-box"


def compiled(weights: str) -> onnx.ModelProto:
    return onnxlrp.compile(small_cnn(width=32), composite=METHOD, target=1, weights=weights).model


def kept(model: onnx.ModelProto, folder) -> int:
    """Bytes of the constants that ONNX Runtime holds after its optimisations."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    tensors = onnx.load(options.optimized_model_filepath).graph.initializer
    return sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in tensors)


@pytest.mark.parametrize("samples", [1, 3])
def test_equal_values(samples):
    x = np.random.default_rng(2).standard_normal((samples, 3, 20, 20), dtype=np.float32)
    found, wanted = (run(compiled(how), {"image": x}) for how in ("recompute", "fold"))
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=0, atol=1e-5 * abs(value).max())


def test_an_input_that_is_zero_or_nan():
    """The zero that hides the weights is 0 whatever the input holds."""
    for fill in (0.0, np.nan):
        x = np.full((1, 3, 20, 20), fill, dtype=np.float32)
        found, wanted = (run(compiled(how), {"image": x}) for how in ("recompute", "fold"))
        np.testing.assert_array_equal(np.isnan(found["logits"]), np.isnan(wanted["logits"]))


def test_one_copy_of_each_weight(tmp_path):
    plain = kept(small_cnn(width=32), tmp_path)
    assert kept(compiled("recompute"), tmp_path) < 1.2 * plain
    assert kept(compiled("fold"), tmp_path) > 1.4 * plain


def test_bad_value():
    with pytest.raises(InputError, match="weights='twice' is not one of fold, recompute"):
        onnxlrp.compile(small_cnn(), weights="twice")
