"""Factors that only switch the other factor."""

import numpy as np
import pytest
from onnx import ModelProto

import onnxlrp
from tests.canonize.sites import reasons, view_of
from tests.engine import Session, model_of

SAME = 1e-5
REASON = "no factor, or both, come from a sigmoid or softmax"
RNG = np.random.default_rng(0)

CONSTANTS = {
    "one": np.float32(1),
    "two": np.float32(2),
    "zero": np.float32(0),
    "mask": np.tril(np.ones((4, 4), bool)),
    "cut": np.array([2, 2]),
    "axis": np.array([1]),
    "wide": np.array([1, 1, 4]),
    "squeezed": RNG.standard_normal((4, 2)).astype(np.float32),
    "excited": RNG.standard_normal((2, 4)).astype(np.float32),
    "k": RNG.standard_normal((4, 4, 1)).astype(np.float32),
    "column": np.array([-1, 4, 1]),
}
SHAPES = {"x": ("N", 4, 4), "z": ("N", 4, 4)}

SWITCHED = {
    "sigmoid times x": ("s = Sigmoid(z) y = Mul(s, x)", 0),
    "x times sigmoid": ("s = Sigmoid(z) y = Mul(x, s)", 1),
    "hard sigmoid": ("s = HardSigmoid(z) y = Mul(x, s)", 1),
    "one minus sigmoid": ("s = Sigmoid(z) o = Sub(one, s) y = Mul(o, x)", 0),
    "product of x with softmax": ("s = Softmax(z) y = Mul(s, x)", 0),
    "attention": ("s = Softmax(z) y = MatMul(s, x)", 0),
    "attention from the right": (
        "s = Softmax(z) r = Transpose<perm = [0, 2, 1]>(s) y = MatMul(x, r)",
        1,
    ),
    "attention masked behind": (
        (
            "s = Softmax(z) d = Dropout(s) c = Cast<to = 1>(d) w = Where(mask, c, zero)"
            " y = MatMul(w, x)"
        ),
        0,
    ),
    "attention masked, turned": (
        "s = Softmax(z) w = Where(mask, zero, s) y = MatMul(w, x)",
        0,
    ),
    "either of two switches": (
        "s = Softmax(z) r = Sigmoid(z) w = Where(mask, r, s) y = MatMul(w, x)",
        0,
    ),
    "switches side by side": (
        "s = Sigmoid(z) a, b = Split<axis = 2>(s, cut) j = Concat<axis = 2>(b, a) y = Mul(j, x)",
        0,
    ),
    "squeeze and excitation": (
        (
            "p = ReduceMean<keepdims = 0>(x, two_axis) h = MatMul(p, squeezed) r = Relu(h)"
            " e = MatMul(r, excited) s = Sigmoid(e) g = Reshape(s, column) y = Mul(x, g)"
        ),
        1,
    ),
}

PLAIN = {
    "no switch": "t = Tanh(z) y = Mul(x, t)",
    "both switches": "s = Sigmoid(z) r = Sigmoid(x) y = Mul(s, r)",
    "a switch by itself": "s = Sigmoid(x) y = Mul(s, s)",
    "two minus sigmoid": "s = Sigmoid(z) o = Sub(two, s) y = Mul(o, x)",
    "sigmoid minus one": "s = Sigmoid(z) o = Sub(s, one) y = Mul(o, x)",
    "scaled sigmoid": "s = Sigmoid(z) o = Mul(s, two) y = Mul(o, x)",
    "either a switch or not": "s = Sigmoid(z) w = Where(mask, s, z) y = Mul(w, x)",
    "a switch or not, turned": "s = Sigmoid(z) w = Where(mask, z, s) y = Mul(w, x)",
    "a switch beside a value": (
        "s = Sigmoid(z) a, b = Split<axis = 2>(s, cut) c, d = Split<axis = 2>(z, cut)"
        " j = Concat<axis = 2>(a, d) y = Mul(j, x)"
    ),
    "softmax through a map": "s = Softmax(z) m = MatMul(s, k0) y = MatMul(m, x)",
}


