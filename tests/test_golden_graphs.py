"""Explanation graphs as text: a change of what is emitted must be seen in a review.

They are no oracle (that is `tests/oracle.py`). After an intended change:
`python tests/test_golden_graphs.py` writes them anew.
"""

from pathlib import Path

import onnx
import pytest

from onnxlrp.compile import compile as compile_model

FOLDER = Path(__file__).parent / "golden_graphs"
HEAD = '<ir_version: 10, opset_import: ["" : 21]> g '
GRAPHS = {
    "dense_epsilon": (
        (
            "(float[N,3] x) => (float[N,2] y) <float[3,2] w = {1,2,3,4,5,6}, float[2] b = {1,-1}>"
            " { y = Gemm(x, w, b) }"
        ),
        {"composite": "epsilon", "target": 1},
    ),
    "conv_plus_symbolic": (
        (
            "(float[N,1,H,W] x) => (float[N,1,A,B] y) <float[1,1,2,2] w = {1,-2,3,-4}>"
            " { z = Conv<strides = [2, 2], pads = [1, 0, 0, 1]>(x, w) y = Relu(z) }"
        ),
        {"composite": "epsilon-plus", "target": "seed"},
    ),
    "residual_ratio": (
        (
            "(float[N,2] x) => (float[N,2] y) <float[2,2] w = {1,2,3,5}>"
            " { h = MatMul(x, w) a = Relu(h) y = Add(x, a) }"
        ),
        {"composite": "epsilon", "split": "ratio", "target": 0},
    ),
    "max_pool_target_input": (
        (
            "(float[N,1,4,4] x) => (float[N,4] y)"
            " { p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x) y = Flatten(p) }"
        ),
        {"composite": "epsilon", "target": "input"},
    ),
    "loop_over_a_sequence": (
        (
            "(float[N,5,2] x, float[N,2] h0) => (float[N,2] y)"
            " <float[2,2] u = {1,2,3,-4}, int64 m = {5}, bool yes = {1}>"
            " { y = Loop<body = step (int64 i, bool c, float[N,2] h) => (bool co, float[N,2] hn)"
            " { co = Identity(c) xt = Gather<axis = 1>(x, i) a = MatMul(h, u) b = Add(a, xt)"
            " hn = Tanh(b) }>(m, yes, h0) }"
        ),
        {"composite": "epsilon", "target": 1},
    ),
    "lstm_epsilon": (
        (
            "(float[L,N,1] x) => (float[1,N,1] y_h) <float[1,4,1] w = {1,2,3,4},"
            " float[1,4,1] r = {4,3,2,1}, float[1,8] b = {1,1,1,1,2,2,2,2}>"
            " { y, y_h = LSTM<hidden_size = 1>(x, w, r, b) }"
        ),
        {"composite": "epsilon", "target": "seed"},
    ),
    "ledger_gradient": (
        "(float[N,2] x) => (float[N,2] y) { a = Sigmoid(x) y = Mul(a, a) }",
        {"composite": "gradient", "target": "argmax", "ledger": True},
    ),
}


def text(name: str) -> str:
    body, options = GRAPHS[name]
    model = compile_model(onnx.parser.parse_model(HEAD + body), **options).model
    del model.metadata_props[:]
    return onnx.printer.to_text(model) + "\n"


@pytest.mark.parametrize("name", GRAPHS)
def test_emits_the_same_graph(name: str) -> None:
    assert text(name) == (FOLDER / f"{name}.txt").read_text()


if __name__ == "__main__":
    for each in GRAPHS:
        (FOLDER / f"{each}.txt").write_text(text(each))
