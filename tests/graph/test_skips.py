"""Which operand of an Add is the skip connection."""

import numpy as np
import pytest

from onnxlrp.graph.load import load
from onnxlrp.graph.skips import Skip, skip_of
from tests.engine import model_of

BRANCH = "m1 = MatMul(x, w) m2 = Relu(m1) m = MatMul(m2, w)"

FOUND = {
    "identity": (f"{BRANCH} y = Add(m, x)", Skip(1, identity=True)),
    "identity turned": (f"{BRANCH} y = Add(x, m)", Skip(0, identity=True)),
    "identity of a hidden value": (
        "h = Relu(x) m = MatMul(h, w) y = Add(m, h)",
        Skip(1, identity=True),
    ),
    "identity through moves": (
        f"{BRANCH} s1 = Identity(x) s = Transpose<perm = [0, 1]>(s1) y = Add(m, s)",
        Skip(1, identity=True),
    ),
    "projection": (f"{BRANCH} s = MatMul(x, w) y = Add(m, s)", Skip(1, identity=False)),
    "projection turned": (f"{BRANCH} s = MatMul(x, w) y = Add(s, m)", Skip(0, identity=False)),
    "projection of a hidden value": (
        f"h0 = MatMul(x, w) h = Relu(h0) {BRANCH.replace('x', 'h')} s = MatMul(h, w) y = Add(m, s)",
        Skip(1, identity=False),
    ),
    "activation on the skip": (f"{BRANCH} s = Tanh(x) y = Add(m, s)", Skip(1, identity=False)),
    "equal branches": ("a = MatMul(x, w) b = MatMul(x, v) y = Add(a, b)", None),
    "the same value": ("a = MatMul(x, w) y = Add(a, a)", None),
    "three": (f"{BRANCH} y = Sum(m, x, x)", None),
}


@pytest.mark.parametrize("name", FOUND)
def test_skip(name: str) -> None:
    body, wanted = FOUND[name]
    square = {k: np.eye(3, dtype=np.float32) for k in ("w", "v") if f", {k})" in body}
    graph = load(model_of(body, {"x": ("N", 3)}, square))
    node = graph.producer(graph.values["y"])
    assert node is not None
    operands = tuple(value for value in node.inputs if value is not None)
    assert skip_of(graph, operands) == wanted


def test_a_block_behind_another_one() -> None:
    """The nearest common ancestor counts: weights before it are on both sides."""
    body = (
        "a = MatMul(x, w) y1 = Add(a, x) h = Relu(y1) b = MatMul(h, w) c = Relu(b) "
        "m = MatMul(c, w) s = MatMul(h, w) y = Add(s, m)"
    )
    graph = load(model_of(body, {"x": ("N", 3)}, {"w": np.eye(3, dtype=np.float32)}))
    pair = (graph.values["s"], graph.values["m"])
    assert skip_of(graph, pair) == Skip(0, identity=False)
