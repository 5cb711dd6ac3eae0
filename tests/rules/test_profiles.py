"""Peer profiles on a residual network against their formulas, layer by layer, in float64."""

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import RuleError
from tests import oracle
from tests.engine import Session, model_of

AGREES = 1e-5
"""Of max|R|: one walk of seven layers, float32 against float64."""

CLOSED = 1e-5
"""Of sum|in|: the ledger's unexplained rest."""

SMALLEST, TOTAL = 0.015, 0.05
"""Samples are drawn until all denominators, and the totals of branches, are larger."""

NETWORK = 5
"""One where the two branches have totals of both signs, in some samples."""

CHANNELS, SIDE, CLASSES, TARGET = 4, 5, 3, 1
BODY = """
    c1 = Conv<pads = [1, 1, 1, 1]>(x, w1, b1) h1 = LeakyRelu(c1)
    c2 = Conv<pads = [1, 1, 1, 1]>(h1, w2, b2) a = Add(c2, h1)
    n = BatchNormalization(a, scale, shift, mu, var) h2 = LeakyRelu(n)
    p = ReduceMean<keepdims = 0>(h2, axes) y = Gemm<transB = 1>(p, w3, b3)
"""
PROFILES = ("innvestigate-a", "innvestigate-b", "dynamic-lrp", "chefer")

Arrays = dict[str, np.ndarray]


def constants(seed: int) -> Arrays:
    rng = np.random.default_rng(seed)
    shapes = {
        "w1": (CHANNELS, 3, 3, 3),
        "w2": (CHANNELS, CHANNELS, 3, 3),
        "w3": (CLASSES, CHANNELS),
        "b1": (CHANNELS,),
        "b2": (CHANNELS,),
        "b3": (CLASSES,),
        "scale": (CHANNELS,),
        "shift": (CHANNELS,),
        "mu": (CHANNELS,),
    }
    drawn = {name: rng.normal(0, 0.7, shape) for name, shape in shapes.items()}
    drawn["var"] = rng.uniform(0.5, 2, CHANNELS)
    return {name: v.astype(np.float32) for name, v in drawn.items()}


def matrix(w: np.ndarray) -> np.ndarray:
    """A padded 3 x 3 convolution as a dense matrix `[J, I]`."""
    outer, inner = w.shape[:2]
    m = np.zeros((outer, SIDE, SIDE, inner, SIDE + 2, SIDE + 2))
    for i in range(SIDE):
        for j in range(SIDE):
            m[:, i, j, :, i : i + 3, j : j + 3] = w
    return m[..., 1:-1, 1:-1].reshape(outer * SIDE * SIDE, -1)


class Net:
    """The network in float64, one sample `[I]`, with every map as a dense matrix."""

    def __init__(self, c: Arrays, x: np.ndarray) -> None:
        p = {name: v.astype(np.float64) for name, v in c.items()}
        self.x = x.astype(np.float64).reshape(-1)

        def wide(name: str) -> np.ndarray:
            return np.repeat(p[name], SIDE * SIDE)

        self.w1, self.w2, self.w3 = matrix(p["w1"]), matrix(p["w2"]), p["w3"]
        self.b1, self.b2, self.b3 = wide("b1"), wide("b2"), p["b3"]
        self.h1 = leaky(self.w1 @ self.x + self.b1)
        self.c2 = self.w2 @ self.h1 + self.b2
        self.a = self.c2 + self.h1
        self.mu, self.shift = wide("mu"), wide("shift")
        self.n = wide("scale") * (self.a - self.mu) / np.sqrt(wide("var") + 1e-5) + self.shift
        self.h2 = leaky(self.n)
        self.mean = np.kron(np.eye(CHANNELS), np.full((1, SIDE * SIDE), 1 / (SIDE * SIDE)))
        self.p = self.mean @ self.h2
        self.y = self.w3 @ self.p + self.b3

    @property
    def smallest(self) -> float:
        """The smallest size of what the formulas divide by."""
        inner = (self.n * (self.a - self.mu), self.a, self.p, self.y, self.w3 @ self.p)
        outer = (self.w1 @ self.x, self.w2 @ self.h1)
        return min(np.abs(v).min() for v in (*inner, *outer))


def leaky(v: np.ndarray) -> np.ndarray:
    return np.where(v > 0, v, np.float64(np.float32(0.01)) * v)


def zero(v: np.ndarray) -> np.ndarray:
    return np.zeros(len(v))


def innvestigate(net: Net, r: np.ndarray, alpha: float, beta: float) -> np.ndarray:
    """Epsilon 0.1 at dense, alpha-beta with the whole bias at convolutions, Z elsewhere (2d)."""
    z = {"epsilon": 1e-7, "mode": "zero-only"}
    kernel = {"alpha": alpha, "beta": beta, "bias": "both", **z}
    r = oracle.epsilon(net.w3, net.p, net.b3, r, epsilon=0.1).relevance
    r = oracle.epsilon(net.mean, net.h2, zero(net.p), r, **z).relevance
    r = oracle.statistics(net.a, net.n, net.mu, net.shift, r)
    branch, skip = oracle.proportional([net.c2, net.h1], r, **z)
    skip = skip + oracle.alpha_beta(net.w2, net.h1, net.b2, branch, **kernel).relevance
    return oracle.alpha_beta(net.w1, net.x, net.b1, skip, **kernel).relevance


