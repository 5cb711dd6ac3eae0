"""The real models of half precision and of quantised numbers: explained by a float32 copy."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from onnxlrp import compile  # noqa: A004
from tests.cases import zoo
from tests.lower.shadow import LEVELS, copy_of

NAMES = ("audio_kws_qdq", "imagenet_squeezenet_fp16")
CLOSES = 1e-5
"""Of the largest number of the ledger: float32 sums over up to 10^6 elements."""

MOVE = {"audio_kws_qdq": 1e-2, "imagenet_squeezenet_fp16": 0.125}
"""Largest entry of a move; the pixels of the second lie some 0.06 apart in float16."""

NEAR = 1e-2
"""Of |gradient| |move|: curvature and kinks over the moves above; halving them halves it."""

DISTANCE = 0.02
"""Of max|y|: by how much rounding to 8 bits or to float16 may move the explained output."""

pytestmark = pytest.mark.skipif(not zoo.manifest(), reason="no folder of cases beside it")


def run(model: bytes, feeds: dict, level: str) -> dict[str, np.ndarray]:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = LEVELS[level]
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


@pytest.mark.parametrize("preset", ["auto", "gradient", "gradient-x-input", "epsilon"])
@pytest.mark.parametrize("name", NAMES)
def test_bits_and_ledger(name: str, preset: str) -> None:
    case = zoo.case(name)
    graph = compile(case.path, composite=preset, ledger=True, probes=["*"])
    assert graph.metadata.shadow
    feeds = case.sample()
    for level in LEVELS:
        found, source = (run(m, feeds, level) for m in (graph.to_bytes(), zoo.lifted(name)))
        for key, value in source.items():
            assert np.array_equal(found[key], value)
    assert all(np.isfinite(array).all() for array in found.values())
    (key,) = graph.metadata.inputs
    assert found[f"relevance/{key}"].any()
    assert found[f"relevance/{key}"].shape == feeds[key].shape
    ledger = found["ledger"][0]
    assert np.abs(ledger[:, 7]).max() <= CLOSES * np.abs(ledger).max()
    if "shadow" in graph.metadata.ledger:
        row = ledger[graph.metadata.ledger.index("shadow")]
        assert 0 < abs(row[6]) <= DISTANCE * np.abs(found[case.output].astype(np.float32)).max()


@pytest.mark.parametrize("name", NAMES)
def test_two_classes_differ(name: str) -> None:
    case = zoo.case(name)
    feeds = case.sample()
    (key,) = case.inputs
    one, two = (
        run(compile(case.path, target=index).to_bytes(), feeds, "all")[f"relevance/{key}"]
        for index in (1, 5)
    )
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] < 0.99


@pytest.mark.parametrize("name", NAMES)
def test_copy_finds_the_same_class(name: str) -> None:
    case = zoo.case(name)
    best = case.expected[case.output].reshape(len(case.expected[case.output]), -1).argmax(1)
    model = copy_of(onnx.load(case.path)).SerializeToString()
    for index, expected in enumerate(best):
        assert run(model, case.sample(index), "all")["lrp/copy"].argmax() == expected


@pytest.mark.parametrize("name", NAMES)
def test_gradient_equals_differences_of_the_copy(name: str) -> None:
    """Along halves of the gradient itself; there are kinks, which the better half does not meet."""
    case, rng = zoo.case(name), np.random.default_rng(1)
    feeds, (key,) = case.sample(), case.inputs
    model = copy_of(onnx.load(case.path)).SerializeToString()
    best = int(run(model, feeds, "all")["lrp/copy"].argmax())
    graph = compile(case.path, composite="gradient", target=best, keep_softmax=True).to_bytes()
    gradient = run(graph, feeds, "all")[f"relevance/{key}"].astype(float)
    x, errors = feeds[key], []
    for _ in range(10):
        half = gradient * (rng.random(x.shape) < 0.5)
        move = (half / np.abs(half).max() * MOVE[name]).astype(x.dtype)
        ends = [run(model, {key: moved}, "all")["lrp/copy"].ravel()[best]
                for moved in (x + move, x - move)]  # fmt: skip
        moved = (x + move).astype(float) - (x - move).astype(float)
        expected = float(np.float64(ends[0]) - np.float64(ends[1]))
        size = np.linalg.norm(gradient) * np.linalg.norm(moved)
        errors.append(abs((gradient * moved).sum() - expected) / size)
    assert np.median(errors) <= NEAR
