"""What the maps of the real models must satisfy, whatever the network."""

import itertools

import numpy as np
import pytest

from onnxlrp import compile  # noqa: A004
from onnxlrp.composites import PRESETS
from tests.cases import zoo

NAMES = zoo.names()
DIRECTIONS = 20
SLOPE = 1e-2
"""Relative to the norm over the directions: float32 forward passes and kinks of ReLU."""

SMOOTH = {"Sigmoid", "Tanh", "Clip", "HardSigmoid", "Softmax"}
"""Operators after which a network is not piecewise linear without offset."""

SAME = 1e-4
"""Of max|R|: epsilon 1e-9 on float32 denominators as small as 1e-4."""

pytestmark = pytest.mark.skipif(not NAMES, reason="no folder of cases beside the repository")


def relevance(outputs):
    return next(array for name, array in outputs.items() if name.startswith("relevance/"))


def explain(name, **options):
    case = zoo.case(name)
    graph = compile(case.path, **options)
    return graph, zoo.run(graph.model, case.sample())


def slopes(score, x, direction):
    """Central differences at the step of the least error: disagreement plus float32 rounding."""
    scale = float(np.abs(x).max()) or 1.0
    steps = [scale * 2.0**-k for k in range(3, 16)]
    found = [(score(x + h * direction) - score(x - h * direction)) / (2 * h) for h in steps]
    rounding = float(np.finfo(np.float32).eps) * abs(score(x))
    gaps = [abs(a - b) for a, b in itertools.pairwise(found)]
    errors = [gap + rounding / h for gap, h in zip(gaps, steps[1:], strict=True)]
    return found[int(np.argmin(errors)) + 1]


@pytest.mark.parametrize("name", NAMES)
def test_gradient_is_the_slope_of_the_forward_pass(name):
    case = zoo.case(name)
    graph = compile(case.path, composite="gradient")
    explained = graph.metadata.explained
    forward = zoo.session(with_output(zoo.lifted(name), explained))
    (key, sample), *_ = case.sample().items()
    feeds = {key: generic(sample)}
    x = feeds[key].astype(np.float64)
    index = int(zoo.run(graph.model, feeds)[case.output].reshape(-1).argmax())

    def score(value):
        y = forward.run([explained], {key: value.astype(np.float32)})[0]
        return float(y.reshape(-1)[index])

    slope = relevance(zoo.run(graph.model, feeds)).astype(np.float64)
    rng = np.random.default_rng(0)
    directions = [direction_for(rng, slope) for _ in range(DIRECTIONS)]
    expected = np.array([float((slope * d).sum()) for d in directions])
    measured = np.array([slopes(score, x, d) for d in directions])
    assert np.linalg.norm(measured - expected) <= SLOPE * np.linalg.norm(expected)


def generic(x):
    """The sample moved off the ties of its flat background, where no derivative exists."""
    noise = np.random.default_rng(1).standard_normal(x.shape)
    return (x + 0.02 * np.abs(x).max() * noise).astype(np.float32)


def direction_for(rng, slope):
    """A random direction of unit length, half of it along random signs of the gradient."""
    noise = rng.standard_normal(slope.shape)
    along = slope * rng.uniform(0, 2, slope.shape)
    mixed = noise / np.linalg.norm(noise) + along / np.linalg.norm(along)
    return mixed / np.linalg.norm(mixed)


def with_output(data, name):
    """The model with one more output."""
    import onnx

    model = onnx.load_from_string(data)
    if name not in {value.name for value in model.graph.output}:
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    return model


@pytest.mark.parametrize("name", NAMES)
def test_epsilon_is_gradient_times_input(name):
    if SMOOTH & set(hidden_operators(name)):
        pytest.skip("not piecewise linear")
    _graph, outputs = explain(name, composite="epsilon:epsilon=1e-9", ledger=True)
    _, other = explain(name, composite="gradient-x-input")
    r, product = relevance(outputs), relevance(other)
    assert np.abs(r - product).max() <= SAME * np.abs(r).max()
    bias = outputs["ledger"][0][:, 2].sum()
    start = outputs["ledger"][0][0, 0]
    assert abs(start - bias - r.sum()) <= 1e-3 * (abs(start) + abs(bias))


def hidden_operators(name):
    """Operators before the explained value."""
    from onnxlrp import inspect

    return [row.op for row in inspect(zoo.case(name).path).rows]


@pytest.mark.parametrize("name", NAMES)
def test_maps_of_two_classes_differ(name):
    case = zoo.case(name)
    shape = case.expected[case.output][0].shape
    if int(np.prod(shape[1:])) == 1:
        pytest.skip("one output")
    first, second = np.argsort(case.expected[case.output][0].reshape(-1))[[-1, -2]]
    indices = [np.unravel_index(i, shape)[1:] for i in (first, second)]
    maps = [relevance(explain(name, target=tuple(map(int, i)))[1]) for i in indices]
    assert np.abs(maps[0] - maps[1]).max() > 1e-2 * np.abs(maps[0]).max()


@pytest.mark.parametrize("name", NAMES)
def test_presets_differ(name):
    """Presets that say something else about this network give another map."""
    maps: dict[str, np.ndarray] = {}
    told: dict[str, set] = {}
    from onnxlrp import inspect

    for preset in PRESETS:
        _, outputs = explain(name, composite=preset.name)
        maps[preset.name] = relevance(outputs)
        rows = inspect(zoo.case(name).path, preset.name).rows
        told[preset.name] = (*tuple(row.rule for row in rows), preset.start, preset.times_input)
    names = list(maps)
    for i, one in enumerate(names):
        for two in names[i + 1 :]:
            if told[one] != told[two] and not alike(one, two):
                assert not np.array_equal(maps[one], maps[two]), f"{one} = {two}"


def alike(one, two):
    """Presets whose rules differ in name only where a network has no input of their concern."""
    unsigned = {"epsilon", "attnlrp", "cp-lrp"}
    family = {"deconvnet", "guided-backprop", "gradient"}
    return {one, two} <= family or {one, two} <= unsigned or "captum" in one + two
