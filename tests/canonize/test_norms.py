"""Normalisations that exporters write as several operators."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import ModelProto

import onnxlrp
from tests.canonize.sites import reasons, text, view_of
from tests.engine import Session, model_of

EPSILON = 1e-3
SAME = 2e-5
"""Of max|gradient|: sums of four squares in float32 against differences in float64."""

RNG = np.random.default_rng(0)
GAMMA, BETA, EXTRA = RNG.uniform(0.5, 2, (3, 4)).astype(np.float32)
SHAPE = (2, 3, 4)
X = RNG.standard_normal(SHAPE).astype(np.float32)
SEED = RNG.standard_normal(SHAPE).astype(np.float32)

CONSTANTS = {
    "last": np.array([-1]),
    "mid": np.array([1]),
    "both": np.array([1, 2]),
    "none": np.array([0]),
    "two": np.float32(2),
    "three": np.float32(3),
    "half": np.float32(0.5),
    "less": np.float32(-0.5),
    "one": np.float32([1]),
    "eps": np.float32([EPSILON]),
    "g": GAMMA,
    "b": BETA,
    "e": EXTRA,
    "gc": GAMMA[:3, None],
    "bc": BETA[:3, None],
    "wide": np.ones((3, 1, 1, 4), np.float32),
}

MEAN = "m = ReduceMean(x, last) c = Sub(x, m)"
VARIANCE = "q = Pow(c, two) v = ReduceMean(q, last) a = Add(v, eps)"
SIGMA = f"{MEAN} {VARIANCE} s = Sqrt(a)"
INVERSE = (
    f"{MEAN} u = Mul(c, c) v = ReduceMean(u, last) a = Add(v, eps) s = Sqrt(a) i = Reciprocal(s)"
)
ROOT = "q = Pow(x, two) v = ReduceMean(q, last) a = Add(eps, v) s = Sqrt(a)"
HF = "q = Pow(h, two) v = ReduceMean(q, last) a = Add(v, eps) s = Sqrt(a) i = Div(one, s)"

CORE = "ReduceMean + Sub + Pow + ReduceMean + Add + Sqrt"
TF = "ReduceMean + Sub + Mul + ReduceMean + Add + Sqrt + Reciprocal"
MATCHES = {
    "torch": (
        f"{SIGMA} n = Div(c, s) k = Mul(n, g) y = Add(k, b)",
        f"LayerNormalization(x, g, b) [{CORE} + Div + Mul + Add]",
        (True, -1, "g", "b"),
    ),
    "torch turned": (
        f"{SIGMA} n = Div(c, s) k = Mul(g, n) y = Add(b, k)",
        f"LayerNormalization(x, g, b) [{CORE} + Div + Mul + Add]",
        (True, -1, "g", "b"),
    ),
    "torch over channels": (
        f"{SIGMA} n = Div(c, s) k = Mul(gc, n) y = Add(k, bc)".replace("last", "mid"),
        f"LayerNormalization(x, gc, bc) [{CORE} + Div + Mul + Add]",
        (True, 1, "gc", "bc"),
    ),
    "over two axes": (
        f"{SIGMA} n = Div(c, s) k = Mul(n, g) y = Add(k, bc)".replace("last", "both"),
        f"LayerNormalization(x, g, bc) [{CORE} + Div + Mul + Add]",
        (True, (1, 2), "g", "bc"),
    ),
    "power of a half": (
        f"{MEAN} {VARIANCE} s = Pow(a, half) n = Div(c, s) k = Mul(n, g) y = Add(k, b)",
        f"LayerNormalization(x, g, b) [{CORE[:-4]}Pow + Div + Mul + Add]",
        (True, -1, "g", "b"),
    ),
    "power of minus a half": (
        f"{MEAN} {VARIANCE} s = Pow(a, less) n = Mul(s, c) k = Mul(n, g) y = Add(k, b)",
        f"LayerNormalization(x, g, b) [{CORE[:-4]}Pow + Mul + Mul + Add]",
        (True, -1, "g", "b"),
    ),
    "no scale, no offset": (
        f"{SIGMA} y = Div(c, s)",
        f"LayerNormalization(x, <constant>) [{CORE} + Div]",
        (True, -1, "", ""),
    ),
    "no offset": (
        f"{SIGMA} n = Div(c, s) y = Mul(n, g)",
        f"LayerNormalization(x, g) [{CORE} + Div + Mul]",
        (True, -1, "g", ""),
    ),
    "no scale": (
        f"{SIGMA} n = Div(c, s) y = Add(n, b)",
        f"LayerNormalization(x, <constant>, b) [{CORE} + Div + Add]",
        (True, -1, "", "b"),
    ),
    "casts inside": (
        (
            f"{MEAN} d = Cast<to = 1>(c) q = Pow(d, two) v = ReduceMean(q, last)"
            " w = Cast<to = 1>(v) a = Add(w, eps) s = Sqrt(a) f = Identity(c)"
            " n = Div(f, s) y = Mul(n, g)"
        ),
        (
            "LayerNormalization(x, g) [ReduceMean + Sub + Cast + Pow + ReduceMean + Cast + Add"
            " + Sqrt + Identity + Div + Mul]"
        ),
        (True, -1, "g", ""),
    ),
    "tensorflow": (
        f"{INVERSE} k = Mul(i, g) xk = Mul(x, k) mk = Mul(m, k) d = Sub(b, mk) y = Add(xk, d)",
        f"LayerNormalization(x, g, b) [{TF} + Mul + Mul + Mul + Sub + Add]",
        (True, -1, "g", "b"),
    ),
    "tensorflow without scale": (
        f"{INVERSE} xk = Mul(x, i) mk = Mul(m, i) d = Sub(b, mk) y = Add(d, xk)",
        f"LayerNormalization(x, <constant>, b) [{TF} + Mul + Mul + Sub + Add]",
        (True, -1, "", "b"),
    ),
    "tensorflow without offset": (
        f"{INVERSE} k = Mul(i, g) xk = Mul(x, k) mk = Mul(m, k) y = Sub(xk, mk)",
        f"LayerNormalization(x, g) [{TF} + Mul + Mul + Mul + Sub]",
        (True, -1, "g", ""),
    ),
    "keras": (
        (
            f"{INVERSE} k = Mul(i, g) l = Neg(m) mk = Mul(l, k) d = Add(mk, b) xk = Mul(x, k)"
            " y = Add(xk, d)"
        ),
        f"LayerNormalization(x, g, b) [{TF} + Mul + Neg + Mul + Add + Mul + Add]",
        (True, -1, "g", "b"),
    ),
    "keras without offset": (
        f"{INVERSE} l = Neg(m) mk = Mul(l, i) xk = Mul(x, i) y = Add(xk, mk)",
        f"LayerNormalization(x, <constant>) [{TF} + Neg + Mul + Mul + Add]",
        (True, -1, "", ""),
    ),
    "flax": (
        f"{INVERSE} k = Mul(i, g) n = Mul(c, k) y = Add(n, b)",
        f"LayerNormalization(x, g, b) [{TF} + Mul + Mul + Add]",
        (True, -1, "g", "b"),
    ),
    "root mean square": (
        f"{ROOT} n = Div(x, s) y = Mul(n, g)",
        "RMSNormalization(x, g) [Pow + ReduceMean + Add + Sqrt + Div + Mul]",
        (False, -1, "g", ""),
    ),
    "root mean square over channels": (
        f"{ROOT} i = Reciprocal(s) n = Mul(i, x) y = Mul(gc, n)".replace("last", "mid"),
        "RMSNormalization(x, gc) [Pow + ReduceMean + Add + Sqrt + Reciprocal + Mul + Mul]",
        (False, 1, "gc", ""),
    ),
    "hugging face": (
        f"h = Cast<to = 1>(x) {HF} n = Mul(h, i) z = Cast<to = 1>(n) y = Mul(g, z)",
        "RMSNormalization(h, g) [Pow + ReduceMean + Add + Sqrt + Div + Mul + Cast + Mul]",
        (False, -1, "g", ""),
    ),
}


def formula(form: tuple) -> Callable[[np.ndarray], np.ndarray]:
    """Gamma (x - mean) / sqrt(variance + epsilon) + beta, in float64."""
    centred, axis, gamma, beta = form
    g = CONSTANTS[gamma].astype(float) if gamma else 1.0
    b = CONSTANTS[beta].astype(float) if beta else 0.0

    def run(x: np.ndarray) -> np.ndarray:
        c = x - x.mean(axis, keepdims=True) if centred else x
        return g * c / np.sqrt((c * c).mean(axis, keepdims=True) + float(np.float32(EPSILON))) + b

    return run


def slope(run: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Of sum(SEED * run(x)) by central differences."""
    x, h = X.astype(float), 1e-5
    found = np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        step = np.zeros(x.shape)
        step[index] = h
        found[index] = ((run(x + step) - run(x - step)) * SEED).sum() / (2 * h)
    return found


