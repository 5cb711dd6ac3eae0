"""What is proved about signs holds, and what does not hold is not proved."""

import numpy as np
import pytest

from onnxlrp.graph.load import load
from onnxlrp.graph.signs import Signs
from tests.engine import Session, model_of

P = np.float32([0.5, 1, 2])
M = np.float32([0.5, -1, 2])

PROVED = {
    "relu": "y = Relu(x)",
    "sigmoid": "y = Sigmoid(x)",
    "softmax": "y = Softmax(x)",
    "exp": "y = Exp(x)",
    "abs": "y = Abs(x)",
    "sum": "a = Relu(x) b = Sigmoid(x) y = Add(a, b)",
    "product": "a = Relu(x) y = Mul(a, p)",
    "quotient": "a = Relu(x) y = Div(a, p)",
    "concat": "a = Relu(x) b = Exp(x) y = Concat<axis = 1>(a, b)",
    "max": "y = Max(x, p)",
    "clip": "y = Clip(x, zero, six)",
    "clip of relu": "a = Relu(x) y = Clip(a, , six)",
    "moves": "a = Relu(x) b = Unsqueeze(a, one) c = Transpose(b) y = Squeeze(c, one)",
    "pad": "a = Relu(x) y = Pad(a, pads)",
    "mean": "a = Relu(x) y = ReduceMean(a)",
    "elu of relu": "a = Relu(x) y = Elu(a)",
    "norm": "y = ReduceL2(x)",
    "threshold": "y = ThresholdedRelu<alpha = 0.5>(x)",
    "constant": "y = Add(p, p) q = Neg(x)",
}

UNPROVED = {
    "input": "y = Identity(x)",
    "difference": "a = Relu(x) b = Exp(x) y = Sub(a, b)",
    "negative factor": "a = Relu(x) y = Mul(a, m)",
    "negative summand": "a = Relu(x) y = Add(a, m)",
    "pad below": "a = Relu(x) y = Pad(a, pads, minus)",
    "clip below": "y = Clip(x, minus, six)",
    "clip to below": "a = Relu(x) y = Clip(a, , minus)",
    "threshold below": "y = ThresholdedRelu<alpha = -5.0>(x)",
    "cubic": 'a = Relu(x) y = Resize<mode = "cubic">(a, , scales)',
    "gelu": "y = Gelu(x)",
    "elu": "y = Elu(x)",
    "neg": "a = Relu(x) y = Neg(a)",
    "minimum": "a = Relu(x) y = Min(a, m)",
    "gemm": "a = Relu(x) y = MatMul(a, square)",
}

CONSTANTS = {
    "p": P,
    "m": M,
    "zero": np.float32(0),
    "six": np.float32(6),
    "minus": np.float32(-1),
    "one": np.array([1]),
    "pads": np.array([0, 1, 0, 1]),
    "scales": np.float32([1, 2]),
    "square": np.float32(np.eye(3)),
}


def signs(body: str) -> tuple[bool, np.ndarray]:
    words = body.replace(",", " ").replace("(", " ").replace(")", " ").split()
    constants = {name: array for name, array in CONSTANTS.items() if name in words}
    source = model_of(body, {"x": ("N", 3)}, constants)
    graph = load(source)
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32) * 3
    return Signs(graph).nonnegative(graph.values["y"]), Session(source)({"x": x})["y"]


@pytest.mark.parametrize("name", PROVED)
def test_proved_and_true(name: str) -> None:
    known, y = signs(PROVED[name])
    assert known
    assert np.all(y >= 0)


@pytest.mark.parametrize("name", UNPROVED)
def test_not_proved(name: str) -> None:
    known, _ = signs(UNPROVED[name])
    assert not known
