"""RNN, GRU and LSTM: derivatives, the formulas of Arras et al., the ledger, refusals."""

from collections.abc import Callable
from functools import partial

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import onnxlrp
from models.recurrent import Sizes, tagger, unrolled_lstm
from tests.engine import Session
from tests.lower import cells
from tests.lower.derive import check_gradient, check_ledger

AGREES = 1e-5
"""Of max|R|: float32 against float64."""
CONSERVES = 1e-3
"""Of the score: what the stabiliser of 1e-6 takes at denominators above STEADY."""
STEADY = 2e-6
"""What rounding does to the formulas themselves, of max|R|: seeds with more are not used, for there
a denominator is near 0."""
SMALL = Sizes(steps=3, inputs=2, hidden=3)

VARIANTS = {
    "plain": {},
    "reverse": {"direction": "reverse"},
    "both": {"directions": 2, "states": True},
    "states": {"states": True},
    "no bias": {"bias": False},
    "lengths": {"lengths": (4, 2), "output": "Y"},
    "lengths reverse": {"lengths": (2, 3), "direction": "reverse", "states": True},
    "lengths both": {"lengths": (1, 4), "directions": 2, "states": True},
    "every step": {"output": "Y"},
    "clip": {"clip": 0.4, "output": "Y"},
}
CASES = {
    f"{op} {name}": (op, how) for op in ("RNN", "GRU", "LSTM") for name, how in VARIANTS.items()
}
CASES |= {
    "GRU late": ("GRU", {"linear_before_reset": 1, "states": True}),
    "GRU late clip": ("GRU", {"linear_before_reset": 1, "clip": 0.4, "output": "Y"}),
    "GRU activations": (
        "GRU",
        {"activations": ["HardSigmoid", "Softsign"], "activation_alpha": [0.3]},
    ),
    "LSTM cell": ("LSTM", {"output": "Y_c", "states": True}),
    "LSTM peepholes": ("LSTM", {"peepholes": True, "states": True}),
    "LSTM peepholes clip": ("LSTM", {"peepholes": True, "clip": 0.5}),
    "LSTM coupled": ("LSTM", {"input_forget": 1}),
    "LSTM coupled peepholes": ("LSTM", {"input_forget": 1, "peepholes": True, "directions": 2}),
    "LSTM activations": (
        "LSTM",
        {
            "activations": ["HardSigmoid", "ScaledTanh", "Softsign"],
            "activation_alpha": [0.3, 1.2],
            "activation_beta": [0.4, 0.8],
        },
    ),
    "LSTM activations both": (
        "LSTM",
        {
            "activations": ["Sigmoid", "Elu", "Affine", "Sigmoid", "LeakyRelu", "Softplus"],
            "activation_alpha": [0.7, 0.9, 0.2],
            "activation_beta": [0.1],
            "directions": 2,
        },
    ),
    "RNN relu": ("RNN", {"activations": ["Relu", "Relu"], "directions": 2, "states": True}),
    "RNN thresholded": ("RNN", {"activations": ["ThresholdedRelu"], "activation_alpha": [0.1]}),
}
JUMPS = {"RNN thresholded"}
"""Not continuous: differences are to be trusted at fewer elements."""


def feeds_of(model: onnx.ModelProto, seed: int = 1, steps: int = 4) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    sizes = {"N": 2, "L": steps}
    return {
        item.name: rng.standard_normal(
            [dim.dim_value or sizes[dim.dim_param] for dim in item.type.tensor_type.shape.dim]
        ).astype(np.float32)
        for item in model.graph.input
    }


@pytest.mark.parametrize("sizes", [Sizes(), Sizes(batch=0)], ids=["static", "symbolic"])
@pytest.mark.parametrize("name", CASES)
def test_gradient_is_that_of_finite_differences(name: str, sizes: Sizes) -> None:
    op, how = CASES[name]
    model = tagger(op, size=sizes, **how)
    found = check_gradient(model, feeds_of(model), least=0.3 if name in JUMPS else 0.9)
    states = {"h0", "c0"} & {item.name for item in model.graph.input}
    assert {f"relevance/{name}" for name in states} <= set(found)