def norm(body: str, shape: tuple = ("N", 3, 4), outputs: tuple = ("y",)) -> ModelProto:
    words = {word.strip(",()") for word in body.replace("(", " ").split()}
    used = {name: np.asarray(array) for name, array in CONSTANTS.items() if name in words}
    inputs = {name: shape for name in ("x", "live") if name in words}
    return model_of(body, inputs, used, outputs=outputs)


@pytest.mark.parametrize("name", MATCHES)
def test_match(name: str) -> None:
    body, after, form = MATCHES[name]
    source = norm(body)
    assert text(view_of(source))[-1] == f"y = {after}"
    assert len(text(view_of(source))) == 1 + (name == "hugging face")
    run = formula(form)
    made = onnxlrp.compile(source, composite="gradient", target="seed").model
    outputs = Session(made)({"x": X, "seed": SEED})
    np.testing.assert_allclose(outputs["y"], run(X.astype(float)), rtol=0, atol=SAME)
    wanted = slope(run)
    size = np.abs(wanted).max()
    np.testing.assert_allclose(outputs["relevance/x"], wanted, rtol=0, atol=SAME * size)


@pytest.mark.parametrize("name", MATCHES)
@pytest.mark.parametrize("composite", ["epsilon", "attnlrp"])
def test_ledger_closes(name: str, composite: str) -> None:
    """Without offset all arrives; beta and what the mean takes are reported."""
    body, _, (*_, beta) = MATCHES[name]
    made = onnxlrp.compile(norm(body), composite=composite, target="seed", ledger=True)
    outputs = Session(made.model)({"x": X, "seed": SEED})
    table = outputs["ledger"]
    into = np.abs(SEED).sum(axis=(1, 2))
    assert np.all(np.abs(table[:, :, 7]) <= SAME * into[:, None])
    np.testing.assert_allclose(table[:, 0, 0], SEED.sum(axis=(1, 2)), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        outputs["relevance/x"].sum(axis=(1, 2)), table[:, -1, 1], rtol=1e-4, atol=1e-4
    )
    assert (np.abs(table[:, :, 2]).max() > 1e-3) == bool(beta)


