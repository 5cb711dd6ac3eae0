"""Each canonizer: before and after as text, equal relevance, near misses."""

from pathlib import Path

import numpy as np
import pytest

import onnxlrp
from tests import oracle
from tests.canonize.sites import model, reasons, text, view_of
from tests.engine import Session
from tests.rules.composite import write

AGREEMENT = 1e-5
"""As for every single rule; a folded weight is rounded once more."""

X4 = {"x": ("N", 2, 4, 4)}
X2 = {"x": ("N", 4)}
BN = {"s": (3,), "c": (3,), "m": (3,), "v": (3,)}
BATCH_NORM = "BatchNormalization(a, s, c, m, v)"

FOLDED = {
    "conv": (
        f"a = Conv(x, w) y = {BATCH_NORM}",
        X4,
        {"w": (3, 2, 3, 2), **BN},
        ["y = Conv(x, <Mul>, <Sub>) [Conv + BatchNormalization]"],
    ),
    "conv bias": (
        f"a = Conv<strides = [2, 1]>(x, w, b) y = {BATCH_NORM}",
        X4,
        {"w": (3, 2, 3, 2), "b": (3,), **BN},
        ["y = Conv(x, <Mul>, <Add>) [Conv + BatchNormalization]"],
    ),
    "tconv": (
        f"a = ConvTranspose<strides = [2, 1]>(x, w, b) y = {BATCH_NORM}",
        X4,
        {"w": (2, 3, 3, 2), "b": (3,), **BN},
        ["y = ConvTranspose(x, <Mul>, <Add>) [ConvTranspose + BatchNormalization]"],
    ),
    "tconv groups": (
        "a = ConvTranspose<group = 2>(x, w) y = BatchNormalization(a, s, c, m, v)",
        X4,
        {"w": (2, 2, 3, 2), "s": (4,), "c": (4,), "m": (4,), "v": (4,)},
        ["y = ConvTranspose(x, <Reshape>, <Sub>) [ConvTranspose + BatchNormalization]"],
    ),
    "gemm": (
        f"a = Gemm<alpha = -0.5, beta = 2.0>(x, w, b) y = {BATCH_NORM}",
        X2,
        {"w": (4, 3), "b": (3,), **BN},
        ["y = Gemm(x, <Mul>, <Add>) [Gemm + BatchNormalization]"],
    ),
    "gemm transB": (
        f"a = Gemm<transB = 1>(x, w) y = {BATCH_NORM}",
        X2,
        {"w": (3, 4), **BN},
        ["y = Gemm(x, <Mul>, <Sub>) [Gemm + BatchNormalization]"],
    ),
    "matmul": (
        f"a = MatMul(x, w) y = {BATCH_NORM}",
        X2,
        {"w": (4, 3), **BN},
        ["y = MatMul(x, <Mul>, <Sub>) [MatMul + BatchNormalization]"],
    ),
    "matmul add": (
        f"h = MatMul(x, w) a = Add(b, h) y = {BATCH_NORM}",
        X2,
        {"w": (4, 3), "b": (3,), **BN},
        ["y = MatMul(x, <Mul>, <Add>) [MatMul + Add + BatchNormalization]"],
    ),
    "matmul bias": (
        "a = MatMul(x, w) y = Add(a, b)",
        {"x": ("N", 3, 4)},
        {"w": (4, 3), "b": (1, 3)},
        ["y = MatMul(x, w, b) [MatMul + Add]"],
    ),
    "conv add": (
        "a = Conv(x, w) y = Add(a, b)",
        X4,
        {"w": (3, 2, 3, 2), "b": (3, 1, 1)},
        ["y = Conv(x, w, <Reshape>) [Conv + Add]"],
    ),
    "gemm add": (
        "a = Gemm<beta = 0.5>(x, w) y = Add(b, a)",
        X2,
        {"w": (4, 3), "b": (1, 3)},
        ["y = Gemm(x, w, <Reshape>) [Gemm + Add]"],
    ),
}


