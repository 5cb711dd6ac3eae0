"""The live set of hand-made graphs, and of a model that runs."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

from tools.bench.live import Step, largest, live_set

CHAIN = [
    Step("Conv", (), {"a": 100}),
    Step("Relu", ("a",), {"b": 100}),
    Step("Conv", ("b",), {"c": 50}),
]
ORDERS = [
    (CHAIN, ["c"], (150, 2)),  # Relu writes over a
    ([CHAIN[0], Step("Softmax", ("a",), {"b": 100}), CHAIN[2]], ["c"], (200, 1)),  # it does not
    (CHAIN, ["a", "c"], (250, 2)),  # a is a result: Relu needs memory of its own, to the end
    ([*CHAIN, Step("Concat", ("a", "c"), {"d": 150})], ["d"], (300, 3)),  # a is read once more
    (
        [CHAIN[0], Step("Reshape", ("a",), {"b": 100}), CHAIN[2]],
        ["c"],
        (150, 2),  # another shape in the same memory
    ),
    (
        [CHAIN[0], Step("Reshape", ("a",), {"b": 100}), Step("Conv", ("a",), {"c": 50}),
         Step("Conv", ("c",), {"e": 10})],
        ["b", "e"],
        (160, 3),  # the result b keeps the memory of a
    ),
]  # fmt: skip


@pytest.mark.parametrize(("order", "results", "expected"), ORDERS)
def test_largest(order: list[Step], results: list[str], expected: tuple[int, int]) -> None:
    assert largest(order, results) == expected


MODEL = """
<ir_version: 10, opset_import: ["" : 21]>
net (float[N,8] x) => (float[N,4] y) {
  a = MatMul(x, w)
  b = Softmax<axis = 1>(a)
  y = MatMul(b, v)
}"""


def test_live_set(tmp_path: Path) -> None:
    """At the softmax: 2 x 16 numbers in, as many out; weights of 8 x 16 and 16 x 4."""
    model = parser.parse_model(MODEL)
    for name, shape in (("w", (8, 16)), ("v", (16, 4))):
        values = np.ones(shape, np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    for node in model.graph.node:
        node.name = node.output[0]
    onnx.save(model, tmp_path / "m.onnx")
    found = live_set(tmp_path / "m.onnx", {"x": np.ones((2, 8), np.float32)}, 1)
    assert (found.values, found.weights, found.step) == (2 * 2 * 16 * 4, 4 * (128 + 64), 1)
    assert found.total == found.values + found.weights
