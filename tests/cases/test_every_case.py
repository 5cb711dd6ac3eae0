"""The real models that `test_cases` and `test_methods` leave, with `auto`: the same checks."""

import itertools
import os

import numpy as np
import onnx
import pytest

from onnxlrp import compile  # noqa: A004
from onnxlrp.graph.graph import FLOATS
from onnxlrp.graph.load import load
from onnxlrp.plan import Request, plan
from tests.cases import zoo

REST = [name for name in zoo.every() if name not in zoo.names()]
PREDICTION = 1e-5
"""Of max|y|: fusions differ where a value has a second consumer."""

CLOSES = 1e-5
"""Of the largest sum |R| of a value: float32 sums over up to 10^6 elements."""

SLOPE = 2e-2
"""Relative to the norm over the directions: float32 forward passes and kinks."""

DIRECTIONS = 8
LARGE = {"signal_protocol_transformer"}
"""Its attention weights over 5,000 positions are 100 million numbers each: with a ledger it runs in
12.7 GiB, where it closes to 3e-7 of the largest sum |R| (measured)."""

PROBES = ["*norm*", "*linear*", "*W_*"]
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
ROOMY, SHORT = MEMORY > 40 << 30, MEMORY < 14 << 30

TOKENS = {"bytes_filetype_magika_v2fast", "signal_protocol_transformer", "text_thai_wordcut_cnn"}
"""Inputs are token ids: there is nothing to differentiate by."""

NAMES = [name for name in REST if name not in LARGE or not SHORT]

pytestmark = pytest.mark.skipif(not NAMES, reason="no folder of cases beside the repository")


def relevances(outputs):
    return {n: a for n, a in outputs.items() if n.startswith("relevance/")}


def is_shadowed(model):
    """Whether the model computes in half precision or in quantised numbers."""
    kinds = {v.dtype for n in load(model).nodes for v in n.results}
    small = {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT8, onnx.TensorProto.UINT8}
    return bool(kinds & small)


@pytest.mark.parametrize("name", NAMES)
def test_prediction_and_ledger(name):
    case = zoo.case(name)
    whole_ledger = ROOMY or name not in LARGE
    probes = PROBES if name in LARGE else ["*"]
    graph = compile(case.path, ledger=whole_ledger, probes=probes)
    data, source = graph.to_bytes(), whole(name)
    levels = (False, True) if whole_ledger else (True,)
    for optimise in levels:
        got = zoo.run(data, case.sample(), optimise=optimise)
        plain = zoo.run(source, case.sample(), optimise=optimise)
        for key, value in plain.items():
            if is_shadowed(case.path) or not optimise:
                assert np.array_equal(got[key], value), key
            else:
                assert np.abs(got[key] - value).max() <= PREDICTION * np.abs(value).max(), key
    assert all(np.isfinite(a).all() for a in got.values() if a.dtype.kind == "f")
    assert any(array.any() for array in relevances(got).values())
    if not whole_ledger:
        return
    size = max(float(np.abs(array).sum()) for array in relevances(got).values())
    assert np.abs(got["ledger"][..., 7]).max() <= CLOSES * size


def whole(name):
    """The lifted source with all its data."""
    graph = load(zoo.case(name).path)
    model = onnx.ModelProto()
    model.CopyFrom(graph.source)
    onnx.load_external_data_for_model(model, graph.folder)
    return model.SerializeToString()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in TOKENS])
def test_gradient_is_the_slope_of_what_is_explained(name):
    """Of the forward pass; of the float32 shadow where the model is quantised or half."""
    case = zoo.case(name)
    scores = case.expected[case.output][0]
    index = int(np.abs(scores).argmax())
    target = tuple(map(int, np.unravel_index(index, scores.shape)[1:])) or 0
    graph = compile(case.path, composite="gradient", target=target, output=case.output)
    request = Request(composite="gradient", output=case.output)
    explained = plan(case.path, request).output.explained.name
    model = onnx.load_model_from_string(graph.to_bytes())
    if explained not in {value.name for value in model.graph.output}:
        model.graph.output.append(onnx.helper.make_tensor_value_info(explained, 1, None))
    session = zoo.session(model.SerializeToString(), optimise=False)
    kinds = {v.name: v.dtype for v in load(case.path).inputs}
    feeds = case.sample() | {n: generic(case.sample()[n]) for n in graph.metadata.inputs}
    names = [n for n in graph.metadata.inputs if kinds[n] in FLOATS]
    rng = np.random.default_rng(0)

    def score(given):
        return float(session.run([explained], {**feeds, **given})[0].reshape(-1)[index])

    found = dict(zip(names, session.run([f"relevance/{n}" for n in names], feeds), strict=True))
    pairs = [slopes(score, feeds, found, rng) for _ in range(DIRECTIONS)]
    expected, measured = np.array(pairs).T
    assert np.linalg.norm(measured - expected) <= SLOPE * np.linalg.norm(expected)


def generic(x):
    """The sample moved off the ties of a flat background, where no derivative exists."""
    noise = np.random.default_rng(1).standard_normal(x.shape)
    return (x + 0.02 * max(np.abs(x).max(), 1e-3) * noise).astype(x.dtype)


def slopes(score, feeds, found, rng):
    """The slope along a direction by the gradient and by central differences of the best step."""
    moves = {}
    for name, slope in found.items():
        noise, along = rng.standard_normal(slope.shape), slope * rng.uniform(0, 2, slope.shape)
        moves[name] = noise / np.linalg.norm(noise) + along / max(np.linalg.norm(along), 1e-30)
    scale = max(float(np.abs(feeds[n]).max()) for n in moves) or 1.0
    rounding = float(np.finfo(np.float32).eps) * max(abs(score({})), 1.0)
    rows = []
    for h in (scale * 2.0**-k for k in range(2, 15)):
        up, down = ({n: stepped(feeds[n], s * h * m) for n, m in moves.items()} for s in (1, -1))
        by_slope = sum(float((found[n].astype(float) * gap(up[n], down[n])).sum()) for n in moves)
        rows.append((by_slope, score(up) - score(down), h))
    ratios = [measured / expected if expected else np.inf for expected, measured, _ in rows]
    errors = [
        abs(a - b) + rounding / max(abs(row[0]), 1e-30)
        for (a, b), row in zip(itertools.pairwise(ratios), rows[1:], strict=True)
    ]
    expected, measured, h = rows[int(np.argmin(errors)) + 1]
    return expected / h, measured / h


def stepped(x, move):
    """X moved, in its own precision."""
    return (x + move).astype(x.dtype)


def gap(up, down):
    return up.astype(np.float64) - down.astype(np.float64)


@pytest.mark.parametrize("name", NAMES)
def test_maps_of_two_targets_differ(name):
    case = zoo.case(name)
    output = compile(case.path).metadata.output
    scores = case.expected[output][0]
    if int(np.prod(scores.shape[1:])) == 1:
        pytest.skip("one output")
    first, second = np.argsort(scores.reshape(-1))[[-1, -2]]
    indices = [np.unravel_index(i, scores.shape)[1:] for i in (first, second)]
    maps = []
    for index in indices:
        graph = compile(case.path, target=tuple(map(int, index)))
        outputs = relevances(zoo.run(graph.to_bytes(), case.sample()))
        maps.append(np.concatenate([array.reshape(-1) for array in outputs.values()]))
    assert np.abs(maps[0] - maps[1]).max() > 1e-3 * np.abs(maps[0]).max()