@pytest.mark.parametrize("name", FOLDED)
def test_folded_into_one_map(name: str, tmp_path: Path) -> None:
    body, inputs, sizes, after = FOLDED[name]
    source = model(body, inputs, sizes)
    assert text(view_of(source)) == after
    agree_with_oracle(source, tmp_path)


def agree_with_oracle(source, folder: Path) -> None:
    """z+ on the folded map equals z+ on the dense matrix of both operators together."""
    composite = write(folder, {"kind": "LinearMap", "rule": "AlphaBeta"})
    dims = source.graph.input[0].type.tensor_type.shape.dim
    shape = (1, *(dim.dim_value for dim in dims[1:]))
    run = Session(source)
    zero = run({"x": np.zeros(shape, np.float32)})["y"].astype(np.float64)
    units = np.eye(int(np.prod(shape)), dtype=np.float32).reshape(-1, *shape)
    w = np.stack(
        [(run({"x": u})["y"] - run({"x": -u})["y"]).reshape(-1) / 2 for u in units], axis=1
    )
    rng = np.random.default_rng(1)
    x = rng.standard_normal(shape).astype(np.float32)
    b, flat = zero.reshape(-1), x.reshape(-1).astype(float)
    safe = oracle.alpha_beta(w.astype(float), flat, b, np.ones(len(b))).smallest > 0.1
    r = (rng.standard_normal(len(b)) * safe).astype(np.float32)
    wanted = oracle.alpha_beta(w.astype(float), flat, b, r.astype(float))
    made = onnxlrp.compile(source, composite=composite, target="seed", ledger=True).model
    outputs = Session(made)({"x": x, "seed": r.reshape(zero.shape)})
    size = np.abs(wanted.relevance).max()
    found = outputs["relevance/x"].reshape(-1)
    np.testing.assert_allclose(found, wanted.relevance, rtol=0, atol=AGREEMENT * size)
    assert outputs["ledger"].shape[1] == 1
    np.testing.assert_allclose(outputs["ledger"][0, 0, 7], 0, atol=AGREEMENT * np.abs(r).sum())


def test_gemm_with_a_live_summand() -> None:
    source = model("y = Gemm<beta = 2.0>(x, w, z)", {"x": ("N", 4), "z": ("N", 3)}, {"w": (4, 3)})
    lines = text(view_of(source))
    assert [line.split(" = ")[1] for line in lines] == [
        "Gemm(x, w) [Gemm]",
        "Mul(z, lrp/constant_0) [Gemm]".replace("lrp/constant_0", "<constant>"),
        "Add(<Gemm>, <Mul>) [Gemm]",
    ]


