"""Products of live values: gates, switches, halves, with their ledger."""

from dataclasses import replace

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import CompositeError
from onnxlrp.ops.registry import OPS
from onnxlrp.rules import Uniform
from tests import oracle
from tests.engine import Session, model_of
from tests.rules.composite import write

AGREEMENT = 1e-5
"""As for every single rule, of max|R|."""

CLOSED = 1e-5
"""Of sum|in|."""

GATES = ("all", "half", "abs", "prop")
GATED = "g = Sigmoid(x) y = Mul(g, z)"
TURNED = "g = Sigmoid(x) y = Mul(z, g)"
MIXED = "g = Softmax(x) y = MatMul(g, z)"


@pytest.fixture
def switched(monkeypatch: pytest.MonkeyPatch):
    """Products say which of their factors a sigmoid or a softmax makes."""
    for op in ("Mul", "MatMul"):

        def describe(site, old=OPS[op]):
            return replace(old(site), switch=[value.name for value in site.inputs].index("g"))

        monkeypatch.setitem(OPS, op, describe)


def run(body: str, gates: str, folder, feeds: dict[str, np.ndarray], r: np.ndarray):
    """Relevance of g (behind Pass: of x) and of z, with the ledger's rows summed."""
    composite = write(
        folder, {"rule": "Uniform", "gates": gates}, {"rule": "Pass", "kind": "Softmax"}
    )
    source = model_of(body, {name: ("N", *v.shape[1:]) for name, v in feeds.items()})
    model = onnxlrp.compile(source, composite=composite, target="seed", ledger=True).model
    return Session(model)({**feeds, "seed": r.astype(np.float32)})


def near(found: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=AGREEMENT * np.abs(wanted).max())


@pytest.mark.usefixtures("switched")
@pytest.mark.parametrize("gates", GATES)
@pytest.mark.parametrize("body", [GATED, TURNED])
@pytest.mark.parametrize("width", [5, 1])
def test_gated_product(body: str, gates: str, width: int, tmp_path) -> None:
    rng = np.random.default_rng(0)
    x, z = rng.normal(size=(2, width)), rng.normal(size=(2, 5))
    gate = 1 / (1 + np.exp(-x))
    r = rng.normal(size=(2, 5)) * (np.abs(gate + z) > 0.1)
    feeds = {"x": x.astype(np.float32), "z": z.astype(np.float32)}
    found = run(body, gates, tmp_path, feeds, r)
    wanted = oracle.gated(np.broadcast_to(gate, z.shape), z, r, gates)
    own = wanted[0].sum(1, keepdims=True) if width == 1 else wanted[0]
    near(found["relevance/x"], own)
    near(found["relevance/z"], wanted[1])
    closes(found["ledger"])


def closes(ledger: np.ndarray) -> None:
    assert np.all(np.isfinite(ledger))
    assert np.abs(ledger[:, :, 7]).max() <= CLOSED * np.abs(ledger[:, :, 0]).max()


@pytest.mark.usefixtures("switched")
@pytest.mark.parametrize("gates", GATES)
def test_zero_times_zero_is_finite(gates: str, tmp_path) -> None:
    x, z = np.float32([[-1, -1, 2, 0.5]]), np.float32([[0, 3, 0, -0.5]])
    r = np.float32([[7, 5, 3, 2]])
    found = run("g = Relu(x) y = Mul(g, z)", gates, tmp_path, {"x": x, "z": z}, r)
    closes(found["ledger"])
    total = found["relevance/x"] + found["relevance/z"]
    if gates == "prop":
        # g + s is 0 in the first and in the last place: dead.
        np.testing.assert_allclose(total, [[0, 5, 3, 0]], rtol=1e-5)
        assert found["ledger"][0, :, 5].sum() == pytest.approx(9)
    else:
        np.testing.assert_allclose(total, r, rtol=1e-6)
    if gates == "abs":
        assert found["relevance/x"][0, 0] == pytest.approx(3.5)


@pytest.mark.usefixtures("switched")
@pytest.mark.parametrize("gates", GATES)
def test_weights_times_values(gates: str, tmp_path) -> None:
    rng = np.random.default_rng(1)
    x, z = rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 4, 5))
    a = np.exp(x) / np.exp(x).sum(-1, keepdims=True)
    r = rng.normal(size=(2, 3, 5)) * (np.abs(a @ z) > 0.1)
    found = run(MIXED, gates, tmp_path, {"x": x.astype(np.float32), "z": z.astype(np.float32)}, r)
    closes(found["ledger"])
    if gates == "all":
        assert not found["relevance/x"].any()
        near(found["relevance/z"], z * (np.swapaxes(a, 1, 2) @ (r / oracle.stable(a @ z))))
        return
    wanted = oracle.weighted(a, z, r)
    near(found["relevance/x"], wanted[0])
    near(found["relevance/z"], wanted[1])


@pytest.mark.parametrize("gates", GATES)
def test_without_a_switch_each_takes_half(gates: str, tmp_path) -> None:
    rng = np.random.default_rng(2)
    x, z, r = (rng.normal(size=(2, 4)).astype(np.float32) for _ in range(3))
    found = run("y = Mul(x, z)", gates, tmp_path, {"x": x, "z": z}, r)
    np.testing.assert_array_equal(found["relevance/x"], r / 2)
    np.testing.assert_array_equal(found["relevance/z"], r / 2)


def test_unknown_gates() -> None:
    with pytest.raises(CompositeError, match="gates='none' is not one of all, half, abs, prop"):
        Uniform(gates="none")
    with pytest.raises(CompositeError, match="is not one of whole, opwise"):
        onnxlrp.composites.options_of("epsilon:cell=none")


def test_parameters_of_any_composite(tmp_path) -> None:
    options_of = onnxlrp.composites.options_of
    assert options_of("epsilon:gates=prop,cell=opwise").gates == "prop"
    assert options_of("auto:cell=opwise").cell == "opwise"
    assert (options_of("attnlrp").gates, options_of("cp-lrp").gates) == ("half", "all")
    assert (options_of("gradient").gates, options_of("gradient").cell) == ("all", "whole")
    assert options_of(write(tmp_path, cell="opwise")).cell == "opwise"
    with pytest.raises(CompositeError, match="has no parameter 'gates'"):
        options_of("attnlrp:gates=all")
