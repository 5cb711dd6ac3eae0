"""The winner of a max pool by comparisons: ties, infinities, several targets, no indices."""

import itertools
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxlrp
from tests.engine import Array, Session
from tests.ops.case import FORMS, Case
from tests.ops.windows import MAX_POOLS

GEOMETRIES = {
    "2": ((2, 2), (2, 2), (0, 0, 0, 0), (6, 8)),
    "2 odd": ((2, 2), (2, 2), (0, 0, 0, 0), (5, 7)),
    "3": ((3, 3), (3, 3), (0, 0, 0, 0), (6, 9)),
    "2 by 3": ((2, 3), (2, 3), (0, 0, 0, 0), (4, 6)),
    "overlap": ((3, 3), (2, 2), (1, 1, 1, 1), (6, 7)),
    "overlap without pads": ((3, 3), (2, 2), (0, 0, 0, 0), (7, 6)),
    "stride 1": ((3, 3), (1, 1), (1, 1, 1, 1), (4, 5)),
    "asymmetric": ((3, 2), (2, 1), (0, 1, 2, 0), (5, 5)),
}
BLOCK = 16
"""Channels that ONNX Runtime keeps side by side where it optimises."""

SAMPLES = {
    "few values": lambda rng, shape: rng.integers(0, 2, shape),
    "few negative values": lambda rng, shape: -rng.integers(1, 3, shape),
    "both signs": lambda rng, shape: rng.integers(-1, 2, shape),
    "all equal": lambda rng, shape: np.full(shape, -0.5),
    "zeros of both signs": lambda rng, shape: rng.choice([0.0, -0.0], shape),
    "some infinite": lambda rng, shape: np.where(rng.uniform(size=shape) < 0.3, -np.inf, -1.0),
}


@pytest.fixture(autouse=True)
def _small_pools_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnxlrp.ops.winners.SMALL", 0)


def first_maximum(x: Array, r: Array, name: str) -> Array:
    """Each window's relevance to its first maximum in row-major order, element by element."""
    (rows, columns), strides, pads, _ = GEOMETRIES[name]
    found = np.zeros_like(x)
    for n, c, i, j in itertools.product(*map(range, r.shape)):
        top, left = i * strides[0] - pads[0], j * strides[1] - pads[1]
        places = [
            (row, column)
            for row in range(top, top + rows)
            for column in range(left, left + columns)
            if 0 <= row < x.shape[2] and 0 <= column < x.shape[3]
        ]
        row, column = max(places, key=lambda place: x[n, c, *place])
        found[n, c, row, column] += r[n, c, i, j]
    return found


def pool(name: str, channels: int = 3) -> Case:
    kernel, strides, pads, size = GEOMETRIES[name]
    body = f"y = MaxPool<kernel_shape = {list(kernel)}, strides = {list(strides)}, pads = "
    return Case(name, f"{body}{list(pads)}>(x)", {"x": (2, channels, *size)})


@pytest.mark.parametrize("optimize", [False, True])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("sample", SAMPLES)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_the_first_of_equals_wins(name: str, sample: str, form: str, optimize: bool) -> None:
    case = pool(name, BLOCK if optimize else 3)
    rng = case.rng()
    x = np.asarray(SAMPLES[sample](rng, case.inputs["x"]), dtype=np.float32)
    shape = Session(case.model())({"x": x})["y"].shape
    r = rng.integers(-4, 5, shape).astype(np.float32)
    model = onnxlrp.compile(case.model(form), composite="gradient", target="seed").model
    found = Session(model, optimize=optimize)({"x": x, "seed": r})["relevance/x"]
    np.testing.assert_array_equal(found, first_maximum(x, r, name))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", GEOMETRIES)
def test_several_targets_with_ties(name: str, form: str) -> None:
    """What is compared has no copies: the same winners for each target."""
    case = pool(name)
    rng = case.rng()
    x = rng.integers(-2, 0, case.inputs["x"]).astype(np.float32)
    options = {"composite": "gradient", "target": "input:2", "start": "one"}
    run = Session(onnxlrp.compile(case.model(form), **options).model)
    dims = Session(case.model())({"x": x})["y"].shape
    targets = rng.integers(0, dims[1:], (2, 2, 3))
    found = run({"x": x, "target": targets})["relevance/x"]
    for k in range(2):
        r = np.zeros(dims, dtype=np.float32)
        for n, place in enumerate(targets[:, k]):
            r[n, *place] = 1
        np.testing.assert_array_equal(found[:, k], first_maximum(x, r, name))


APART = ("maxpool gap", "maxpool dilations pads ceil")

STATIC = [case for case in MAX_POOLS if "Global" not in case.body and "y, i" not in case.body]


@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in STATIC])
def test_known_sizes_need_no_indices(case: Case) -> None:
    """But for windows that leave rows or columns out between them."""
    made = onnxlrp.compile(case.model(), composite="gradient", target="seed").model
    assert ("ScatterElements" in operators(made)) == (case.name in APART)


def operators(model: onnx.ModelProto) -> set[str]:
    return {node.op_type for node in model.graph.node}


@pytest.mark.parametrize(("side", "indices"), [(8, True), (96, False)])
def test_small_pools_take_fewer_nodes(
    side: int, indices: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    body = "y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)"
    case = Case("small", body, {"x": (1, 4, side, side)})
    made = onnxlrp.compile(case.model(), composite="gradient", target="seed").model
    assert ("ScatterElements" in operators(made)) == indices


def test_wide_windows_take_indices() -> None:
    """One node in place of hundreds."""
    case = Case("wide", "y = MaxPool<kernel_shape = [20, 20]>(x)", {"x": (1, 2, 24, 24)})
    made = onnxlrp.compile(case.model(), composite="gradient", target="seed").model
    assert "ScatterElements" in operators(made)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_a_second_runtime_agrees(name: str, tmp_path: Path) -> None:
    openvino = pytest.importorskip("openvino")
    case = pool(name)
    rng = case.rng()
    x = rng.integers(-2, 2, case.inputs["x"]).astype(np.float32)
    shape = Session(case.model())({"x": x})["y"].shape
    r = rng.standard_normal(shape).astype(np.float32)
    model = onnxlrp.compile(case.model(), composite="gradient", target="seed").model
    onnx.save(model, tmp_path / "pool.onnx")
    exact = {"INFERENCE_PRECISION_HINT": "f32"}
    run = openvino.Core().compile_model(str(tmp_path / "pool.onnx"), "CPU", exact)
    found = np.asarray(run({"x": x, "seed": r})[run.output("relevance/x")])
    np.testing.assert_allclose(found, first_maximum(x, r, name), rtol=0, atol=1e-6)