@pytest.mark.parametrize("composite", ["epsilon", "epsilon:cell=opwise,gates=half"])
@pytest.mark.parametrize("name", CASES)
def test_ledger_closes(name: str, composite: str) -> None:
    op, how = CASES[name]
    model = tagger(op, **how)
    check_ledger(model, feeds_of(model), composite)


@pytest.mark.parametrize("output", ["Y", "Y_h"])
@pytest.mark.parametrize("op", ["RNN", "GRU", "LSTM"])
def test_batch_on_the_first_axis(op: str, output: str) -> None:
    """ONNX Runtime refuses layout 1: the explanation is run without the operator itself."""
    found = []
    for layout in (0, 1):
        model = tagger(op, layout=layout, states=True, directions=2, output=output)
        feeds = feeds_of(tagger(op, states=True, directions=2))
        orders = {"x": (1, 0, 2), "h0": (1, 0, 2), "c0": (1, 0, 2), "Y": (2, 0, 1, 3)}
        orders["Y_h"] = orders["x"]
        shape = [4, 2, 2, 4] if output == "Y" else [2, 2, 4]
        feeds["seed"] = np.random.default_rng(3).standard_normal(shape).astype(np.float32)
        names = {"seed": output}
        if layout:
            turned = {k: np.transpose(v, orders[names.get(k, k)]) for k, v in feeds.items()}
            feeds = turned
        graph = onnxlrp.compile(model, composite="epsilon", target="seed").model
        graph.graph.node.remove(next(n for n in graph.graph.node if n.name == "cell"))
        graph.graph.output.remove(next(o for o in graph.graph.output if o.name == output))
        found.append(Session(graph)(feeds))
    assert found[0]
    for name, value in found[0].items():
        order = orders[name.removeprefix("relevance/")]
        np.testing.assert_array_equal(np.transpose(value, order), found[1][name])


def drawn(
    op: str, seed: int, *, bias: bool = True, late: bool = False
) -> tuple[onnx.ModelProto, dict[str, np.ndarray], list[cells.Part]]:
    """A model with initial states, what it is given, and its parts."""
    extra = {"linear_before_reset": 1} if late else {}
    model = tagger(op, size=SMALL, seed=seed, bias=bias, states=True, **extra)
    given = {item.name: numpy_helper.to_array(item)[0] for item in model.graph.initializer}
    gates = {"RNN": 1, "GRU": 3, "LSTM": 4}[op]
    parts = cells.parts_of(given["W"], given["R"], given.get("B"), gates)
    return model, feeds_of(model, seed), parts


def steady(want: dict[str, np.ndarray], again: Callable[[dict], dict], feeds: dict) -> bool:
    """Whether the relevance stays when everything that goes in is rounded elsewhere."""
    rng = np.random.default_rng(0)
    largest = max(np.abs(v).max() for name, v in want.items() if name.startswith("relevance"))
    for _ in range(3):
        moved = {k: v * (1 + 1e-7 * rng.standard_normal(v.shape)) for k, v in feeds.items()}
        other = again(moved)
        if any(np.abs(other[k] - v).max() > STEADY * largest for k, v in want.items()):
            return False
    return True


def expected(
    k: cells.Cells, op: str, parts: list, seed: np.ndarray, late: bool, feeds: dict
) -> dict[str, np.ndarray]:
    x, h0 = feeds["x"].astype(np.float64), feeds["h0"][0].astype(np.float64)
    if op == "LSTM":
        states = (h0, feeds["c0"][0].astype(np.float64))
        h, *r = cells.lstm(k, parts, x, states, seed)
    elif op == "GRU":
        h, *r = cells.gru(k, parts, x, h0, seed, late=late)
    else:
        h, *r = cells.rnn(k, parts, x, h0, seed)
    names = ["Y_h", "relevance/x", "relevance/h0", "relevance/c0"]
    return dict(zip(names, (h, *r), strict=False))


