"""Each optimisation: what it makes of a small graph, what it must not match, and equal values."""

from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto

import onnxlrp
from models.builders import mixed_cnn, resnet18, small_cnn
from onnxlrp.errors import InputError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.load import load
from onnxlrp.graph.save import to_model
from onnxlrp.graph.tape import Tape
from onnxlrp.optimize import PASSES, SUPPORT, Effort, optimize
from onnxlrp.rules.base import Stabilizer
from tests.engine import Session, model_of
from tests.nets import run

NAMES = tuple(item.name for item in PASSES)
EVERYTHING = (SUPPORT, *NAMES)
EXACT = 2e-6  # float32: the same sums in another order
Build = Callable[[Tape, dict[str, Value]], Value]

SOURCE = model_of(
    "z = Identity(a) y = Relu(z) q = Conv<pads = [1, 1, 1, 1]>(y, w)",
    {"a": ["N", 2, 3, 3], "r": ["N", 2, 3, 3], "c": ["N", 2, 3, 3]},
    {"w": np.arange(36, dtype=np.float32).reshape(2, 2, 3, 3) / 9 - 2},
    outputs=["z", "y", "q"],
)


def emitted(build: Build, without: tuple[str, ...]) -> tuple[list[str], Session]:
    """The operators that an expression needs after all passes but some, and the model."""
    graph = load(SOURCE)
    t = Tape(graph)
    result = build(t, dict(graph.values))
    shown = t.named(result, Value("lrp/shown", TensorProto.FLOAT, (None,) * 4, variable=True))
    optimize(t, [shown], Effort(without=without))
    ops = [node.op for node in graph.nodes if not node.deployed and node.op != "Identity"]
    return ops, Session(to_model(graph, [], [shown], {}))


def feeds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    a, r, c = (rng.standard_normal((2, 2, 3, 3), dtype=np.float32) for _ in range(3))
    a[0, 0, 0] = [0, -1e-7, 1e-7]
    return {"a": a, "r": r, "c": c}


def stable(t: Tape, z: Value) -> Value:
    return Stabilizer(epsilon=1e-6).apply(t, z)


def plus_bias(t: Tape, v: dict[str, Value], *, channelwise: bool = True) -> Value:
    bias = np.array([0.5, -2] if channelwise else [0.5, -2, 1], dtype=np.float32)
    shape = [-1, 1, 1] if channelwise else [1, 1, -1]
    found = t.op("Conv", v["c"], t.op("Max", v["w"], 0.0), pads=[1, 1, 1, 1])
    return t.op("Add", found, t.op("Max", t.op("Reshape", t.constant(bias), shape), 0.0))


MATCHES: dict[str, tuple[str, Build, list[str]]] = {
    "common factor": (
        "collect",
        lambda t, v: t.op("Add", t.op("Mul", v["z"], v["r"]), t.op("Mul", v["c"], v["z"])),
        ["Add", "Mul"],
    ),
    "quotient of a product": (
        "cancel",
        lambda t, v: t.op("Div", t.op("Mul", v["z"], v["c"]), stable(t, v["z"])),
        ["Abs", "Add", "Div", "Mul"],
    ),
    "quotient of a nested product": (
        "cancel",
        lambda t, v: t.op(
            "Div", t.op("Mul", v["r"], t.op("Mul", v["c"], v["z"])), stable(t, v["z"])
        ),
        ["Abs", "Add", "Div", "Mul", "Mul"],
    ),
    "positive half": (
        "halve",
        lambda t, v: t.op("Where", t.op("Greater", v["z"], 0.0), t.op("Mul", v["z"], v["c"]), 0.0),
        ["Relu", "Mul"],
    ),
    "negative half": (
        "halve",
        lambda t, v: t.op("Where", t.op("Less", v["z"], 0.0), t.op("Mul", v["z"], v["c"]), 0.0),
        ["Min", "Mul"],
    ),
    "signed stabiliser": (
        "unbranch",
        lambda t, v: t.op("Div", v["r"], stable(t, v["z"])),
        ["HardSigmoid", "Mul", "Sub", "Add", "Div"],
    ),
    "bias": (
        "bias",
        plus_bias,
        ["Max", "Reshape", "Max", "Reshape", "Conv"],
    ),
    "epsilon": (
        "bias",
        lambda t, v: t.op("Add", t.op("Conv", v["c"], t.op("Max", v["w"], 0.0)), 1e-6),
        ["Max", "Shape", "Expand", "Conv"],
    ),
    "epsilon behind a rectifier": (
        "bias",
        lambda t, v: t.op(
            "Add", t.op("Relu", t.op("Conv", v["c"], t.op("Max", v["w"], 0.0))), 1e-6
        ),
        ["Max", "Shape", "Expand", "Conv", "Clip"],
    ),
    "turned twice": (
        "moves",
        lambda t, v: t.op(
            "Transpose", t.op("Transpose", v["r"], perm=[0, 2, 3, 1]), perm=[0, 3, 1, 2]
        ),
        [],
    ),
    "turned and turned": (
        "moves",
        lambda t, v: t.op(
            "Transpose", t.op("Transpose", v["r"], perm=[0, 2, 1, 3]), perm=[0, 1, 3, 2]
        ),
        ["Transpose"],
    ),
    "reshaped twice": (
        "moves",
        lambda t, v: t.op("Reshape", t.op("Reshape", v["r"], [-1]), [-1, 2, 3, 3]),
        ["Reshape"],
    ),
    "numbers": (
        "fold",
        lambda t, v: t.op("Mul", v["r"], t.op("Neg", t.op("Sqrt", 2.0))),
        ["Mul"],
    ),
    "factor of relevance": (
        "scale",
        lambda t, v: t.op(
            "Conv",
            t.op("Div", t.op("Mul", v["r"], 2.0), t.op("Add", t.op("Abs", v["z"]), 1.0)),
            t.op("Max", v["w"], 0.0),
        ),
        ["Abs", "Add", "Max", "Mul", "Div", "Conv"],
    ),
}


