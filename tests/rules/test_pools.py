"""Max pools and other choices: the winner, its form without indices, averages in its place."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

import onnxlrp
from tests import oracle
from tests.engine import Array, Session, model_of
from tests.ops.case import FORMS, SAMPLES, Case
from tests.ops.windows import MAX_POOLS
from tests.rules.composite import write

AGREEMENT = 1e-5
"""As for every single rule."""

LARGE = 1000.0

POOLS = [pytest.param(case, id=case.name) for case in MAX_POOLS if "indices" not in case.name]
WINDOWED = [case for case in MAX_POOLS if "indices" not in case.name and "Global" not in case.body]


def members(case: Case, run: Session) -> np.ndarray:
    """`[J, I]`: which inputs each output chooses among, from the forward pass alone."""
    shape = case.inputs["x"]
    columns = []
    for index in range(int(np.prod(shape))):
        x = np.zeros(shape, dtype=np.float32)
        x.reshape(-1)[index] = LARGE
        columns.append(run({"x": x})["y"].reshape(-1) == LARGE)
    return np.stack(columns, axis=1)


def relevance(case: Case, form: str, composite: str, x: Array, r: Array) -> Array:
    model = onnxlrp.compile(case.model(form), composite=composite, target="seed").model
    onnx.checker.check_model(model, full_check=True)
    return Session(model)({"x": x, "seed": r})["relevance/x"]


@pytest.mark.parametrize("sample", ["apart", "ties"])
@pytest.mark.parametrize("rule", ["indices", "mask"])
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", POOLS)
def test_winner(case: Case, form: str, rule: str, sample: str, tmp_path: Path) -> None:
    composite = write(tmp_path, {"rule": "WinnerTakesAll", "form": rule})
    rng, run = case.rng(), Session(case.model())
    x = SAMPLES[sample](rng, case.inputs["x"])
    y = run({"x": x})["y"]
    r = rng.standard_normal(y.shape).astype(np.float32)
    found = relevance(case, form, composite, x, r)
    wanted = oracle.winner(members(case, run), x.reshape(-1), r.reshape(-1))
    np.testing.assert_allclose(found.reshape(-1), wanted, rtol=0, atol=1e-6)


def test_mask_of_very_negative_inputs(tmp_path: Path) -> None:
    body = "y = MaxPool<kernel_shape = [2, 2], pads = [1, 1, 1, 1], strides = [2, 2]>(x)"
    case = Case("negative", body, {"x": (1, 1, 3, 3)})
    x = np.full((1, 1, 3, 3), -3e38, dtype=np.float32)
    r = np.arange(1, 5, dtype=np.float32).reshape(1, 1, 2, 2)
    both = [
        relevance(case, "static", write(tmp_path, {"rule": "WinnerTakesAll", "form": form}), x, r)
        for form in ("mask", "indices")
    ]
    np.testing.assert_array_equal(*both)


def average_of(case: Case, *, half: bool) -> np.ndarray:
    """The dense average over the same windows (padding counts) or over 2 x 2."""
    rank = len(case.inputs["x"]) - 2
    body = f"y = AveragePool<kernel_shape = {[2] * rank}, strides = {[2] * rank}>(x)"
    if not half:
        body = case.body.replace("MaxPool<", "AveragePool<count_include_pad = 1, ")
        body = body.replace(", storage_order = 1", "")
    run = Session(model_of(body, case.inputs))
    shape = case.inputs["x"]
    units = np.eye(int(np.prod(shape)), dtype=np.float32).reshape(-1, *shape)
    return np.stack([run({"x": unit})["y"].reshape(-1) for unit in units], axis=1).astype(float)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "case", [pytest.param(case, id=case.name) for case in WINDOWED if case.opset == 21]
)
def test_average_over_the_same_window(case: Case, form: str, tmp_path: Path) -> None:
    composite = write(tmp_path, {"rule": "Average", "epsilon": 0.05})
    agree_with_average(case, form, composite, average_of(case, half=False))


@pytest.mark.parametrize("size", [(6, 8), (7, 9), (8, 7)])
def test_average_over_two_by_two(size: tuple[int, int], tmp_path: Path) -> None:
    """3 x 3, stride 2, pad 1 on even sizes; elsewhere the counts differ: the same window."""
    body = "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)"
    case = Case(f"half {size}", body, {"x": (2, 2, *size)}, sample="apart")
    composite = write(tmp_path, {"rule": "Average", "epsilon": 0.05, "window": "half"})
    even = all(n % 2 == 0 for n in size)
    agree_with_average(case, "static", composite, average_of(case, half=even))


def agree_with_average(case: Case, form: str, composite: str, matrix: np.ndarray) -> None:
    x = case.feeds()["x"]
    y = Session(case.model())({"x": x})["y"]
    mean = matrix @ x.reshape(-1)
    r = case.rng().standard_normal(mean.shape) * (np.abs(mean) > 0.1)
    wanted = oracle.norm(matrix, x.reshape(-1).astype(float), mean, r, epsilon=0.05)
    found = relevance(case, form, composite, x, r.reshape(y.shape).astype(np.float32))
    size = np.abs(wanted).max()
    np.testing.assert_allclose(found.reshape(-1), wanted, rtol=0, atol=AGREEMENT * size)


@pytest.mark.parametrize("op", ["ReduceMax", "ReduceMin", "GlobalMaxPool"])
def test_the_first_of_equals_wins(op: str, tmp_path: Path) -> None:
    body = f"y = {op}(x)" if op.startswith("Global") else f"y = {op}(x, a)"
    case = Case("ties", body, {"x": (1, 2, 2, 2)}, {"a": [2, 3]})
    case = replace(case, constants={} if op.startswith("Global") else case.constants)
    x = np.ones((1, 2, 2, 2), dtype=np.float32)
    found = relevance(case, "symbolic", write(tmp_path), x, np.ones((1, 2, 1, 1), np.float32))
    wanted = np.zeros_like(x)
    wanted[:, :, 0, 0] = 1
    np.testing.assert_array_equal(found, wanted)
