"""Every operator case: gradient, prediction, batches, several targets, ledger."""

import functools

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

import onnxlrp
from onnxlrp.errors import RuleError
from onnxlrp.graph.load import load
from tests.engine import STANDARD, Array, Run, domains
from tests.ops.case import FORMS, Case, jacobian
from tests.ops.cases import CASES

LINEAR = 1e-5
"""Affine maps: float32 sums of up to a hundred products, on both sides."""

SMOOTH = 2e-3
"""Others: float32 noise of the forward divided by STEP (1e-7 * max|y| / 0.05), and the rest of the
difference formula."""

CLOSED = 1e-5
"""Unexplained part of a ledger row, as a share of sum|in|."""

SMALLEST = 0.1
"""Relevance starts only where |y| is larger: the error of a quotient grows as 1/|y|."""

SINGLE = 1e-5
"""A batch and its samples one by one differ by the order of float32 sums only."""

TABLE = [pytest.param(case, form, id=f"{case.name}-{form}") for case in CASES for form in FORMS]
BATCHED = [pytest.param(case, id=case.name) for case in CASES if case.batch]
SAMPLEWISE = [pytest.param(case, id=case.name) for case in CASES if case.samplewise]


def compiled(case: Case, form: str, **options: object) -> onnx.ModelProto:
    options = {"composite": "gradient", "target": "seed", "keep_softmax": True, **options}
    return onnxlrp.compile(case.model(form), **options).model


def relevance(run: Run, feeds: dict[str, Array]) -> dict[str, Array]:
    outputs = run(feeds)
    return {k[10:]: v for k, v in outputs.items() if k.startswith("relevance/")}


def seed_for(y: Array, rng: np.random.Generator) -> Array:
    """Random relevance, none where y is small or the same by chance."""
    return (rng.uniform(0.5, 1.5, y.shape) * (np.abs(y) > SMALLEST)).astype(np.float32)


@functools.lru_cache(maxsize=4)
def _differences(name: str) -> dict[str, NDArray[np.float64]]:
    case = next(case for case in CASES if case.name == name)
    return jacobian(case, case.session(case.model()))


def close(actual: Array, wanted: Array, tolerance: float) -> None:
    assert actual.shape == wanted.shape
    assert actual.dtype == np.float32
    size = max(float(np.abs(wanted).max(initial=0)), 1e-3)
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=tolerance * size)


@pytest.mark.parametrize(("case", "form"), TABLE)
def test_gradient(case: Case, form: str) -> None:
    model = compiled(case, form)
    onnx.checker.check_model(model, full_check=True)
    assert domains(model) <= STANDARD | domains(case.model(form))
    assert onnx.ModelProto.SerializeToString(compiled(case, form), deterministic=True) == (
        model.SerializeToString(deterministic=True)
    )
    feeds, run = case.feeds(), case.session(model)
    lifted = case.session(load(case.model(form)).source)(feeds)["y"]
    r = case.rng().standard_normal(lifted.shape).astype(np.float32)
    outputs = run({**feeds, "seed": r})
    assert outputs["y"].tobytes() == lifted.tobytes()
    for name, matrix in _differences(case.name).items():
        wanted = (r.reshape(-1).astype(np.float64) @ matrix).reshape(feeds[name].shape)
        close(outputs[f"relevance/{name}"], wanted, LINEAR if case.linear else SMOOTH)


@pytest.mark.parametrize("case", BATCHED)
def test_batch_equals_singles(case: Case) -> None:
    feeds, run = case.feeds(), case.session(compiled(case, "symbolic"))
    y = case.session(case.model())(feeds)["y"]
    r = case.rng().standard_normal(y.shape).astype(np.float32)
    together = relevance(run, {**feeds, "seed": r})["x"]
    size = len(y)
    for n in range(size):
        one = {k: v[n : n + 1] if v.shape[:1] == (size,) else v for k, v in feeds.items()}
        alone = relevance(run, {**one, "seed": r[n : n + 1]})["x"]
        close(alone, together[n : n + 1], SINGLE)


