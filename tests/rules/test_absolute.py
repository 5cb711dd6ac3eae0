"""Shares by size, at sums, products, quotients and linear maps."""

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import CompositeError
from onnxlrp.rules import Absolute, AbsoluteBias, AlphaBeta, Rescaled, ZBox
from tests import oracle
from tests.engine import Session, model_of

AGREEMENT = 1e-5
"""As for every single rule, of max|R|."""

CLOSED = 1e-5
"""Of sum|in|."""

RNG = np.random.default_rng(0)
X, Z, R = (RNG.normal(size=(2, 5)) for _ in range(3))
COLUMN, CONSTANT = RNG.normal(size=(2, 1)), RNG.normal(size=5)
WEIGHT, BIAS = RNG.normal(size=(5, 5)), RNG.normal(size=5)


def run(body: str, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    constants = {"c": CONSTANT, "w": WEIGHT, "b": BIAS}
    source = model_of(
        body,
        {name: ("N", *v.shape[1:]) for name, v in feeds.items()},
        {k: v.astype(np.float32) for k, v in constants.items() if f" {k}" in body},
    )
    model = onnxlrp.compile(source, composite="dynamic-lrp", target="seed", ledger=True).model
    given = {name: v.astype(np.float32) for name, v in (feeds | {"seed": R}).items()}
    outputs = Session(model)(given)
    assert np.abs(outputs["ledger"][:, :, 7]).max() <= CLOSED * np.abs(R).sum()
    return outputs


def near(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=AGREEMENT * np.abs(wanted).max())


@pytest.mark.parametrize(
    ("body", "other"),
    [("y = Add(x, z)", Z), ("y = Sub(x, z)", Z), ("y = Mul(x, z)", Z), ("y = Div(x, z)", 1 / Z)],
)
def test_two_operands(body: str, other: np.ndarray) -> None:
    outputs = run(body, x=X, z=Z)
    first, second = oracle.absolute([X, other], R)
    near(outputs["relevance/x"], first)
    near(outputs["relevance/z"], second)


@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_a_broadcast_operand_gets_the_sum(op: str) -> None:
    outputs = run(f"y = {op}(x, z)", x=X, z=COLUMN)
    first, second = oracle.absolute([X, np.broadcast_to(COLUMN, X.shape)], R)
    near(outputs["relevance/x"], first)
    near(outputs["relevance/z"], second.sum(1, keepdims=True))


def test_a_constant_summand_keeps_its_share() -> None:
    outputs = run("y = Add(x, c)", x=X)
    kept, lost = oracle.absolute([X, np.broadcast_to(CONSTANT, X.shape)], R)
    near(outputs["relevance/x"], kept)
    near(outputs["ledger"][:, 0, 2], lost.sum(1))


def test_a_constant_factor_keeps_nothing() -> None:
    np.testing.assert_array_equal(run("y = Mul(x, c)", x=X)["relevance/x"], R.astype(np.float32))


def test_bias_is_a_summand() -> None:
    outputs = run("y = Gemm(x, w, b)", x=X)
    wanted = [oracle.absolute_bias(WEIGHT.T, x, BIAS, r) for x, r in zip(X, R, strict=True)]
    near(outputs["relevance/x"], np.stack(wanted))


def test_negative_epsilon() -> None:
    for rule in (Absolute, AbsoluteBias):
        with pytest.raises(CompositeError, match="must not be negative"):
            rule(epsilon=-1.0)
    with pytest.raises(CompositeError, match="totals='all' is not one of sample, batch"):
        Rescaled(totals="all")


def test_described_with_their_parameters() -> None:
    assert AlphaBeta(joint=False).describe()["joint"] is False
    assert ZBox(own=True).describe()["own"] is True
    assert Rescaled().describe()["totals"] == "sample"
