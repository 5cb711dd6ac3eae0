"""Attention of ONNX Runtime in all its forms: gradient against differences of its outputs."""

import numpy as np
import pytest

from tests.lower.microsoft import Case, check, check_alone, draw

HALF = {"x": ("N", "S", 4)}
PROJECTED = {"w": draw(1, 4, 12), "b": draw(2, 12)}
X = draw(3, 2, 3, 4)


def attention(name: str, settings: str, inputs: str, *extra: tuple, outputs: str = "y") -> Case:
    """Two heads of two; extra inputs are (name, array, symbols)."""
    body = f"{outputs} = com.microsoft.Attention <num_heads=2{settings}> ({inputs})"
    given = {"x": X} | {item[0]: item[1] for item in extra}
    symbols = {**HALF, **{item[0]: item[2] for item in extra}}
    kept = {key: value for key, value in PROJECTED.items() if key in inputs.split(", ")}
    return Case(name, body, given, kept, symbols)


LENGTHS = ("m", np.array([2, 3], np.int32), ("N",))
ENDS = ("m", np.array([3, 2, 1, 0], np.int32), ("M",))
RAW = ("m", np.array([[1, 1, 0], [1, 1, 1]], np.int32), ("N", "S"))
CUBE = ("m", np.array([[[1, 0, 0], [1, 1, 0], [0, 1, 1]]] * 2, np.int32), ("N", "S", "T"))
BIAS = ("a", draw(4, 1, 2, 3, 3), (1, 2, "S", "S"))
PAST = ("p", draw(5, 2, 2, 2, 2, 2), (2, "N", 2, "P", 2))
LONG = ("m", np.array([[1, 1, 0, 1, 1], [0, 1, 1, 1, 1]], np.int32), ("N", "T"))

ATTENTION = [
    attention("plain", "", "x, w, b"),
    attention("scale", ", scale=0.3", "x, w, b"),
    attention("unidirectional", ", unidirectional=1", "x, w, b"),
    attention("lengths", "", "x, w, b, m", LENGTHS),
    attention("ends and starts", "", "x, w, b, m", ENDS),
    attention("raw mask", "", "x, w, b, m", RAW),
    attention("raw mask, low", ", mask_filter_value=-2.0", "x, w, b, m", RAW),
    attention("raw mask, unidirectional", ", unidirectional=1", "x, w, b, m", RAW),
    attention("mask of pairs", "", "x, w, b, m", CUBE),
    attention("added", "", "x, w, b, , , a", BIAS),
    attention("past", ", unidirectional=1", "x, w, b, , p", PAST, outputs="y, o"),
    attention("past, mask", "", "x, w, b, m, p", LONG, PAST, outputs="y, o"),
]


def heads(name: str, body: str, *extra: tuple, settings: str = "") -> Case:
    """MultiHeadAttention over parts of x; extra inputs are (name, array, symbols)."""
    text = body.replace("MHA", f"com.microsoft.MultiHeadAttention <num_heads=2{settings}>")
    given = {"x": X} | {item[0]: item[1] for item in extra}
    symbols = {**HALF, **{item[0]: item[2] for item in extra}}
    known = {
        "w": draw(6, 4, 4), "v": draw(7, 4, 4), "u": draw(8, 4, 6), "b": draw(9, 12),
        "flat": np.array([0, 0, 4], np.int64),
        "packed": np.array([0, 0, 2, 3, 2], np.int64), "pair": np.array([0, 0, 2, 2, 2], np.int64),
        "split": np.array([0, 0, 2, 2], np.int64), "w3": draw(10, 4, 12), "w2": draw(11, 4, 8),
        "d": draw(12, 14),
    }  # fmt: skip
    used = text.replace(",", " ").replace("(", " ").replace(")", " ").split()
    kept = {key: value for key, value in known.items() if key in used or key == "flat"}
    return Case(name, text, given, kept, symbols)


PARTS = "k = MatMul (x, w) v0 = MatMul (x, v) "
SPLIT = "k3 = Reshape (k, split) k4 = Transpose <perm=[0,2,1,3]> (k3) "
SPLIT += "v3 = Reshape (v0, split) v4 = Transpose <perm=[0,2,1,3]> (v3) "
OLD = ("p", draw(13, 2, 2, 2, 2), ("N", 2, "P", 2))
OLDER = ("q", draw(14, 2, 2, 2, 2), ("N", 2, "P", 2))

MULTI_HEAD = [
    heads("three", PARTS + "y = MHA (x, k, v0)"),
    heads("bias", PARTS + "y = MHA (x, k, v0, b)"),
    heads("wide values", "k = MatMul (x, w) v0 = MatMul (x, u) y = MHA (x, k, v0, d)"),
    heads("scale", PARTS + "y = MHA (x, k, v0)", settings=", scale=0.4"),
    heads("unidirectional", PARTS + "y = MHA (x, k, v0)", settings=", unidirectional=1"),
    heads("lengths", PARTS + "y = MHA (x, k, v0, , m)", LENGTHS),
    heads("mask", PARTS + "y = MHA (x, k, v0, b, m)", RAW),
    heads("mask of pairs", PARTS + "y = MHA (x, k, v0, , m)", CUBE),
    heads("added", PARTS + "y = MHA (x, k, v0, , , a)", BIAS),
    heads("past", PARTS + "y, o, r = MHA (x, k, v0, , , , p, q)", OLD, OLDER),
    heads("keys in heads", PARTS + SPLIT + "y = MHA (x, k4, v4)"),
]

FORMS = " y = com.microsoft.MultiHeadAttention <num_heads=2> (q, k1, v1)"
PACKED = [
    (
        heads("packed", "k = MatMul (x, w3) z = Reshape (k, packed) y = MHA (z)"),
        "k = MatMul (x, w3) z = Reshape (k, packed) a, e, i = Split <axis=3, num_outputs=3> (z)"
        "q = Reshape (a, flat) k1 = Reshape (e, flat) v1 = Reshape (i, flat)" + FORMS,
    ),
    (
        heads("packed pair", "k = MatMul (x, w2) z = Reshape (k, pair) y = MHA (x, z)"),
        "k = MatMul (x, w2) z = Reshape (k, pair) e, i = Split <axis=3, num_outputs=2> (z)"
        "q = Identity (x) k1 = Reshape (e, flat) v1 = Reshape (i, flat)" + FORMS,
    ),
]


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("case", ATTENTION, ids=lambda case: case.name)
def test_gradient_of_attention(case: Case, symbolic: bool) -> None:
    check(case, symbolic=symbolic)


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("case", MULTI_HEAD, ids=lambda case: case.name)
def test_gradient_of_multi_head_attention(case: Case, symbolic: bool) -> None:
    check(case, symbolic=symbolic)


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize(("case", "same"), PACKED, ids=["packed", "packed pair"])
def test_packed_values_are_those_taken_apart(case: Case, same: str, symbolic: bool) -> None:
    check_alone(case, same, symbolic=symbolic)
