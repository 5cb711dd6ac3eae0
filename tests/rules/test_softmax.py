"""The expansion of the softmax, with masks, and the mean and norm that go with it."""

import numpy as np
import pytest

import onnxlrp
from tests import oracle
from tests.engine import Session, model_of
from tests.rules.composite import write

AGREEMENT = 1e-5
"""As for every single rule, of max|R|."""

CLOSED = 1e-5
"""Of sum|in|."""


def run(body: str, composite: str, feeds: dict[str, np.ndarray], constants=None, **options):
    shapes = {name: ("N", *v.shape[1:]) for name, v in feeds.items() if name != "seed"}
    source = model_of(body, shapes, constants)
    options = {"target": "seed", "keep_softmax": True, "ledger": True} | options
    model = onnxlrp.compile(source, composite=composite, **options).model
    outputs = Session(model)({k: v.astype(np.float32) for k, v in feeds.items()})
    ledger = outputs["ledger"].astype(np.float64)
    assert np.all(np.isfinite(ledger))
    assert np.abs(ledger[:, :, 7]).max() <= CLOSED * np.abs(ledger[:, :, :7]).max()
    return outputs


def near(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=AGREEMENT * np.abs(wanted).max())


@pytest.mark.parametrize(("op", "formula"), [("Softmax", "taylor"), ("LogSoftmax", "log_taylor")])
def test_expansion(op: str, formula: str, tmp_path) -> None:
    rng = np.random.default_rng(0)
    x, r = rng.normal(size=(2, 3, 5)), rng.normal(size=(2, 3, 5))
    found = run(f"y = {op}(x)", write(tmp_path), {"x": x, "seed": r})
    wanted = getattr(oracle, formula)(x.astype(np.float32).astype(float), r)
    near(found["relevance/x"], wanted)
    lost = found["ledger"][:, 0, 6]
    np.testing.assert_allclose(lost, (r - wanted).sum((1, 2)), rtol=0, atol=1e-5)


def test_another_axis(tmp_path) -> None:
    rng = np.random.default_rng(1)
    x, r = rng.normal(size=(2, 5, 3)), rng.normal(size=(2, 5, 3))
    found = run("y = Softmax<axis = 1>(x)", write(tmp_path), {"x": x, "seed": r})
    wanted = oracle.taylor(np.swapaxes(x, 1, 2), np.swapaxes(r, 1, 2))
    near(found["relevance/x"], np.swapaxes(wanted, 1, 2))


MASKS = (-np.inf, float(np.finfo(np.float32).min), -1e9)


@pytest.mark.parametrize("masked", MASKS)
@pytest.mark.parametrize("composite", ["attnlrp", "epsilon", "cp-lrp"])
def test_masked_scores_and_their_ledger(masked: float, composite: str) -> None:
    """A mask that is added before the softmax; the masked weights are 0 and get nothing."""
    rng = np.random.default_rng(2)
    x, v, r = (rng.normal(size=(2, *s)) for s in ((4, 4), (4, 3), (4, 3)))
    mask = np.triu(np.full((4, 4), masked, np.float32), 1)
    body = "s = Add(x, m) a = Softmax(s) y = MatMul(a, v)"
    outputs = run(body, composite, {"x": x, "v": v, "seed": r}, {"m": mask})
    scores = x + mask.astype(float)
    a = np.exp(scores - scores.max(-1, keepdims=True))
    a /= a.sum(-1, keepdims=True)
    assert np.all(np.isfinite(outputs["relevance/x"]))
    assert not outputs["relevance/x"][:, np.triu(np.ones((4, 4), bool), 1)].any()
    if composite == "attnlrp":
        unsigned = {"epsilon": 1e-8, "mode": "unsigned"}
        weights, values = oracle.weighted(a, v, r, **unsigned)
        with np.errstate(invalid="ignore", divide="ignore"):
            wanted = x * oracle.taylor(scores, weights) / oracle.stable(scores, **unsigned)
        near(outputs["relevance/x"], wanted)
        near(outputs["relevance/v"], values)


@pytest.mark.parametrize("masked", MASKS)
def test_scores_that_a_mask_replaces(masked: float) -> None:
    """Where(mask, scores, low): the same map as with an added mask that leaves the rest alone."""
    rng = np.random.default_rng(5)
    x, v, r = (rng.normal(size=(2, *s)) for s in ((4, 4), (4, 3), (4, 3)))
    kept = np.tril(np.ones((4, 4), bool))
    constants = {"m": kept, "low": np.float32(masked)}
    body = "s = Where(m, x, low) a = Softmax(s) y = MatMul(a, v)"
    found = run(body, "attnlrp", {"x": x, "v": v, "seed": r}, constants)["relevance/x"]
    a = np.where(kept, np.exp(x), 0)
    a /= a.sum(-1, keepdims=True)
    weights, _ = oracle.weighted(a, v, r, epsilon=1e-8, mode="unsigned")
    near(found, oracle.taylor(np.where(kept, x, masked), weights))


def test_a_masked_logit_counts_as_zero(tmp_path) -> None:
    """Even where relevance arrives at its probability, which is 0."""
    x, r = np.float64([[1, -np.inf, 2], [-3.4e38, 1, 0]]), np.float64([[1, 5, 2], [4, 1, 1]])
    outputs = run("y = Softmax(x)", write(tmp_path), {"x": x, "seed": r})
    near(outputs["relevance/x"], oracle.taylor(x, r))


@pytest.mark.parametrize("width", [1, 4, 50])
def test_mean_by_its_sum(width: int) -> None:
    rng = np.random.default_rng(3)
    x, r = rng.normal(1, 0.5, size=(2, 3, width)), rng.normal(size=(2, 3))
    body, axes = "y = ReduceMean<keepdims = 0>(x, axes)", {"axes": np.array([-1])}
    composite = "attnlrp:epsilon=0.5"
    found = run(body, composite, {"x": x, "seed": r}, axes)
    near(found["relevance/x"], oracle.mean(x, r, epsilon=0.5, mode="unsigned"))


def test_layer_norm() -> None:
    rng = np.random.default_rng(4)
    x, scale, shift = rng.normal(size=(2, 3, 6)), rng.uniform(0.5, 2, 6), rng.normal(size=6)
    constants = {"g": scale.astype(np.float32), "b": shift.astype(np.float32)}
    sigma = np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    y = (x - x.mean(-1, keepdims=True)) / sigma * scale + shift
    r = rng.normal(size=(2, 3, 6)) * (np.abs(y) > 0.1)
    found = run("y = LayerNormalization(x, g, b)", "attnlrp", {"x": x, "seed": r}, constants)
    near(found["relevance/x"], oracle.layer_norm(x, scale, y, sigma, r))