@pytest.mark.parametrize("cell", ["whole", "opwise"])
@pytest.mark.parametrize("gates", ["all", "half", "abs", "prop"])
@pytest.mark.parametrize("op", ["RNN", "GRU", "GRU late", "LSTM"])
def test_agrees_with_the_formulas(op: str, gates: str, cell: str) -> None:
    op, late = op.removesuffix(" late"), op.endswith("late")
    compared = 0
    for number in range(400):
        model, feeds, parts = drawn(op, number, late=late)
        k = cells.Cells(0.001, gates, cell)
        seed = np.random.default_rng(number).standard_normal((1, 2, 3)).astype(np.float32)
        again = partial(expected, k, op, parts, seed[0].astype(np.float64), late)
        want = again(feeds)
        if not steady(want, again, feeds):
            continue
        composite = f"epsilon:epsilon=0.001,split=proportional,gates={gates},cell={cell}"
        graph = onnxlrp.compile(model, composite=composite, target="seed")
        found = Session(graph.model)({**feeds, "seed": seed})
        largest = max(np.abs(v).max() for k, v in want.items() if k.startswith("relevance"))
        for name, value in want.items():
            bound = AGREES * (largest if name.startswith("relevance") else 1)
            got = found[name] if name == "relevance/x" else found[name][0]
            np.testing.assert_allclose(got, value, rtol=0, atol=bound, err_msg=name)
        compared += 1
        if compared == 2:
            return
    pytest.fail(f"{compared} of 400 seeds are steady")


@pytest.mark.parametrize(
    ("op", "gates"),
    [("RNN", "all"), ("GRU late", "all"), ("GRU", "all")]
    + [("LSTM", gates) for gates in ("all", "half", "abs")],
)
def test_conserves_without_bias(op: str, gates: str) -> None:
    """Of a GRU with `all` alone: else the constant of 1 - z takes relevance of the gate."""
    op, late = op.removesuffix(" late"), op.endswith("late")
    for number in range(400):
        model, feeds, parts = drawn(op, number, bias=False, late=late)
        k = cells.Cells(1e-6, gates)
        score = Session(model)(feeds)["Y_h"] * np.eye(3, dtype=np.float32)[1]
        again = partial(expected, k, op, parts, score[0].astype(np.float64), late)
        if not steady(again(feeds), again, feeds):
            continue
        graph = onnxlrp.compile(model, composite=f"epsilon:gates={gates}", target="seed")
        found = Session(graph.model)({**feeds, "seed": score})
        total = sum(v.sum() for name, v in found.items() if name.startswith("relevance"))
        assert total == pytest.approx(score.sum(), rel=CONSERVES)
        return
    pytest.fail("no seed is steady")


@pytest.mark.parametrize(
    "composite",
    ["gradient", "epsilon:epsilon=0.001", "epsilon:epsilon=0.001,gates=abs", "epsilon:split=ratio"],
)
def test_an_lstm_written_step_by_step_gives_the_same_map(composite: str) -> None:
    """The one is a reverse Scan, the other a long graph."""
    compared = 0
    for number in range(200):
        model, feeds, _ = drawn("LSTM", number)
        weights = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
        other = unrolled_lstm(weights, size=SMALL)
        seed = np.random.default_rng(number).standard_normal((1, 2, 3)).astype(np.float32)
        maps = [
            Session(onnxlrp.compile(each, composite=composite, target="seed").model)
            for each in (model, other)
        ]
        one, two = (run({**feeds, "seed": seed}) for run in maps)
        moved = {k: v * np.float32(1 + 1e-6) for k, v in feeds.items()}
        rounded = maps[0]({**moved, "seed": seed})
        names = [name for name in one if name.startswith("relevance")]
        largest = max(np.abs(one[name]).max() for name in names)
        if any(np.abs(one[k] - rounded[k]).max() > AGREES * largest for k in names):
            continue
        np.testing.assert_allclose(one["Y_h"], two["Y_h"], rtol=0, atol=1e-6)
        for name in names:
            np.testing.assert_allclose(one[name], two[name], rtol=0, atol=AGREES * largest)
        compared += 1
        if compared == 3:
            return
    pytest.fail(f"{compared} of 200 seeds are steady")
