"""Sequences: of known length as lists of values, and those that a Loop fills as stacks."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper, parser

import onnxlrp
from tests.lower.derive import check_gradient, check_ledger

X = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
NUMBERS = {
    "zero": np.array(0, np.int64),
    "one": np.array(1, np.int64),
    "last": np.array(-1, np.int64),
    "five": np.array(5, np.int64),
    "two": np.array([2], np.int64),
    "sizes": np.array([1, 3], np.int64),
    "yes": np.array(True),
    "half": np.float32(0.5),
    "parts": np.array([1, 2], np.int64),
    "rows": np.array([0], np.int64),
}
TURN = """body = st (int64 i, bool ci, float[4,3] h, seq(float) s) =>
    (bool co, float[4,3] hn, seq(float) sn)
    { co = Identity(ci) q = Sin(h) r = Mul(q, half) hn = Add(r, h) v = Mul(hn, q)
      sn = SequenceInsert(s, v) }"""

CASES = {
    "split, insert, concat": """
        s = SplitToSequence<axis = 1, keepdims = 1>(x)
        a = SequenceAt(s, one) b = Sin(a) e = SequenceEmpty() f = SequenceInsert(e, b)
        c = Mul(a, a) g = SequenceInsert(f, c, zero) h = SequenceInsert(g, a)
        y = ConcatFromSequence<axis = 1>(h)""",
    "construct, erase, new axis": """
        a = Sin(x) b = Mul(x, x) c = Exp(x) s = SequenceConstruct(a, b, c)
        t = SequenceErase(s, one) y = ConcatFromSequence<axis = 0, new_axis = 1>(t)""",
    "split in sizes": """
        s = SplitToSequence<axis = 0>(x, sizes) a = SequenceAt(s, last) b = Sin(a)
        y = Mul(b, b)""",
    "split in equal sizes": """
        s = SplitToSequence<axis = 0>(x, two_) a = SequenceAt(s, one) y = Sin(a)""",
    "split without the axis": """
        s = SplitToSequence<axis = 0, keepdims = 0>(x) a = SequenceAt(s, one)
        b = SequenceAt(s, last) y = Mul(a, b)""",
    "length": """
        s = SplitToSequence<axis = 1>(x) n = SequenceLength(s) f = Cast<to = 1>(n)
        a = SequenceAt(s, zero) y = Mul(a, f)""",
    "through a loop": f"""
        e = SequenceEmpty() h_n, s = Loop<{TURN}>(five, yes, x, e)
        y = ConcatFromSequence<axis = 0, new_axis = 1>(s)""",
}
FILLED = {
    "new first axis": "c = ConcatFromSequence<axis = 0, new_axis = 1>(s)",
    "new middle axis": "c = ConcatFromSequence<axis = 1, new_axis = 1>(s)",
    "new last axis": "c = ConcatFromSequence<axis = -1, new_axis = 1>(s)",
    "first axis": "c = ConcatFromSequence<axis = 0>(s)",
    "last axis": "c = ConcatFromSequence<axis = 1>(s)",
    "one entry": "c = SequenceAt(s, last)",
    "length": "n = SequenceLength(s) f = Cast<to = 1>(n) c = Mul(h_n, f)",
}


def model_of(body: str, inputs: str = "float[4,3] x") -> onnx.ModelProto:
    head = f'<ir_version: 10, opset_import: ["" : 21]> g ({inputs}) => (float[A,B] y)'
    model = parser.parse_model(f"{head} {{ {body} }}")
    names = {**NUMBERS, "two_": np.array(2, np.int64)}
    for name, array in names.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    dims = model.graph.output[0].type.tensor_type.shape.dim
    if "without" in body or "keepdims = 0" in body:
        dims.pop()
    if "new_axis" in body:
        dims.add().dim_param = "C"
    return model


@pytest.mark.parametrize("name", CASES)
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    check_gradient(model_of(CASES[name]), {"x": X})


@pytest.mark.parametrize("name", CASES)
def test_ledger_closes(name: str) -> None:
    check_ledger(model_of(CASES[name]), {"x": X}, "epsilon")


def filled(name: str) -> onnx.ModelProto:
    """A Loop whose number of turns is an input fills a sequence."""
    body = f"e = SequenceEmpty() h_n, s = Loop<{TURN}>(turns, yes, x, e) {FILLED[name]} "
    return model_of(body + "d = Sin(c) y = Add(d, c)", "float[4,3] x, int64 turns")


@pytest.mark.parametrize("turns", [1, 3])
@pytest.mark.parametrize("name", FILLED)
def test_a_sequence_of_unknown_length(name: str, turns: int) -> None:
    feeds = {"x": X, "turns": np.array(turns, np.int64)}
    check_gradient(filled(name), feeds, inputs=["x"])
    check_ledger(filled(name), feeds, "epsilon", inputs=["x"])


def test_a_sequence_that_its_turns_read_is_refused() -> None:
    body = """e = SequenceEmpty() f = SequenceInsert(e, x)
        s = Loop<body = st (int64 i, bool ci, seq(float) s) => (bool co, seq(float) sn)
            { co = Identity(ci) a = SequenceAt(s, zero) b = Sin(a) sn = SequenceInsert(s, b)
            }>(turns, yes, f)
        y = SequenceAt(s, one)"""
    model = model_of(body, "float[4,3] x, int64 turns")
    with pytest.raises(onnxlrp.UnsupportedOp, match="length of its sequence is not known") as found:
        onnxlrp.compile(model, composite="epsilon")
    assert "\n" not in str(found.value)


def test_an_input_that_goes_through_a_sequence_keeps_its_name() -> None:
    body = "s = SequenceConstruct(x) a = SequenceAt(s, zero) y = Mul(a, x)"
    graph = onnxlrp.compile(model_of(body), composite="epsilon", target="seed")
    assert [item.name for item in graph.model.graph.output] == ["y", "relevance/x"]