NUMBERS = f"{SIGMA} n = Div(c, s) k = Mul(n, g) y = Add(k, b)"
BETWEEN = "a value in between is read by another node or is an output"
MISSES = {
    "inner output": (NUMBERS, ("y", "c"), BETWEEN),
    "sigma is an output": (NUMBERS, ("y", "s"), BETWEEN),
    "variance is an output": (NUMBERS, ("y", "v"), BETWEEN),
    "inner reader": (f"{NUMBERS[:-13]}d = Add(k, b) y = Add(d, c)", ("y",), BETWEEN),
    "mean is read": (f"{NUMBERS[:-13]}d = Add(k, b) y = Add(d, m)", ("y",), BETWEEN),
    "sigma is read": (f"{NUMBERS[:-13]}d = Add(k, b) y = Add(d, s)", ("y",), BETWEEN),
    "a copy is read": (
        (
            f"{MEAN} f = Identity(c) q = Pow(f, two) v = ReduceMean(q, last) a = Add(v, eps)"
            " s = Sqrt(a) n = Div(f, s) y = Add(n, f)"
        ),
        ("y",),
        BETWEEN,
    ),
    "tensorflow with live scale": (
        f"{INVERSE} k = Mul(i, live) xk = Mul(x, k) mk = Mul(m, k) d = Sub(b, mk) y = Add(xk, d)",
        ("y",),
        "its result does not divide what it is computed from",
    ),
    "tensorflow with the mean added": (
        f"{INVERSE} k = Mul(i, g) xk = Mul(x, k) mk = Mul(m, k) d = Add(b, mk) y = Add(xk, d)",
        ("y",),
        "its result does not divide what it is computed from",
    ),
    "tensorflow with x taken off": (
        f"{INVERSE} k = Mul(i, g) xk = Mul(x, k) mk = Mul(m, k) y = Sub(mk, xk)",
        ("y",),
        "its result does not divide what it is computed from",
    ),
    "tensorflow with sides changed": (
        f"{INVERSE} k = Mul(i, g) xk = Mul(x, k) mk = Mul(m, k) d = Sub(mk, b) y = Add(xk, d)",
        ("y",),
        "its result does not divide what it is computed from",
    ),
    "keras with another mean": (
        f"{INVERSE} l = Neg(c) mk = Mul(l, i) xk = Mul(x, i) y = Add(xk, mk)",
        ("y",),
        BETWEEN,
    ),
    "x over sigma": (NUMBERS.replace("Div(c, s)", "Div(x, s)"), ("y",), "its result does not"),
    "sigma over x": (f"{ROOT} y = Div(s, x)", ("y",), "its result does not"),
    "cube": (NUMBERS.replace("two", "three"), ("y",), "no mean of squares before it"),
    "no epsilon": (NUMBERS.replace("Sqrt(a)", "Sqrt(v)"), ("y",), "no Add of a constant before it"),
    "sum of squares": (
        NUMBERS.replace("v = ReduceMean", "v = ReduceSum"),
        ("y",),
        "no mean of squares before it",
    ),
    "axis dropped": (
        f"{ROOT} z = Unsqueeze(s, last) y = Div(x, z)".replace(
            "v = ReduceMean", "v = ReduceMean<keepdims = 0>"
        ),
        ("y",),
        "no mean of squares before it",
    ),
    "power of a third": (
        NUMBERS.replace("Sqrt(a)", "Pow(a, three)"),
        ("y",),
        "not a square root",
    ),
    "scale that widens first": (
        f"{INVERSE} k = Mul(i, wide) n = Mul(c, k) y = Add(n, b)",
        ("y",),
        "its scale or offset is not known to fit the shape of its input",
    ),
}