def gate(body: str) -> ModelProto:
    words = {word.strip(",()") for word in body.replace("(", " ").replace("<", " ").split()}
    constants = CONSTANTS | {"two_axis": np.array([2]), "k0": CONSTANTS["k"][:, :, 0]}
    used = {name: np.asarray(array) for name, array in constants.items() if name in words}
    return model_of(body, {n: s for n, s in SHAPES.items() if n in words}, used)


def switches(source: ModelProto) -> dict[str, int | None]:
    """The switch of the last product."""
    return {
        site.output.name: site.switch
        for site in view_of(source)
        if site.op in {"MatMul", "Mul"} and all(value.variable for value in site.sources)
    }


def draw(source: ModelProto) -> dict[str, np.ndarray]:
    """Away from 2.5, where a hard sigmoid has no derivative."""
    rng = np.random.default_rng(3)
    return {v.name: rng.uniform(-2, 2, (2, 4, 4)).astype(np.float32) for v in source.graph.input}


@pytest.mark.parametrize("name", SWITCHED)
def test_switch(name: str) -> None:
    """The switch takes nothing; the gradient still goes through both factors."""
    body, index = SWITCHED[name]
    source = gate(body)
    assert switches(source)["y"] == index
    feeds = draw(source)
    seed = np.random.default_rng(4).standard_normal((2, 4, 4)).astype(np.float32)
    made = onnxlrp.compile(source, composite="epsilon", target="seed", ledger=True)
    outputs = Session(made.model)({**feeds, "seed": seed})
    if "z" in feeds:
        np.testing.assert_array_equal(outputs["relevance/z"], np.zeros((2, 4, 4), np.float32))
    if name.startswith("squeeze"):
        np.testing.assert_array_equal(outputs["relevance/x"], seed)
    table = outputs["ledger"]
    assert np.abs(table[:, :, 7]).max() <= SAME * max(np.abs(seed).sum(), np.abs(table).max())
    gradient = onnxlrp.compile(source, composite="gradient", target="seed")
    found = Session(gradient.model)({**feeds, "seed": seed})
    for key in feeds:
        assert np.abs(found[f"relevance/{key}"]).max() > 0
        finite(source, feeds, seed, key, found[f"relevance/{key}"])


def finite(
    source: ModelProto, feeds: dict, seed: np.ndarray, key: str, gradient: np.ndarray
) -> None:
    """The gradient along a drawn direction is the difference quotient."""
    run, step = Session(source), np.float32(1e-2)
    along = np.random.default_rng(5).standard_normal(seed.shape).astype(np.float32)
    ahead, behind = (
        run({**feeds, key: feeds[key] + sign * step * along})["y"].astype(float) for sign in (1, -1)
    )
    wanted = (seed * (ahead - behind)).sum() / (2 * float(step))
    size = np.abs(gradient * along).sum()
    np.testing.assert_allclose((gradient * along).sum(), wanted, rtol=0, atol=2e-3 * size)


@pytest.mark.parametrize("name", PLAIN)
def test_no_switch(name: str) -> None:
    source = gate(PLAIN[name])
    assert switches(source)["y"] is None
    assert REASON in reasons(view_of(source))


def test_a_kept_value_is_not_silenced() -> None:
    """Where a mask picks z itself, z gets its half; where it picks the sigmoid as well."""
    source = gate(PLAIN["either a switch or not"])
    feeds = draw(source)
    seed = np.ones((2, 4, 4), np.float32)
    made = onnxlrp.compile(source, composite="epsilon", target="seed").model
    found = Session(made)({**feeds, "seed": seed})
    np.testing.assert_allclose(found["relevance/x"], seed / 2, rtol=1e-6)
    np.testing.assert_allclose(found["relevance/z"], seed / 2, rtol=1e-6)


def test_constants_are_no_factors() -> None:
    assert switches(gate("s = Sigmoid(x) y = Mul(s, two)")) == {}


def test_swish_is_no_gate() -> None:
    view = view_of(gate("s = Sigmoid(x) y = Mul(s, x)"))
    assert [site.op for site in view] == ["Swish"]