@pytest.mark.parametrize("case", MATCHES)
def test_match(case):
    name, build, expected = MATCHES[case]
    after, fast = emitted(build, ())
    _, plain = emitted(build, NAMES)
    assert sorted(after) == sorted(expected)
    assert emitted(build, (name,))[0] != after
    wanted = plain(feeds())["lrp/shown"]
    np.testing.assert_allclose(fast(feeds())["lrp/shown"], wanted, rtol=EXACT, atol=1e-12)


def read_twice(t: Tape, v: dict[str, Value]) -> Value:
    product = t.op("Mul", v["z"], v["r"])
    return t.op("Sub", t.op("Add", product, t.op("Mul", v["z"], v["c"])), product)


MISSES: dict[str, Build] = {
    "no common factor": lambda t, v: t.op(
        "Add", t.op("Mul", v["z"], v["r"]), t.op("Mul", v["c"], v["y"])
    ),
    "products that others read": read_twice,
    "a bias per column": lambda t, v: plus_bias(t, v, channelwise=False),
    "another comparison": lambda t, v: t.op(
        "Where", t.op("Greater", v["z"], 0.5), t.op("Mul", v["z"], v["c"]), 0.0
    ),
    "a 0 that names an axis": lambda t, v: t.op(
        "Reshape", t.op("Reshape", v["r"], [-1, 18, 1, 1]), [0, 2, 3, 3]
    ),
    "another choice": lambda t, v: t.op("Where", t.op("Less", v["z"], 0.0), -2.0, 1.0),
    "a weight that others read": lambda t, v: t.op(
        "Conv", t.op("Div", t.op("Mul", v["r"], 2.0), v["c"]), v["w"]
    ),
}


@pytest.mark.parametrize("case", MISSES)
def test_near_miss(case):
    assert emitted(MISSES[case], ())[0] == emitted(MISSES[case], NAMES)[0]


def test_zero_denominators_are_those_of_the_formula():
    """Behind epsilon 0 nothing may become nan: z = 0 is among the inputs."""
    for build in (MATCHES["quotient of a product"][1], MATCHES["signed stabiliser"][1]):
        assert np.isfinite(emitted(build, ())[1](feeds())["lrp/shown"]).all()


NETS = {"resnet18": resnet18, "small_cnn": small_cnn, "mixed_cnn": mixed_cnn}
METHODS = (
    "epsilon",
    "epsilon:stabilizer=zero-only",
    "epsilon:epsilon=0",
    "epsilon-plus:split=ratio",
    "epsilon-gamma-box",
    "epsilon-gamma-box:bias=raw",
    "epsilon-alpha2-beta1-flat",
    "otsuki",
    "otsuki:dead=keep",
    "montavon",
    "deep-taylor",
)


