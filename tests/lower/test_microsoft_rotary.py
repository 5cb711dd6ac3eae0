"""Rotated positions and grouped queries: gradient against differences of ONNX Runtime's outputs."""

import numpy as np
import pytest

from tests.lower.microsoft import Case, check, draw

TABLES = {"c": np.cos(draw(1, 9, 2)), "s": np.sin(draw(1, 9, 2))}


def rotary(name: str, settings: str, x: np.ndarray, places: np.ndarray, symbols: tuple) -> Case:
    """Two pairs in each head of four."""
    body = f"y = com.microsoft.RotaryEmbedding {settings} (x, places, c, s)"
    named = {"x": symbols, "places": ("N", "S")[: places.ndim] if places.ndim > 1 else (1,)}
    return Case(name, body, {"x": x, "places": places}, TABLES, named, x.ndim)


FLAT, DEEP = draw(2, 2, 3, 8), draw(3, 2, 2, 3, 4)
WIDE = draw(4, 2, 3, 12)
AT = np.array([[0, 1, 2], [4, 5, 7]], np.int64)
OFFSET = np.array([3], np.int64)
ROTARY = [
    rotary("flat", "", FLAT, AT, ("N", "S", 8)),
    rotary("flat, offset", "", FLAT, OFFSET, ("N", "S", 8)),
    rotary("heads", "", DEEP, AT, ("N", 2, "S", 4)),
    rotary("heads, offset", "", DEEP, OFFSET, ("N", 2, "S", 4)),
    rotary("interleaved", "<interleaved=1>", FLAT, AT, ("N", "S", 8)),
    rotary("heads, interleaved", "<interleaved=1>", DEEP, AT, ("N", 2, "S", 4)),
    rotary("part", "<rotary_embedding_dim=4, num_heads=2>", WIDE, AT, ("N", "S", 12)),
    rotary(
        "part, interleaved",
        "<rotary_embedding_dim=4, num_heads=2, interleaved=1>",
        WIDE,
        AT,
        ("N", "S", 12),
    ),
]


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("case", ROTARY, ids=lambda case: case.name)
def test_gradient_of_rotary_embedding(case: Case, symbolic: bool) -> None:
    check(case, symbolic=symbolic)


def grouped(
    name: str, settings: str, inputs: str, *extra: tuple, body: str = "", shape: tuple = (2, 3)
) -> Case:
    """Two heads of sixteen that share one key; extra inputs are (name, array, symbols)."""
    before = body or "k = MatMul (x, wk) v = MatMul (x, wv) "
    node = f"com.microsoft.GroupQueryAttention <num_heads=2, kv_num_heads=1{settings}> ({inputs})"
    given = {"x": draw(5, *shape, 32) / 2} | {item[0]: item[1] for item in extra}
    symbols = {"x": ("N", "S", 32)} | {item[0]: item[2] for item in extra}
    known = {
        "wk": draw(6, 32, 16) / 4, "wv": draw(7, 32, 16) / 4, "wp": draw(8, 32, 64) / 4,
        "c": np.cos(draw(9, 9, 8)), "s": np.sin(draw(9, 9, 8)), "h": draw(10, 2),
    }  # fmt: skip
    text = f"{before}y, o, r = {node}"
    used = text.replace(",", " ").replace("(", " ").replace(")", " ").split()
    kept = {key: value for key, value in known.items() if key in used}
    return Case(name, text, given, kept, symbols)


def lengths(*ends: int) -> tuple:
    """What there is of each sample, less one."""
    return "e", np.array(ends, np.int32), ("N",)


def total(count: int) -> tuple:
    """The longest of the samples."""
    return "t", np.array(count, np.int32), ()


OLD = ("p", draw(11, 1, 1, 4, 16), ("N", 1, "P", 16))
OLDER = ("q", draw(12, 1, 1, 4, 16), ("N", 1, "P", 16))
OLDS = ("p", draw(11, 2, 1, 4, 16), ("N", 1, "P", 16))
OLDERS = ("q", draw(12, 2, 1, 4, 16), ("N", 1, "P", 16))
PROMPT = (lengths(2, 2), total(3))
BIAS = ("a", draw(13, 1, 2, 3, 3), (1, 2, "S", "S"))
PACKED = "k = MatMul (x, wp) "

GROUPED = [
    grouped("prompt", "", "x, k, v, , , e, t", *PROMPT),
    grouped("ragged prompt", "", "x, k, v, , , e, t", lengths(1, 2), total(3)),
    grouped("scale", ", scale=0.2", "x, k, v, , , e, t", *PROMPT),
    grouped("softcap", ", softcap=1.5", "x, k, v, , , e, t", *PROMPT),
    grouped("window", ", local_window_size=2", "x, k, v, , , e, t", *PROMPT),
    grouped("sink", "", "x, k, v, , , e, t, , , , , h", *PROMPT),
    grouped("smooth", ", smooth_softmax=1", "x, k, v, , , e, t", *PROMPT),
    grouped("added", "", "x, k, v, , , e, t, , , , a", *PROMPT, BIAS),
    grouped("packed", "", "k, , , , , e, t", *PROMPT, body=PACKED),
    grouped("rotated", ", do_rotary=1", "x, k, v, , , e, t, c, s", *PROMPT),
    grouped(
        "rotated, interleaved, packed",
        ", do_rotary=1, rotary_interleaved=1",
        "k, , , , , e, t, c, s",
        *PROMPT,
        body=PACKED,
    ),
    grouped("past", "", "x, k, v, p, q, e, t", OLD, OLDER, lengths(6), total(7), shape=(1, 3)),
    grouped(
        "past, rotated",
        ", do_rotary=1",
        "x, k, v, p, q, e, t, c, s",
        OLD,
        OLDER,
        lengths(6),
        total(7),
        shape=(1, 3),
    ),
    grouped(
        "past, window",
        ", local_window_size=3",
        "x, k, v, p, q, e, t",
        OLD,
        OLDER,
        lengths(6),
        total(7),
        shape=(1, 3),
    ),
    grouped(
        "ragged past, rotated",
        ", do_rotary=1",
        "x, k, v, p, q, e, t, c, s",
        OLDS,
        OLDERS,
        lengths(3, 4),
        total(5),
        shape=(2, 1),
    ),
]


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("case", GROUPED, ids=lambda case: case.name)
def test_gradient_of_group_query_attention(case: Case, symbolic: bool) -> None:
    check(case, symbolic=symbolic)
