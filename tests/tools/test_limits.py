"""The arithmetic limit against counts by hand."""

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, numpy_helper, parser

from models import builders
from models.lstm import Stack, lstm
from tools.bench.limits import NoCountError, counts, limit

ONE = {"N": 1}
EXACT = 1e-12  # of sums of small integers

CNN = """
<ir_version: 10, opset_import: ["" : 21]>
cnn (float[N,2,4,4] x) => (float[N,2] y) {
  a = Conv<pads = [1,1,1,1]>(x, w1)
  b = Relu(a)
  c = Conv(b, w2)
  d = Relu(c)
  p = GlobalAveragePool(d)
  f = Flatten(p)
  y = Gemm(f, w3)
}"""

ATTENTION = """
<ir_version: 10, opset_import: ["" : 21]>
attention (float[N,3,4] x) => (float[N,2] y) {
  q = MatMul(x, wq)
  k = MatMul(x, wk)
  v = MatMul(x, wv)
  t = Transpose<perm = [0,2,1]>(k)
  s = MatMul(q, t)
  p = Softmax<axis = -1>(s)
  z = MatMul(p, v)
  axes = Constant<value = int64[1] {1}>()
  m = ReduceMean<keepdims = 0>(z, axes)
  y = MatMul(m, head)
}"""

ASIDE = """
<ir_version: 10, opset_import: ["" : 21]>
aside (float[N,4] x) => (float[N,2] y, int64[N,1] best) {
  y = MatMul(x, w)
  scores = MatMul(x, u)
  best = ArgMax<axis = 1>(scores)
}"""


def model(text: str, **shapes: tuple[int, ...]) -> ModelProto:
    found = parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        values = rng.normal(size=shape).astype(np.float32)
        found.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.checker.check_model(found, full_check=True)
    return found


def cnn() -> ModelProto:
    """48 x 18 multiply-adds on a signed input, 80 x 3 and 5 x 2 on others: 864, 240, 10."""
    return model(CNN, w1=(3, 2, 3, 3), w2=(5, 3, 1, 1), w3=(5, 2))


def attention() -> ModelProto:
    """48 each for q, k and v, 36 for each product of live values, 8 for the head."""
    square = (4, 4)
    return model(ATTENTION, wq=square, wk=square, wv=square, head=(4, 2))


CNN_TIMES = [
    ("epsilon", (2, 2, 2)),
    ("gradient", (2, 2, 2)),
    ("epsilon-plus", (5, 3, 2)),
    ("epsilon-plus:negative_input=ignore", (3, 3, 2)),
    ("epsilon-plus-flat", (2, 3, 2)),
    ("epsilon-gamma-box", (3, 3, 2)),
    ("epsilon-alpha2-beta1", (7, 4, 2)),
    ("epsilon-alpha2-beta1-flat", (2, 4, 2)),
    ("excitation-backprop", (5, 3, 3)),
    ("captum-gamma", (3, 3, 3)),
]


@pytest.mark.parametrize(("composite", "times"), CNN_TIMES)
def test_convolutions(composite: str, times: tuple[int, ...]) -> None:
    work = (864, 240, 10)
    expected = sum(n * t for n, t in zip(work, times, strict=True)) / sum(work)
    assert limit(cnn(), composite, ONE) == pytest.approx(expected, rel=EXACT)


def test_a_batch_changes_nothing() -> None:
    single, many = (limit(cnn(), "epsilon-plus", {"N": n}) for n in (1, 8))
    assert single == pytest.approx(many, rel=EXACT)


ATTENTION_WORK = {"q": 48, "k": 48, "v": 48, "s": 36, "z": 36, "y": 8}


@pytest.mark.parametrize(
    ("composite", "times"),
    [
        # The softmax switches and takes nothing: no relevance crosses scores, queries and keys.
        ("epsilon", {"q": 1, "k": 1, "v": 2, "s": 1, "z": 2, "y": 2}),
        ("cp-lrp", {"q": 1, "k": 1, "v": 2, "s": 1, "z": 2, "y": 2}),
        ("attnlrp", {"q": 2, "k": 2, "v": 2, "s": 3, "z": 3, "y": 2}),
        ("gradient", {"q": 2, "k": 2, "v": 2, "s": 3, "z": 3, "y": 2}),
    ],
)
def test_attention(composite: str, times: dict[str, int]) -> None:
    found = {item.name: item for item in counts(named(attention()), composite, ONE)}
    assert {name: item.work for name, item in found.items()} == ATTENTION_WORK
    assert {name: item.times for name, item in found.items()} == times
    total = sum(ATTENTION_WORK[name] * times[name] for name in times)
    expected = total / sum(ATTENTION_WORK.values())
    assert limit(named(attention()), composite, ONE) == pytest.approx(expected, rel=EXACT)


def named(found: ModelProto) -> ModelProto:
    for node in found.graph.node:
        node.name = node.output[0]
    return found


def test_what_no_relevance_crosses_counts_once() -> None:
    found = model(ASIDE, w=(4, 2), u=(4, 6))
    assert limit(found, "epsilon", ONE) == pytest.approx((2 * 8 + 24) / 32, rel=EXACT)


@pytest.mark.parametrize(
    ("composite", "crossed"),
    # Sigmoid gates take nothing by default: only the candidate's products are crossed.
    [("epsilon", 1), ("epsilon:gates=half", 4), ("attnlrp", 4)],
)
def test_turns_of_a_cell(composite: str, crossed: int) -> None:
    size: dict[str, Any] = {"steps": 5, "inputs": 3, "hidden": 4, "layers": 1, "classes": 2}
    gate, head = 5 * (3 + 4) * 4, 8
    expected = (gate * (4 + crossed) + 2 * head) / (4 * gate + head)
    found = limit(lstm(size=Stack(**size)), composite, ONE)
    assert found == pytest.approx(expected, rel=EXACT)


def test_depthwise_and_grouped_convolutions() -> None:
    work = [item.work for item in counts(builders.mixed_cnn(bias=False), "epsilon", ONE)]
    # From the head to the input: 17 x 17 is halved to 9 x 9, doubled to 18 x 18, cut to 6 x 6.
    dense = 8 * 3 * 3 * 4
    conv2 = 8 * 6 * 6 * 8 * 9
    up2, up1 = 8 * 18 * 18 * 2 * 9, 8 * 9 * 9 * 8 * 16
    dilated, depthwise, grouped = 8 * 81 * 16 * 9, 16 * 81 * 9, 16 * 81 * 4 * 9
    assert work == [dense, conv2, up2, up1, dilated, depthwise, grouped, 8 * 81 * 27]


def test_a_rule_that_is_not_counted() -> None:
    with pytest.raises(NoCountError, match=r"Gemm\): no count for Sizes"):
        limit(cnn(), "rap", ONE)
