"""Operators that their schema defines by simpler ones, at the opsets that have them."""

import numpy as np
import pytest

from tests.lower.microsoft import SMOOTH, Case, check, draw

X = draw(1, 2, 3, 8)
NAMED = ("N", "S", 8)
DEEP = draw(2, 2, 2, 3, 4)
DEEP_NAMED = ("N", 2, "S", 4)


def flat(name: str, settings: str, inputs: str, opset: int, *extra: tuple) -> Case:
    """Attention of two heads; keys and values are parts of x."""
    text = "k = MatMul (x, w) v = MatMul (x, u) "
    text += f"y = Attention <q_num_heads=2, kv_num_heads=2{settings}> ({inputs})"
    constants = {"w": draw(3, 8, 8) / 2, "u": draw(4, 8, 8) / 2}
    given = {"x": X} | {item[0]: item[1] for item in extra}
    symbols = {"x": NAMED} | {item[0]: item[2] for item in extra}
    return Case(f"{name} {opset}", text, given, constants, symbols, 3, SMOOTH, opset)


OLD = ("p", draw(8, 2, 2, 4, 4), ("N", 2, "P", 4))
OLDER = ("q", draw(9, 2, 2, 4, 4), ("N", 2, "P", 4))


def with_past(settings: str) -> Case:
    """Keys and values of earlier tokens stand before those of x."""
    text = "k = MatMul (x, w) v = MatMul (x, u) y, o, r = Attention "
    text += f"<q_num_heads=2, kv_num_heads=2{settings}> (x, k, v, , p, q)"
    given = {"x": X} | {item[0]: item[1] for item in (OLD, OLDER)}
    symbols = {"x": NAMED} | {item[0]: item[2] for item in (OLD, OLDER)}
    constants = {"w": draw(3, 8, 8) / 2, "u": draw(4, 8, 8) / 2}
    return Case(f"past{settings}", text, given, constants, symbols, 3, SMOOTH, 23)


def deep(name: str, settings: str, opset: int) -> Case:
    """Attention of values that are in heads already."""
    text = f"k = MatMul (x, w) y = Attention {settings} (x, k, x)"
    symbols = {"x": DEEP_NAMED}
    constants = {"w": draw(3, 4, 4)}
    return Case(f"{name} {opset}", text, {"x": DEEP}, constants, symbols, 4, SMOOTH, opset)


ALLOWED = ("m", np.array([[1, 0, 1], [1, 1, 0], [0, 1, 1]], bool), ("S", "T"))
ADDED = ("m", draw(5, 2, 2, 3, 3), ("N", 2, "S", "T"))


def grouped(opset: int) -> Case:
    """Two heads share one key."""
    text = "k = MatMul (x, w) v = MatMul (x, u) "
    text += "y = Attention <q_num_heads=2, kv_num_heads=1> (x, k, v)"
    constants = {"w": draw(3, 8, 4), "u": draw(4, 8, 4)}
    title = f"grouped {opset}"
    return Case(title, text, {"x": X}, constants, {"x": NAMED}, 3, SMOOTH, opset)


def rotary(name: str, settings: str, x: np.ndarray, symbols: tuple) -> Case:
    """Two pairs in each head of four."""
    tables = {"c": np.cos(draw(6, 9, 2)), "s": np.sin(draw(6, 9, 2))}
    places = {"p": np.array([[0, 1, 2], [4, 5, 7]], np.int64)}
    body = f"y = RotaryEmbedding {settings} (x, c, s, p)"
    named = {"x": symbols, "p": ("N", "S")}
    return Case(name, body, {"x": x, **places}, tables, named, x.ndim, SMOOTH, 23)


CASES = [
    *(flat("plain", "", "x, k, v", opset) for opset in (23, 24)),
    *(flat("causal", ", is_causal=1", "x, k, v", opset) for opset in (23, 24)),
    flat("scale", ", scale=0.3", "x, k, v", 23),
    flat("softcap", ", softcap=1.5", "x, k, v", 23),
    flat("allowed", "", "x, k, v, m", 23, ALLOWED),
    flat("added", "", "x, k, v, m", 24, ADDED),
    *(deep("heads", "", opset) for opset in (23, 24)),
    with_past(""),
    with_past(", is_causal=1"),
    deep("heads causal", "<is_causal=1>", 23),
    *(grouped(opset) for opset in (23, 24)),
    rotary("rotary", "<num_heads=2>", X, NAMED),
    rotary("rotary interleaved", "<num_heads=2, interleaved=1>", X, NAMED),
    rotary("rotary of heads", "", DEEP, DEEP_NAMED),
    *(
        Case(
            f"rms {opset}",
            "y = RMSNormalization <epsilon=0.01> (x, g)",
            {"x": X},
            {"g": draw(7, 8)},
            {"x": NAMED},
            3,
            SMOOTH,
            opset,
        )
        for opset in (23, 24)
    ),
    *(
        Case(name, f"y = {name} (x)", {"x": X}, {}, {"x": NAMED}, 3, SMOOTH, 24)
        for name in ("Mish", "Swish")
    ),
]


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradient_is_that_of_the_deployed_operator(case: Case, symbolic: bool) -> None:
    check(case, symbolic=symbolic)
