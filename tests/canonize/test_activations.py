"""Activations that exporters write as several operators."""

import math

import numpy as np
import onnx
import pytest

import onnxlrp
from tests.canonize.sites import reasons, text, view_of
from tests.engine import Session, model_of

NUMBERS = {
    "three": 3.0,
    "six": 6.0,
    "zero": 0.0,
    "sixth": 1 / 6,
    "half": 0.5,
    "one": 1.0,
    "root": math.sqrt(2),
    "inverse": math.sqrt(0.5),
    "alpha": 1.702,
    "four": 4.0,
    "kappa": 0.044715,
    "beta": math.sqrt(2 / math.pi),
}

ERF = "d = Div(x, root) e = Erf(d) p = Add(e, one)"
CUBIC = "c = Pow(x, three) k = Mul(c, kappa) i = Add(x, k) a = Mul(i, beta)"
TANH = "t = Tanh(a) p = Add(t, one)"
CLIP = "p = Add(x, three) c = Clip(p, zero, six)"

MATCHES = {
    "swish": ("s = Sigmoid(x) y = Mul(x, s)", "Swish(x) [Sigmoid + Mul]"),
    "swish turned": ("s = Sigmoid(x) y = Mul(s, x)", "Swish(x) [Sigmoid + Mul]"),
    "swish alpha": (
        "a = Mul(x, alpha) s = Sigmoid(a) y = Mul(x, s)",
        "Swish(x) [Mul + Sigmoid + Mul]",
    ),
    "mish": ("s = Softplus(x) t = Tanh(s) y = Mul(x, t)", "Mish(x) [Softplus + Tanh + Mul]"),
    "hardsigmoid": (
        "s = HardSigmoid<alpha = 0.16666667>(x) y = Mul(x, s)",
        "HardSwish(x) [HardSigmoid + Mul]",
    ),
    "clip mul div": (
        f"{CLIP} m = Mul(x, c) y = Div(m, six)",
        "HardSwish(x) [Add + Clip + Mul + Div]",
    ),
    "clip div mul": (
        f"{CLIP} m = Div(c, six) y = Mul(m, x)",
        "HardSwish(x) [Add + Clip + Div + Mul]",
    ),
    "clip mul": (
        f"{CLIP} m = Mul(c, sixth) y = Mul(m, x)",
        "HardSwish(x) [Add + Clip + Mul + Mul]",
    ),
    "erf x half": (
        f"{ERF} m = Mul(x, p) y = Mul(m, half)",
        "Gelu(x) [Div + Erf + Add + Mul + Mul]",
    ),
    "erf half x": (
        f"{ERF} m = Mul(p, half) y = Mul(x, m)",
        "Gelu(x) [Div + Erf + Add + Mul + Mul]",
    ),
    "erf half of x": (
        f"h = Mul(x, half) {ERF} y = Mul(h, p)",
        "Gelu(x) [Mul + Div + Erf + Add + Mul]",
    ),
    "erf inverse": (
        "d = Mul(inverse, x) e = Erf(d) p = Add(one, e) m = Mul(x, p) y = Mul(half, m)",
        "Gelu(x) [Mul + Erf + Add + Mul + Mul]",
    ),
    "tanh half of x": (
        f"h = Mul(x, half) {CUBIC} {TANH} y = Mul(h, p)",
        "Gelu(x) [Mul + Pow + Mul + Add + Mul + Tanh + Add + Mul]",
    ),
    "tanh of products": (
        (
            "s = Mul(x, x) c = Mul(x, s) k = Mul(kappa, c) i = Add(x, k) a = Mul(beta, i)"
            " t = Tanh(a) p = Add(one, t) m = Mul(x, p) y = Mul(half, m)"
        ),
        "Gelu(x) [Mul + Mul + Mul + Add + Mul + Tanh + Add + Mul + Mul]",
    ),
    "tanh of a factored cubic": (
        (
            "h = Mul(x, half) b = Mul(x, beta) k = Mul(x, kappa) s = Mul(k, x) i = Add(s, one)"
            f" a = Mul(b, i) {TANH} y = Mul(h, p)"
        ),
        "Gelu(x) [Mul + Mul + Mul + Mul + Add + Mul + Tanh + Add + Mul]",
    ),
}

