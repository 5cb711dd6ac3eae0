"""Linear maps x rules against the dense oracle, with the ledger."""

import re
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxlrp
from tests import oracle
from tests.engine import Session
from tests.ops.algebra import GEMMS, MATMULS
from tests.ops.case import FORMS, Case
from tests.ops.scaling import BATCH_NORMS
from tests.ops.windows import AVERAGE_POOLS, CONVOLUTIONS, TRANSPOSED
from tests.rules.composite import write
from tests.rules.dense import dense, rectified

AGREEMENT = 1e-5
"""Single rules in float32 against float64, as a share of max|R|."""

CLOSED = 1e-5
"""Ledger columns and the unexplained rest, as a share of sum|in|."""

SMALLEST = 0.1
"""Relevance starts only where every denominator is larger: the error grows as 1 / |z|."""

LOW, HIGH = -2.5, 3.0

RULES = {
    "epsilon": (oracle.epsilon, {"rule": "Epsilon"}),
    "epsilon large": (oracle.epsilon, {"rule": "Epsilon", "epsilon": 0.05}),
    "epsilon 0": (oracle.epsilon, {"rule": "Epsilon", "epsilon": 0}),
    "epsilon unsigned": (
        oracle.epsilon,
        {"rule": "Epsilon", "epsilon": 0.05, "stabilizer": "unsigned"},
    ),
    "epsilon clip": (oracle.epsilon, {"rule": "Epsilon", "epsilon": 0.3, "stabilizer": "clip"}),
    "epsilon zero-only": (
        oracle.epsilon,
        {"rule": "Epsilon", "epsilon": 0.05, "stabilizer": "zero-only"},
    ),
    "epsilon bias none": (oracle.epsilon, {"rule": "Epsilon", "bias": "none"}),
    "z+": (oracle.alpha_beta, {"rule": "AlphaBeta"}),
    "z+ clip": (oracle.alpha_beta, {"rule": "AlphaBeta", "epsilon": 0.3, "stabilizer": "clip"}),
    "alpha2 beta1": (oracle.alpha_beta, {"rule": "AlphaBeta", "alpha": 2, "beta": 1}),
    "alpha2 beta1 difference": (
        oracle.alpha_beta,
        {"rule": "AlphaBeta", "alpha": 2, "beta": 1, "negative": "difference"},
    ),
    "alpha2 beta1 large": (
        oracle.alpha_beta,
        {"rule": "AlphaBeta", "alpha": 2, "beta": 1, "epsilon": 0.05},
    ),
    "alpha2 beta1 unsigned": (
        oracle.alpha_beta,
        {"rule": "AlphaBeta", "alpha": 2, "beta": 1, "epsilon": 0.02, "stabilizer": "unsigned"},
    ),
    **{
        f"alpha2 beta1 bias {bias}": (
            oracle.alpha_beta,
            {"rule": "AlphaBeta", "alpha": 2, "beta": 1, "bias": bias},
        )
        for bias in ("raw", "both", "none")
    },
    "captum alpha1 beta0": (
        oracle.alpha_beta,
        {"rule": "AlphaBeta", "bias": "raw", "negative_input": "ignore", "epsilon": 1e-9},
    ),
    "alpha2 beta1 ignore": (
        oracle.alpha_beta,
        {"rule": "AlphaBeta", "alpha": 2, "beta": 1, "negative_input": "ignore"},
    ),
    "follow": (oracle.follow, {"rule": "AlphaBeta", "bias": "none", "follow": True}),
    "gamma": (oracle.gamma, {"rule": "Gamma"}),
    "gamma 2": (oracle.gamma, {"rule": "Gamma", "gamma": 2.0, "epsilon": 0.05}),
    "gamma bias raw": (oracle.gamma, {"rule": "Gamma", "bias": "raw"}),
    "gamma bias none": (oracle.gamma, {"rule": "Gamma", "bias": "none"}),
    "captum gamma": (
        oracle.simple_gamma,
        {"rule": "Gamma", "bias": "raw", "negative_input": "ignore", "epsilon": 1e-9},
    ),
    "simple gamma": (
        oracle.simple_gamma,
        {"rule": "Gamma", "bias": "positive", "negative_input": "ignore"},
    ),
    "z-box": (oracle.z_box, {"rule": "ZBox", "low": LOW, "high": HIGH}),
    "w-square": (oracle.w_square, {"rule": "WSquare"}),
    "w-square bias none": (oracle.w_square, {"rule": "WSquare", "bias": "none"}),
    "flat": (oracle.flat, {"rule": "Flat"}),
    "z+ flat": (oracle.z_plus_flat, {"rule": "ZPlusFlat"}),
    "z+ even": (
        oracle.z_plus_even,
        {"rule": "AlphaBeta", "bias": "none", "epsilon": 0.05, "stabilizer": "even"},
    ),
    "z+ flat even": (
        oracle.z_plus_flat_even,
        {"rule": "ZPlusFlat", "epsilon": 0.05, "stabilizer": "even"},
    ),
}