def relevance(net: str, method: str, **keywords: object) -> np.ndarray:
    model = NETS[net]()
    info = model.graph.input[0]
    shape = [dim.dim_value or 2 for dim in info.type.tensor_type.shape.dim]
    x = np.random.default_rng(5).standard_normal(shape, dtype=np.float32)
    graph = onnxlrp.compile(model, composite=method, **keywords)
    return run(graph, {info.name: x})[f"relevance/{info.name}"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("net", NETS)
def test_values_stay(net, method):
    """All optimisations against none: within 1e-5 of the largest relevance."""
    wanted = relevance(net, method, without=EVERYTHING)
    np.testing.assert_allclose(
        relevance(net, method), wanted, rtol=0, atol=1e-5 * abs(wanted).max()
    )


@pytest.mark.parametrize("name", EVERYTHING)
def test_each_can_be_switched_off(name):
    wanted = relevance("small_cnn", "epsilon-gamma-box", without=EVERYTHING)
    found = relevance("small_cnn", "epsilon-gamma-box", without=(name,))
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * abs(wanted).max())


def test_several_targets():
    wanted = relevance("small_cnn", "epsilon-gamma-box", target="contrast:0:1", without=EVERYTHING)
    found = relevance("small_cnn", "epsilon-gamma-box", target="contrast:0:1")
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * abs(wanted).max())


@pytest.mark.parametrize("method", METHODS)
def test_targets_share_what_does_not_depend_on_them(method):
    """Three targets: the positive products are made once per sample, on no copies of x."""
    x = np.random.default_rng(5).standard_normal((2, 3, 20, 20), dtype=np.float32)
    feeds = {"image": x, "target": np.array([[0, 1, 2], [4, 3, 2]])}
    found, wanted = (
        onnxlrp.compile(small_cnn(), composite=method, target="input:3", without=without).model
        for without in ((), EVERYTHING)
    )
    made = {name: node.op_type for node in found.graph.node for name in node.output}
    before = {name: node.op_type for node in wanted.graph.node for name in node.output}
    assert copied(found, made) <= copied(wanted, before)
    if method.startswith("epsilon-gamma"):
        assert copied(found, made) == 0 < copied(wanted, before)
    r = run(wanted, feeds)["relevance/image"]
    assert r.shape == (2, 3, 3, 20, 20)
    new = run(found, feeds)["relevance/image"]
    np.testing.assert_allclose(new, r, rtol=0, atol=1e-5 * abs(r).max())


def copied(model, producers: dict[str, str]) -> int:
    """Number of convolutions of copies."""
    nodes = (node for node in model.graph.node if node.op_type == "Conv")
    return sum(producers.get(node.input[0]) in {"Tile", "Max", "Min"} for node in nodes)


def ops(model, *, emitted_only: bool = True) -> list[str]:
    nodes = model.graph.node
    return [n.op_type for n in nodes if not emitted_only or n.name.startswith("lrp/")]


def test_no_branch_behind_a_relu():
    """What a whole network keeps of `Where`: the seed's, none for a denominator."""
    plain = ops(
        onnxlrp.compile(resnet18(), target=1, composite="epsilon", without=EVERYTHING).model
    )
    fast = ops(onnxlrp.compile(resnet18(), target=1, composite="epsilon").model)
    seed = ops(onnxlrp.compile(resnet18(), target=1, composite="gradient").model)
    assert fast.count("Where") == seed.count("Where") < plain.count("Where")


def test_gamma_needs_one_side_behind_a_relu():
    """One product and one adjoint of each convolution, beside the forward pass: the limit of 3."""
    products = ("Conv", "ConvTranspose")

    def count(**keywords: object) -> list[int]:
        graph = onnxlrp.compile(small_cnn(), target=1, composite="epsilon-gamma-box", **keywords)
        names = [n.name.split("/") for n in graph.model.graph.node if n.op_type in products]
        return [sum(f"conv{i}" in parts[:-1] for parts in names) for i in (2, 4)]

    assert count() == [2, 2]
    assert count(without=(SUPPORT,)) == [3, 3]


def test_unknown_name():
    with pytest.raises(InputError, match="there is no optimisation 'speed'; there are support, "):
        onnxlrp.compile(small_cnn(), without=("speed",))


def test_ledger_still_closes():
    """The columns are sums of formulas of their own; nothing is left unexplained."""
    model = small_cnn()
    info = model.graph.input[0]
    shape = [dim.dim_value or 2 for dim in info.type.tensor_type.shape.dim]
    x = np.random.default_rng(5).standard_normal(shape, dtype=np.float32)
    table = run(onnxlrp.compile(model, composite="epsilon-gamma-box", ledger=True), {info.name: x})
    ledger = table["ledger"]
    assert abs(ledger[..., 7]).max() < 1e-4 * abs(ledger[..., 0]).max()