NEAR_MISSES = {
    "batch norm of an output": (
        f"a = Conv(x, w) y = {BATCH_NORM}",
        X4,
        {"w": (3, 2, 3, 2), **BN},
        ("y", "a"),
        "'a' has another consumer or is an output",
    ),
    "batch norm beside another reader": (
        f"a = Conv(x, w) h = {BATCH_NORM} y = Add(h, a)",
        X4,
        {"w": (3, 2, 3, 2), **BN},
        ("y",),
        "'a' has another consumer or is an output",
    ),
    "batch norm of live weights": (
        f"a = MatMul(x, z) y = {BATCH_NORM}",
        {"x": ("N", 4), "z": (4, 3)},
        BN,
        ("y",),
        "a weight depends on an input",
    ),
    "batch norm of a pool": (
        f"a = GlobalAveragePool(x) y = {BATCH_NORM}",
        {"x": ("N", 3, 2, 2)},
        BN,
        ("y",),
        "no linear map before it",
    ),
    "batch norm over rows of a product": (
        f"a = MatMul(x, w) y = {BATCH_NORM}",
        {"x": ("N", 3, 4)},
        {"w": (4, 3), **BN},
        ("y",),
        "its channels are not the columns of the product",
    ),
    "batch norm with live statistics": (
        "a = MatMul(x, w) y = BatchNormalization(a, z, c, m, v)",
        {"x": ("N", 4), "z": (3,)},
        {"w": (4, 3), **{k: BN[k] for k in "cmv"}},
        ("y",),
        "a weight depends on an input",
    ),
    "batch norm behind a live summand": (
        f"a = Gemm(x, w, z) y = {BATCH_NORM}",
        {"x": ("N", 4), "z": ("N", 3)},
        {"w": (4, 3), **BN},
        ("y",),
        "no linear map before it",
    ),
    "second summand": (
        "a = Gemm(x, w, b) y = Add(a, d)",
        X2,
        {"w": (4, 3), "b": (3,), "d": (3,)},
        ("y",),
        "the map has a bias already or no constant weight",
    ),
    "summand of a product": (
        "a = MatMul(x, z) y = Add(a, b)",
        {"x": ("N", 3, 4), "z": ("N", 4, 3)},
        {"b": (3,)},
        ("y",),
        "the map has a bias already or no constant weight",
    ),
    "summand of a live summand": (
        "a = Gemm(x, w, z) y = Add(a, b)",
        {"x": ("N", 4), "z": ("N", 3)},
        {"w": (4, 3), "b": (3,)},
        ("y",),
        "no linear map before it",
    ),
    "summand per pixel": (
        "a = Conv(x, w) y = Add(a, b)",
        X4,
        {"w": (3, 2, 3, 2), "b": (3, 2, 1)},
        ("y",),
        "'b' is not one number per channel",
    ),
    "summand that widens": (
        "a = MatMul(x, w) y = Add(a, b)",
        X2,
        {"w": (4, 1), "b": (3,)},
        ("y",),
        "'b' is not one number per channel",
    ),
    "summand of one number": (
        "a = Conv(x, w) y = Add(a, b)",
        X4,
        {"w": (3, 2, 3, 2), "b": (1,)},
        ("y",),
        "'b' is not one number per channel",
    ),
    "summand of another reader": (
        "a = MatMul(x, w) h = Add(a, b) y = Mul(h, a)",
        X2,
        {"w": (4, 3), "b": (3,)},
        ("y",),
        "'a' has another consumer or is an output",
    ),
}


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_near_miss(name: str) -> None:
    body, inputs, sizes, outputs, reason = NEAR_MISSES[name]
    source = model(body, inputs, sizes, outputs)
    view = view_of(source)
    assert reason in reasons(view)
    assert len(list(view)) >= body.count(" = ")
    closes(source)


def closes(source) -> None:
    """The ledger of a graph that is not folded closes too."""
    rng = np.random.default_rng(2)
    feeds = {}
    for value in source.graph.input:
        dims = [dim.dim_value or 1 for dim in value.type.tensor_type.shape.dim]
        feeds[value.name] = rng.standard_normal(dims).astype(np.float32)
    shape = Session(source)(feeds)["y"].shape
    made = onnxlrp.compile(
        source, composite="epsilon", output="y", inputs=["x"], target="seed", ledger=True
    )
    table = Session(made.model)({**feeds, "seed": np.ones(shape, np.float32)})["ledger"]
    into = np.maximum(np.abs(table[:, :, 0]), np.abs(table[:, :, 1:7]).max(axis=2))
    assert np.all(np.abs(table[:, :, 7]) <= 1e-4 * np.maximum(into, 1))


@pytest.mark.parametrize("bn", ["epsilon", "identity"])
def test_batch_norm_stays_where_the_composite_says_so(bn: str) -> None:
    body, inputs, sizes, _ = FOLDED["conv"]
    view = view_of(model(body, inputs, sizes), bn)
    assert [site.op for site in view] == ["Conv", "BatchNormalization"]


def test_a_matched_inner_value_keeps_its_name_and_bits() -> None:
    body, inputs, sizes, _ = FOLDED["conv bias"]
    source = model(body, inputs, sizes)
    made = onnxlrp.compile(source, composite="epsilon").model
    names = [node.op_type for node in made.graph.node[:2]]
    assert names == ["Conv", "BatchNormalization"]
