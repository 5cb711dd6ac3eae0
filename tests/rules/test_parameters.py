"""Rules beyond the table: frozen norms, bounds per channel, losses by name, what is refused."""

from pathlib import Path

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import CompositeError, RuleError
from onnxlrp.rules import AlphaBeta, Average, Epsilon, Gamma, Stabilizer, WinnerTakesAll, ZBox
from tests import oracle
from tests.engine import Session, model_of
from tests.ops.case import SAMPLES, Case
from tests.rules.composite import write
from tests.rules.dense import BY_NAME, dense

AGREEMENT = 1e-5
"""As for every single rule."""


def run(case: Case, composite: str, x: np.ndarray, r: np.ndarray) -> dict[str, np.ndarray]:
    model = onnxlrp.compile(case.model(), composite=composite, target="seed", ledger=True).model
    return Session(model)({"x": x, "seed": r.astype(np.float32)})


def assert_near(found: np.ndarray, wanted: np.ndarray) -> None:
    size = np.abs(wanted).max()
    np.testing.assert_allclose(found.reshape(-1), wanted, rtol=0, atol=AGREEMENT * size)


@pytest.mark.parametrize("mode", ["signed", "unsigned", "clip"])
def test_share_of_the_root_mean_square(mode: str, tmp_path: Path) -> None:
    weight = np.random.default_rng(0).standard_normal((4, 5)).astype(np.float32)
    case = Case("rms", "y = MatMul(x, w)", {"x": (1, 4)}, {"w": weight})
    row = {"rule": "Epsilon", "epsilon": 1e-9, "rms": 0.25, "stabilizer": mode}
    x, r = SAMPLES["positive"](case.rng(), (1, 4)), np.ones(5)
    w = weight.T.astype(float)
    wanted = oracle.epsilon(w, x[0].astype(float), 0 * r, r, epsilon=1e-9, rms=0.25, mode=mode)
    assert_near(run(case, write(tmp_path, row), x, r[None])["relevance/x"], wanted.relevance)


def test_bounds_per_channel(tmp_path: Path) -> None:
    case = BY_NAME["conv wide pads"]
    low, high = [-2.5, -1.0], [3.0, 4.0]
    composite = write(tmp_path, {"rule": "ZBox", "low": low, "high": high})
    matrix, x = dense(case), case.feeds()["x"]
    bounds = [
        np.broadcast_to(np.reshape(v, (1, 2, 1, 1)), x.shape).reshape(-1) for v in (low, high)
    ]
    flat = x.reshape(-1).astype(float)
    ones = np.ones(len(matrix.b))
    options = {"low": bounds[0], "high": bounds[1]}
    safe = oracle.z_box(matrix.w, flat, matrix.b, ones, **options).smallest > 0.1
    r = case.rng().standard_normal(len(ones)) * safe
    wanted = oracle.z_box(matrix.w, flat, matrix.b, r.astype(np.float32).astype(float), **options)
    found = run(case, composite, x, r.reshape(matrix.shape))["relevance/x"]
    assert_near(found, wanted.relevance)


def test_gamma_drops_an_output_of_zero_into_dead(tmp_path: Path) -> None:
    case = Case("gamma", "y = MatMul(x, w)", {"x": (1, 2)}, {"w": np.float32([[1, 2], [1, 3]])})
    outputs = run(
        case, write(tmp_path, {"rule": "Gamma"}), np.float32([[1, -1]]), np.float32([[5, 7]])
    )
    assert outputs["ledger"][0, 0, 5] == pytest.approx(5)
    assert outputs["relevance/x"].sum() == pytest.approx(7, rel=1e-4)


def test_gamma_without_bias_takes_the_sign_without_bias(tmp_path: Path) -> None:
    """The defect of the peer library (peer-rules 2a) is not copied: relevance stays bounded."""
    constants = {"w": np.float32([[1], [-0.5]]), "b": np.float32([-3])}
    case = Case("gamma", "y = Gemm(x, w, b)", {"x": (1, 2)}, constants)
    row = {"rule": "Gamma", "bias": "none"}
    outputs = run(case, write(tmp_path, row), np.float32([[1, 1]]), np.float32([[1]]))
    wanted = oracle.gamma(
        np.array([[1, -0.5]]), np.ones(2), np.array([-3.0]), np.ones(1), bias="none"
    )
    assert_near(outputs["relevance/x"], wanted.relevance)
    assert outputs["relevance/x"].sum() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("rule", ["Epsilon", "AlphaBeta", "Gamma"])
