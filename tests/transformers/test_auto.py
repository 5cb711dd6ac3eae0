"""When `auto` sees attention."""

import re

import numpy as np
import pytest

import onnxlrp
from tests.engine import model_of

SHAPES = {"x": ("N", 4, 4), "v": ("N", 4, 4)}
CONSTANTS = {
    "w": np.eye(4, dtype=np.float32),
    "m": np.tril(np.ones((4, 4), bool)),
    "zero": np.float32(0),
    "k": np.ones((2, 4, 1), np.float32),
}


@pytest.mark.parametrize(
    ("body", "chosen"),
    [
        ("a = Softmax(x) y = MatMul(a, v)", "attnlrp"),
        ("a = Softmax(x) b = Dropout(a) y = MatMul(b, v)", "attnlrp"),
        ("a = Softmax(x) b = Where(m, a, zero) y = MatMul(b, v)", "attnlrp"),
        ("a = Softmax(x) b = Transpose<perm = [0, 2, 1]>(a) y = MatMul(v, b)", "attnlrp"),
        ("a = Softmax(x) b = MatMul(a, v) c = Conv(b, k) y = Relu(c)", "attnlrp"),
        ("a = Softmax(x) b = MatMul(a, w) y = MatMul(b, v)", "epsilon"),
        ("a = Softmax(x) y = Mul(a, v)", "epsilon"),
        ("y = MatMul(x, v)", "epsilon"),
        ("a = Sigmoid(x) y = MatMul(a, v)", "epsilon"),
        ("b = Add(x, v) c = Conv(b, k) y = Softmax(c)", "epsilon-plus"),
    ],
)
def test_what_is_attention(body: str, chosen: str) -> None:
    words = set(re.findall(r"\w+", body))
    inputs = {name: shape for name, shape in SHAPES.items() if name in words}
    used = {name: array for name, array in CONSTANTS.items() if name in words}
    composite = onnxlrp.compile(model_of(body, inputs, used)).metadata.composite
    assert composite["name"] == f"auto ({chosen})"
    assert composite["split"] == "ratio"