@pytest.mark.parametrize("name", MISSES)
def test_near_miss(name: str) -> None:
    """It stays what it is, with its reason, and its gradient is right all the same."""
    body, outputs, reason = MISSES[name]
    source = norm(body, outputs=outputs)
    view = view_of(source)
    assert any(found.startswith(reason) for found in reasons(view))
    assert not any("Normalization" in line for line in text(view))
    made = onnxlrp.compile(source, composite="gradient", target="seed", output="y", inputs=["x"])
    feeds = {item.name: np.abs(X) + 1 for item in source.graph.input}
    shape = Session(source)(feeds)["y"].shape
    seed = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    found = Session(made.model)({**feeds, "seed": seed})["relevance/x"]
    direction = np.random.default_rng(2).standard_normal(X.shape).astype(np.float32)
    step, run = np.float32(1e-2), Session(source)
    ahead, behind = (
        run({**feeds, "x": feeds["x"] + sign * step * direction})["y"].astype(float)
        for sign in (1, -1)
    )
    wanted = (seed * (ahead - behind)).sum() / (2 * float(step))
    size = (np.abs(found) * np.abs(direction)).sum()
    np.testing.assert_allclose((found * direction).sum(), wanted, rtol=0, atol=2e-3 * size)


def test_a_wide_scale_stays_outside() -> None:
    """The norm without it is one site; the product that widens is another."""
    source = norm(f"{SIGMA} n = Div(c, s) y = Mul(n, wide)")
    lines = text(view_of(source))
    assert [line.split(" = ")[1].split("(")[0] for line in lines] == ["LayerNormalization", "Mul"]


def test_an_offset_per_position_stays_outside() -> None:
    """`[3, 1]` beside a symbolic length may widen a length of one."""
    body = f"{SIGMA} n = Div(c, s) k = Mul(n, g) y = Add(k, bc)"
    lines = text(view_of(norm(body, shape=("N", "L", 4))))
    assert [line.split(" = ")[1].split("(")[0] for line in lines] == ["LayerNormalization", "Add"]


def test_the_root_mean_square_has_no_offset() -> None:
    lines = text(view_of(norm(f"{ROOT} n = Div(x, s) k = Mul(n, g) y = Add(k, b)")))
    assert [line.split(" = ")[1].split("(")[0] for line in lines] == ["RMSNormalization", "Add"]


def test_variance_over_other_axes_than_the_mean() -> None:
    """What is divided by its own root mean square is no longer x, but x - mean."""
    body = f"{SIGMA} n = Div(c, s) k = Mul(n, g) y = Add(k, b)"
    lines = text(view_of(norm(body.replace("ReduceMean(q, last)", "ReduceMean(q, mid)"))))
    assert [line.split(" [")[0] for line in lines[2:]] == [
        "k = RMSNormalization(c, g)",
        "y = Add(k, b)",
    ]


def test_two_in_a_row() -> None:
    first = f"{SIGMA} n = Div(c, s) k = Mul(n, g) h = Add(k, b)"
    second = (
        "m2 = ReduceMean(h, last) c2 = Sub(h, m2) q2 = Pow(c2, two) v2 = ReduceMean(q2, last)"
        " a2 = Add(v2, eps) s2 = Sqrt(a2) n2 = Div(c2, s2) y = Mul(n2, e)"
    )
    lines = text(view_of(norm(f"{first} {second}")))
    assert [line.split(" [")[0] for line in lines] == [
        "h = LayerNormalization(x, g, b)",
        "y = LayerNormalization(h, e)",
    ]