MISSES = {
    "sigmoid of another value": ("s = Sigmoid(x) y = Mul(z, s)", "no product with its own input"),
    "sigmoid read twice": (
        "s = Sigmoid(x) m = Mul(x, s) y = Add(m, s)",
        "no product with its own input",
    ),
    "hardsigmoid of other slope": (
        "s = HardSigmoid(x) y = Mul(x, s)",
        "alpha and beta are not those of HardSwish",
    ),
    "softplus alone": ("y = Softplus(x)", "no Tanh behind it"),
    "tanh of softplus alone": ("s = Softplus(x) y = Tanh(s)", "no product with its own input"),
    "clip at 4": (
        "p = Add(x, three) c = Clip(p, zero, four) m = Mul(x, c) y = Div(m, six)",
        "not Clip",
    ),
    "clip by another factor": (f"{CLIP} m = Mul(x, c) y = Div(m, four)", "not multiplied by x and"),
    "clip without x": (f"{CLIP} y = Div(c, six)", "not multiplied by x and"),
    "erf of another root": (
        "d = Div(x, six) e = Erf(d) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)",
        r"its argument is not x / sqrt\(2\)",
    ),
    "erf of the inverse": (
        "d = Div(root, x) e = Erf(d) p = Add(e, one) m = Mul(x, p) y = Mul(m, half)",
        r"its argument is not x / sqrt\(2\)",
    ),
    "erf without one": (
        "d = Div(x, root) e = Erf(d) p = Add(e, half) m = Mul(x, p) y = Mul(m, half)",
        "no Add of 1 behind it",
    ),
    "erf over x": (f"{ERF} m = Div(p, x) y = Mul(m, half)", "not multiplied by x and a constant"),
    "erf under a constant": (f"{ERF} m = Mul(p, x) y = Div(half, m)", "not multiplied by x and"),
    "erf of another x": (f"{ERF} m = Mul(z, p) y = Mul(m, half)", "not multiplied by x and"),
    "tanh alone": ("y = Tanh(x)", "no Add of 1 behind it"),
    "tanh of x": ("t = Tanh(x) p = Add(t, one) m = Mul(x, p) y = Mul(m, half)", "not the cubic"),
    "tanh of another cubic": (
        (
            "c = Pow(x, three) k = Mul(c, half) i = Add(x, k) a = Mul(i, beta)"
            f" {TANH} m = Mul(x, p) y = Mul(m, half)"
        ),
        "not the cubic of Gelu",
    ),
    "tanh of another power": (
        (
            "c = Pow(x, four) k = Mul(c, kappa) i = Add(x, k) a = Mul(i, beta)"
            f" {TANH} m = Mul(x, p) y = Mul(m, half)"
        ),
        "not the cubic of Gelu",
    ),
    "tanh without the half": (f"{CUBIC} {TANH} y = Mul(x, p)", "not multiplied by x and"),
    "tanh under another x": (
        f"{CUBIC} {TANH} m = Mul(z, p) y = Mul(m, half)",
        "not multiplied by x and",
    ),
    "tanh with a cube read twice": (
        f"{CUBIC} {TANH} m = Mul(x, p) g = Mul(m, half) y = Add(g, c)",
        "an inner value is read elsewhere",
    ),
    "erf inner output": (f"{ERF} m = Mul(x, p) y = Mul(m, half)", "not multiplied by x and"),
}


def activation(body: str, *, outputs: tuple[str, ...] = ("y",)) -> onnx.ModelProto:
    inputs = {name: ("N", 5) for name in "xz" if f"{name}," in body or f"{name})" in body}
    constants = {k: np.array(v, np.float32) for k, v in NUMBERS.items() if k in body}
    return model_of(body, inputs, constants, outputs=outputs)


def gradient(source: onnx.ModelProto, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    feeds = {item.name: x for item in source.graph.input}
    made = onnxlrp.compile(source, composite="gradient", target="seed", output="y").model
    outputs = Session(made)({**feeds, "seed": np.ones_like(x)})
    step = np.float32(1e-2)
    run = Session(source)
    ahead, behind = (run({**feeds, "x": x + s})["y"].astype(float) for s in (step, -step))
    return outputs["relevance/x"], (ahead - behind) / (2 * step)


X = np.float32([[-2.3, -0.7, 0.4, 1.1, 2.6]])


@pytest.mark.parametrize("name", MATCHES)
def test_match(name: str) -> None:
    body, after = MATCHES[name]
    source = activation(body)
    assert text(view_of(source)) == [f"y = {after}"]
    found, wanted = gradient(source, X)
    np.testing.assert_allclose(found, wanted, rtol=0, atol=2e-3)
    passed = onnxlrp.compile(source, composite="epsilon", target="seed").model
    seed = np.float32([[1, -2, 3, 4, 5]])
    np.testing.assert_array_equal(Session(passed)({"x": X, "seed": seed})["relevance/x"], seed)


@pytest.mark.parametrize("name", MISSES)
def test_near_miss(name: str) -> None:
    body, reason = MISSES[name]
    outputs = ("y", "m") if name == "erf inner output" else ("y",)
    source = activation(body, outputs=outputs)
    view = view_of(source)
    assert any(reason.replace("\\", "") in found for found in reasons(view))
    assert all(len(site.nodes) == 1 for site in view)
    if "z" not in [item.name for item in source.graph.input] and "inverse" not in name:
        found, wanted = gradient(source, X)
        np.testing.assert_allclose(found, wanted, rtol=5e-3, atol=5e-3)


def test_a_constant_that_adds_an_axis() -> None:
    numbers = {"k": np.full((1, 1, 1), 1.702, np.float32)}
    source = model_of("a = Mul(x, k) s = Sigmoid(a) y = Mul(x, s)", {"x": ("N", 5)}, numbers)
    view = view_of(source)
    assert "a constant adds an axis" in reasons(view)
    assert [site.op for site in view] == ["Mul", "Sigmoid", "Mul"]