def chosen(model: onnx.ModelProto, y: Array, count: int, rng: np.random.Generator) -> Array:
    """Random targets `[N, T]` or `[N, T, r]` as the model's input asks for them."""
    given = next(value for value in model.graph.input if value.name == "target")
    symbolic = any(d.dim_param for d in model.graph.output[0].type.tensor_type.shape.dim[1:])
    sizes = [dim for dim in y.shape[1:] if dim != 1 or symbolic]
    tail = len(given.type.tensor_type.shape.dim) - 2
    columns = [rng.integers(0, size, (len(y), count)) for size in sizes]
    return np.stack(columns, axis=-1) if tail else columns[0]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", SAMPLEWISE)
def test_several_targets_equal_single_runs(case: Case, form: str) -> None:
    feeds = case.feeds()
    y = case.session(case.model())(feeds)["y"]
    if y.size == len(y):
        pytest.skip("one entry: no target to choose")
    model = compiled(case, form, target="input:3", start="one")
    one = case.session(compiled(case, form, target="input", start="one"))
    targets = chosen(model, y, 3, case.rng())
    together = case.session(model)
    for rows in (slice(None), slice(0, 1)) if form == "symbolic" else (slice(None),):
        some = {name: array[rows] for name, array in feeds.items()}
        several = relevance(together, {**some, "target": targets[rows]})
        for name, found in several.items():
            assert found.shape == (some[name].shape[0], 3, *some[name].shape[1:])
            for k in range(3):
                alone = relevance(one, {**some, "target": targets[rows, k]})[name]
                close(found[:, k], alone, SINGLE)


MIXED = ("matmul live broadcast", "matmul live", "gemm both 00", "gemm live c beta")
"""One of two inputs has no batch on axis 0."""


@pytest.mark.parametrize("name", [*MIXED, "add live vector", "add live row", "split batch"])
def test_several_targets_need_the_batch_everywhere(name: str) -> None:
    """Fixed sizes tell; of two symbols any may be the batch, and the run fails where none is."""
    case = next(case for case in CASES if case.name == name)
    with pytest.raises(RuleError, match="several targets per sample need the batch"):
        compiled(case, "static", target="input:3", start="one")


@pytest.mark.parametrize(
    "name", [*MIXED, "split batch", "flatten 0", "ReduceSum batch 1", "ReduceSum all 0"]
)
def test_ledger_without_a_batch_everywhere(name: str) -> None:
    """Where samples mix there is one row for all of them."""
    case = next(case for case in CASES if case.name == name)
    feeds = case.feeds()
    y = case.session(case.model())(feeds)["y"]
    r = np.asarray(seed_for(y, case.rng()))
    model = compiled(case, "static", composite="epsilon", ledger=True)
    table = case.session(model)({**feeds, "seed": r})["ledger"]
    assert table.shape[0] == 1
    assert np.all(np.abs(table[:, :, 7]) <= CLOSED * np.abs(r).sum())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("composite", ["epsilon", "gradient"])
@pytest.mark.parametrize("case", SAMPLEWISE)
def test_ledger_closes(case: Case, form: str, composite: str) -> None:
    feeds = case.feeds()
    y = case.session(case.model())(feeds)["y"]
    r = seed_for(y, case.rng())
    model = compiled(case, form, composite=composite, ledger=True)
    outputs = case.session(model)({**feeds, "seed": r})
    table = outputs["ledger"].astype(np.float64)
    assert np.all(np.isfinite(table))
    into = np.abs(r).reshape(len(y), -1).sum(axis=1)
    bound = np.maximum(into[:, None], np.abs(table[:, :, :7]).max(axis=2))
    assert np.all(np.abs(table[:, :, 7]) <= CLOSED * bound)
    out = sum(outputs[f"relevance/{name}"].reshape(len(y), -1).sum(axis=1) for name in feeds)
    gone = table[:, :, 2:].sum(axis=(1, 2))
    assert np.all(
        np.abs(r.reshape(len(y), -1).sum(axis=1) - gone - out) <= CLOSED * bound.sum(axis=1)
    )