POOLED = ("flat", "w-square")
"""On a map without weights these share by its own coefficients: another formula."""

MAPS = [
    case
    for case in (*CONVOLUTIONS, *TRANSPOSED, *GEMMS, *MATMULS, *AVERAGE_POOLS, *BATCH_NORMS)
    if case.linear
    and list(case.inputs) == ["x"]
    and case.opset == 21
    and case.name != "gemm only c"
]
TABLE = [
    pytest.param(case, name, FORMS[(i + j) % 2], id=f"{case.name}-{name}")
    for i, case in enumerate(MAPS)
    for j, name in enumerate(RULES)
]


def options_of(row: dict[str, object]) -> dict[str, object]:
    """The row's parameters as the oracle calls them."""
    form = {"rule", "stabilizer", "follow", "negative"}
    rest = {key: value for key, value in row.items() if key not in form}
    if row.get("follow") or row.get("stabilizer") == "even":
        rest.pop("bias", None)
    if "negative_input" in rest and row["rule"] == "Gamma":
        rest.pop("negative_input")
    mode = row.get("stabilizer", "even")
    return rest | ({} if mode == "even" else {"mode": mode})


def expected(case: Case, name: str, x: np.ndarray, r: np.ndarray) -> oracle.Shared:
    rule, row = RULES[name]
    matrix = dense(case)
    options = options_of(row)
    return rule(
        matrix.w, x.astype(np.float64).reshape(-1), matrix.b, r.astype(np.float64), **options
    )


def agree(case: Case, name: str, form: str, folder: Path, *, relu: bool = False) -> None:
    composite = write(folder, {"kind": "LinearMap", **RULES[name][1]}, bn="epsilon")
    x = case.feeds()["x"]
    operand = np.maximum(x, 0) if relu else x
    shape = dense(case).shape
    ones = np.ones(int(np.prod(shape)))
    smallest = expected(case, name, operand, ones).smallest
    safe = smallest > min(SMALLEST, np.median(smallest))
    r = (case.rng().standard_normal(shape).reshape(-1) * safe).astype(np.float32)
    wanted = expected(case, name, operand, r)
    source = (rectified(case) if relu else case).model(form)
    model = onnxlrp.compile(
        source, composite=composite, target="seed", ledger=case.samplewise
    ).model
    onnx.checker.check_model(model, full_check=True)
    outputs = Session(model)({"x": x, "seed": r.reshape(shape)})
    assert safe.any()
    size = np.abs(wanted.relevance).max()
    found = outputs["relevance/x"].reshape(-1)
    np.testing.assert_allclose(found, wanted.relevance, rtol=0, atol=AGREEMENT * size)
    if case.samplewise:
        row = outputs["ledger"].astype(np.float64)[:, 0].sum(axis=0)
        losses = [wanted.bias, wanted.stabilizer, 0, wanted.dead, 0, 0]
        bound = CLOSED * max(np.abs(r).sum(), *np.abs(losses))
        np.testing.assert_allclose(row[2:], losses, rtol=0, atol=bound)


@pytest.mark.parametrize(("case", "name", "form"), TABLE)
def test_rule(case: Case, name: str, form: str, tmp_path: Path) -> None:
    if name.startswith(POOLED) and re.search("AveragePool", case.body):
        pytest.skip("a map without weights")
    agree(case, name, form, tmp_path)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize(
    "case", [pytest.param(MAPS[i], id=MAPS[i].name) for i in (1, 3, 6, 25, 45, 60)]
)
def test_rule_on_a_rectified_input(case: Case, name: str, tmp_path: Path) -> None:
    agree(case, name, "symbolic", tmp_path, relu=True)