def test_relevance_of_dead_outputs_is_in_its_column(rule: str, tmp_path: Path) -> None:
    case = BY_NAME["conv asymmetric pads"]
    x = np.zeros(case.inputs["x"], dtype=np.float32)
    r = np.ones(dense(case).shape)
    outputs = run(case, write(tmp_path, {"rule": rule}), x, r)
    assert not outputs["relevance/x"].any()
    np.testing.assert_allclose(outputs["ledger"][:, 0, 5], r[0].size, rtol=1e-5)


def test_lrp_0_gives_no_nan(tmp_path: Path) -> None:
    case = BY_NAME["conv wide pads"]
    x = case.feeds()["x"]
    x[:, :, 2:] = 0
    r = np.ones(dense(case).shape)
    outputs = run(case, write(tmp_path, {"rule": "Epsilon", "epsilon": 0}), x, r)
    assert np.all(np.isfinite(outputs["relevance/x"]))
    assert np.all(np.isfinite(outputs["ledger"]))
    assert np.all(outputs["ledger"][:, 0, 5] >= 1)


NORMS = ("lrn 1", "lrn 5", "lppool 1", "lppool 2", "lppool 3", "global lppool 2", "ReduceL2 last 1")


@pytest.mark.parametrize("name", NORMS)
def test_a_frozen_norm_conserves(name: str, tmp_path: Path) -> None:
    case = BY_NAME[name]
    x = case.feeds()["x"]
    y = Session(case.model())({"x": x})["y"]
    r = np.abs(case.rng().standard_normal(y.shape)) * (np.abs(y) > 0.1)
    outputs = run(case, write(tmp_path, {"rule": "Frozen", "epsilon": 1e-9}), x, r)
    np.testing.assert_allclose(outputs["relevance/x"].sum(), r.sum(), rtol=1e-5)
    if name.startswith("lrn"):
        np.testing.assert_allclose(outputs["relevance/x"], r, rtol=0, atol=1e-5 * r.max())


@pytest.mark.parametrize(
    "rule", [{"rule": "AlphaBeta"}, {"rule": "Gamma"}, {"rule": "ZBox"}, {"rule": "ZPlusFlat"}]
)
def test_a_map_of_both_signs_without_a_tensor_is_refused(rule: dict, tmp_path: Path) -> None:
    case = BY_NAME["resize cubic half_pixel up"]
    with pytest.raises(RuleError, match="weights of both signs that are no tensor"):
        onnxlrp.compile(case.model(), composite=write(tmp_path, rule))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: AlphaBeta(alpha=2, beta=0), "alpha - beta must be 1"),
        (lambda: AlphaBeta(alpha=0, beta=-1), "beta >= 0"),
        (lambda: AlphaBeta(bias="some"), "bias='some' is not one of"),
        (lambda: AlphaBeta(negative_input="x"), "negative_input='x' is not one of"),
        (lambda: Gamma(gamma=-1), "gamma=-1 must not be negative"),
        (lambda: Gamma(gamma=float("nan")), "must not be negative"),
        (lambda: Epsilon(bias="x"), "bias='x'"),
        (lambda: Stabilizer(epsilon=-1), "epsilon=-1 must not be negative"),
        (lambda: Stabilizer(mode="x"), "stabilizer='x' is not one of"),
        (lambda: ZBox(low=1, high=1), "low=1 must be below high=1"),
        (lambda: WinnerTakesAll(form="x"), "form='x'"),
        (lambda: Average(window="x"), "window='x'"),
    ],
)
def test_parameters_out_of_range(make, match: str) -> None:
    with pytest.raises(CompositeError, match=match):
        make()


def test_a_row_that_does_not_fit_its_kind(tmp_path: Path) -> None:
    source = model_of("y = Relu(x)", {"x": (1, 2)})
    with pytest.raises(CompositeError, match="Gamma fits only LinearMap"):
        onnxlrp.compile(source, composite=write(tmp_path, {"rule": "Gamma", "kind": "Pointwise"}))
