"""Normalisations and embeddings of ONNX Runtime: gradient against differences of its outputs."""

import numpy as np
import pytest

import onnxlrp
from tests.canonize.sites import view_of
from tests.engine import Session
from tests.lower.microsoft import Case, check, draw

ROWS = {"x": ("N", "S", 6), "s": ("N", "S", 6)}
WEIGHTS = {"g": draw(1, 6), "b": draw(2, 6), "c": draw(3, 6)}


def norm(name: str, inputs: str, outputs: str = "n", tail: str = "y = Identity (n)") -> Case:
    """A normalisation of `[N, S, 6]`, and what reads it."""
    body = f"{outputs} = com.microsoft.{name} <epsilon=0.01> ({inputs}) {tail}"
    given = {"x": draw(4, 2, 3, 6)}
    if " s" in inputs:
        given["s"] = draw(5, 2, 3, 6)
    kept = {key: value for key, value in WEIGHTS.items() if key in inputs.split(", ")}
    return Case(f"{name} ({inputs}) {outputs}", body, given, kept, ROWS)


BOTH = "y = Mul (n, t)"
CASES = [
    norm("SkipLayerNormalization", "x, s, g"),
    norm("SkipLayerNormalization", "x, s, g, b"),
    norm("SkipLayerNormalization", "x, s, g, b, c"),
    norm("SkipLayerNormalization", "x, s, g, b, c", "n, , , t", BOTH),
    norm("SkipLayerNormalization", "x, x, g, b"),
    norm("SkipSimplifiedLayerNormalization", "x, s, g"),
    norm("SkipSimplifiedLayerNormalization", "x, s, g, c"),
    norm("SkipSimplifiedLayerNormalization", "x, s, g", "n, , , t", BOTH),
    Case(
        "a map before, its bias inside",
        "m = MatMul (x, w) y = com.microsoft.SkipLayerNormalization (x, m, g, b, c)",
        {"x": draw(4, 2, 3, 6)},
        {**WEIGHTS, "w": draw(6, 6, 6)},
        ROWS,
    ),
    Case(
        "a skip without a batch",
        "y = com.microsoft.SkipLayerNormalization (x, k, g, b)",
        {"x": draw(4, 2, 3, 6)},
        {"g": WEIGHTS["g"], "b": WEIGHTS["b"], "k": draw(7, 1, 3, 6)},
        {"x": ("N", 3, 6)},
    ),
]


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradient_is_that_of_the_deployed_operator(case: Case, symbolic: bool) -> None:
    check(case, symbolic=symbolic)


def _embedding(inputs: str) -> Case:
    ids = {
        "ids": np.array([[1, 3, 2], [0, 3, 1]], np.int32),
        "segments": np.array([[0, 1, 1], [0, 0, 1]], np.int32),
        "mask": np.array([[1, 1, 0], [1, 1, 1]], np.int32),
        "places": np.array([[2, 1, 0], [0, 1, 2]], np.int32),
    }
    names = inputs.split(", ")
    tables = {
        "words": draw(8, 4, 6), "positions": draw(9, 5, 6), "kinds": draw(10, 2, 6),
        "g": WEIGHTS["g"], "b": WEIGHTS["b"],
    }  # fmt: skip
    body = f"n, k, t = com.microsoft.EmbedLayerNormalization ({inputs}) u = Mul (n, t)"
    cast = " f = Cast <to=1> (k) h = Unsqueeze (f, axes) y = Add (u, h)"
    return Case(
        inputs,
        body + cast,
        {key: value for key, value in ids.items() if key in names},
        {
            **{key: value for key, value in tables.items() if key in names},
            "axes": np.array([1, 2], np.int64),
        },
        dict.fromkeys(ids, ("N", "S")),
    )


EMBEDDINGS = [
    "ids, segments, words, positions, kinds, g, b, mask",
    "ids, segments, words, positions, kinds, g, b, , places",
    "ids, , words, positions, , g, b, mask",
]


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("inputs", EMBEDDINGS)
def test_tokens_of_an_embedding_get_what_their_rows_get(inputs: str, symbolic: bool) -> None:
    """Moving every element of the row of one word changes y as the relevance of its tokens says.

    With the gradient, the relevance of a token is the sum of the derivatives over its row.
    """
    case = _embedding(inputs)
    model = case.model(symbolic=symbolic)
    session = Session(model)
    deployed = session(case.inputs)["y"]
    weights = draw(99, *deployed.shape)
    settings = {"composite": "gradient", "target": "seed", "inputs": ["ids"]}
    found = Session(onnxlrp.compile(model, **settings).model)({**case.inputs, "seed": weights})
    np.testing.assert_array_equal(found["y"], deployed)
    relevance = found["relevance/ids"]
    words = case.constants["words"]
    for word in range(len(words)):
        expected = _change(case, word, weights)
        mine = float(relevance[case.inputs["ids"] == word].sum())
        np.testing.assert_allclose(mine, expected, rtol=0, atol=STEP_ERROR)


STEP_ERROR = 5e-3
"""float32 rounds a sum of about 30 by 4e-6; differences over a step of 1e-2 leave 4e-4 of it."""


def _change(case: Case, word: int, weights: np.ndarray) -> float:
    """Central difference of the weighted sum as the row of one word is moved."""
    step, total = 1e-2, 0.0
    for sign in (1, -1):
        words = case.constants["words"].copy()
        words[word] += sign * step
        moved = Case(
            case.name, case.body, case.inputs, {**case.constants, "words": words}, case.symbols
        )
        y = Session(moved.model(symbolic=False))(case.inputs)["y"]
        total += sign * float((y.astype(np.float64) * weights).sum())
    return total / (2 * step)


def test_a_root_mean_square_is_one_normalisation() -> None:
    """The primitives that the view emits are recognised as exporters' are."""
    case = norm("SkipSimplifiedLayerNormalization", "x, s, g")
    assert [site.op for site in view_of(case.model(symbolic=True))] == [
        "Add", "RMSNormalization", "Identity",
    ]  # fmt: skip


def test_a_bias_stands_behind_the_map() -> None:
    """Not behind the skip, so that the map and its bias are one."""
    case = CASES[-2]
    assert case.name == "a map before, its bias inside"
    assert [site.op for site in view_of(case.model(symbolic=True))] == [
        "MatMul", "Add", "LayerNormalization",
    ]  # fmt: skip
    product = next(site for site in view_of(case.model(symbolic=True)) if site.op == "MatMul")
    assert len(product.inputs) == 3