def dynamic(net: Net, r: np.ndarray) -> np.ndarray:
    """By size at sums and means, epsilon without bias at convolutions (2f)."""
    r = oracle.absolute_bias(net.w3, net.p, net.b3, r)
    r = oracle.absolute_linear(net.mean, net.h2, zero(net.p), r).relevance
    branch, skip = oracle.absolute([net.c2, net.h1], r)
    skip = skip + oracle.epsilon(net.w2, net.h1, zero(net.b2), branch, epsilon=1e-11).relevance
    return oracle.epsilon(net.w1, net.x, zero(net.b1), skip, epsilon=1e-11).relevance


def chefer(nets: list[Net], rs: list[np.ndarray]) -> list[np.ndarray]:
    """The walk over a batch whose totals are taken together (2f)."""
    shares = [at_sum(net, r) for net, r in zip(nets, rs, strict=True)]
    parts = [np.stack([net.c2 for net in nets]), np.stack([net.h1 for net in nets])]
    branch, skip = oracle.rescaled(parts, np.stack(shares))
    kernels = (oracle.separate(n.w2, n.h1, n.b2, b) for n, b in zip(nets, branch, strict=True))
    inner = [one + other for one, other in zip(skip, kernels, strict=True)]
    return [oracle.own_box(n.w1, n.x, n.b1, r) for n, r in zip(nets, inner, strict=True)]


def at_sum(net: Net, r: np.ndarray) -> np.ndarray:
    """What arrives at the addition: the multiplier of a batch norm cancels (2f)."""
    s = oracle.joint(net.w3, net.p, net.b3, r)
    return net.h2 * (net.mean.T @ oracle.quotient(s, net.p))


def totals(net: Net) -> list[float]:
    """The totals of the branches, by which Chefer's addition divides."""
    r = at_sum(net, np.eye(CLASSES)[TARGET])
    return [float(np.sum(v * r / net.a)) for v in (net.c2, net.h1)]


def expected(profile: str, nets: list[Net], *, together: bool = False) -> np.ndarray:
    starts = [np.eye(CLASSES)[TARGET] for _ in nets]
    if profile != "chefer":
        starts = [start * net.y for start, net in zip(starts, nets, strict=True)]
    if profile == "chefer":
        groups = [nets] if together else [[net] for net in nets]
        found = [r for group in groups for r in chefer(group, starts[: len(group)])]
    elif profile == "dynamic-lrp":
        found = [dynamic(net, r) for net, r in zip(nets, starts, strict=True)]
    else:
        signs = (1.0, 0.0) if profile.endswith("a") else (2.0, 1.0)
        found = [innvestigate(net, r, *signs) for net, r in zip(nets, starts, strict=True)]
    return np.stack(found)


def drawn(count: int = 3) -> tuple[Arrays, np.ndarray, list[Net]]:
    """A network and samples whose denominators are large enough, by the formulas alone.

    One branch of the first sample has a negative total, so that rescaling changes something.
    """
    c = constants(NETWORK)
    rng, kept = np.random.default_rng(5), []
    while len(kept) < count:
        x = rng.normal(size=(3, SIDE, SIDE)).astype(np.float32)
        net = Net(c, x)
        wanted = kept or min(totals(net)) < 0
        if wanted and net.smallest > SMALLEST and min(map(abs, totals(net))) > TOTAL:
            kept.append(x)
    return c, np.stack(kept), [Net(c, x) for x in kept]


def run(profile: str, c: Arrays, x: np.ndarray, **options) -> dict[str, np.ndarray]:
    extra = c | {"axes": np.array([2, 3])}
    source = model_of(BODY, {"x": ("N", 3, SIDE, SIDE)}, extra)
    options = {"target": TARGET, "ledger": True} | options
    return Session(onnxlrp.compile(source, composite=profile, **options).model)({"x": x})


def near(found: np.ndarray, wanted: np.ndarray) -> None:
    for got, want in zip(found.reshape(len(wanted), -1), wanted, strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=AGREES * np.abs(want).max())


@pytest.mark.parametrize("profile", PROFILES)
def test_agrees_with_its_formulas(profile: str) -> None:
    c, x, nets = drawn()
    outputs = run(profile, c, x)
    np.testing.assert_allclose(outputs["y"], [net.y for net in nets], rtol=1e-5)
    near(outputs["relevance/x"], expected(profile, nets))
    ledger = outputs["ledger"]
    assert np.abs(ledger[:, :, 7]).max() <= CLOSED * np.abs(ledger[:, :, 0]).max()


def test_chefer_over_a_batch() -> None:
    c, x, nets = drawn()
    outputs = run("chefer:totals=batch", c, x)
    together = expected("chefer", nets, together=True)
    near(outputs["relevance/x"], together)
    alone = expected("chefer", nets)
    assert np.abs(together - alone).max() > 100 * AGREES * np.abs(alone).max()
    assert np.abs(outputs["ledger"][:, :, 7]).max() <= CLOSED
    with pytest.raises(RuleError, match="totals=batch would mix the targets"):
        run("chefer:totals=batch", c, x, target="input:2")


@pytest.mark.parametrize("profile", PROFILES)
def test_nothing_but_zeros_is_finite(profile: str) -> None:
    c, x, _ = drawn(1)
    for arrays in (c, {name: v if name == "var" else 0 * v for name, v in c.items()}):
        outputs = run(profile, arrays, 0 * x)
        assert all(np.all(np.isfinite(v)) for v in outputs.values())
