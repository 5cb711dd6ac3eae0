"""Models of half, double and quantised numbers: the prediction keeps its bits, the copy explains.

The float32 model that a quantised one stands for is written here by hand: its weights dequantised,
its QuantizeLinear as Clip.
"""

from functools import cache

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

import onnxlrp
from onnxlrp.cli.app import main
from onnxlrp.metadata import Metadata
from tests.lower.shadow import LEVELS, difference, draw, integers, lifted, model_of, run, shadow

X = {"x": draw(1, 2, 3, 6, 6)}
CLOSES = 1e-5
"""Of the largest number of the ledger: float32 sums."""

HALF = 1e-3
"""Of y: ONNX Runtime drops a Cast to float16 and back between the output and the ledger."""

OPTIMISED = 1e-5
"""Of max|y|, both graphs optimised: fusions of float32 and float64 models differ."""

STEP = 1e-3
NEAR = 2e-3
"""Of the largest derivative: float32 rounds y by 1e-7 of its size, and the step divides that."""

NUMBERS = {
    "w": draw(2, 4, 3, 3, 3, scale=0.4), "b": draw(3, 4, scale=0.2),
    "v": draw(4, 4, 4, 3, 3, scale=0.3), "d": draw(5, 4, scale=0.2),
    "m": draw(6, 36, 5, scale=0.3), "n": draw(7, 5, scale=0.2),
}  # fmt: skip
FLOAT = """
    c = Conv <pads = [1, 1, 1, 1]> (x, w, b) r = Relu (c) e = Conv <pads = [1, 1, 1, 1]> (r, v, d)
    s = Add (e, r) a = Relu (s) p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (a)
    f = Flatten (p) y = Gemm (f, m, n)
"""
BRAIN = """
    xb = Cast <to = 16> (x) t = Transpose <perm = [0, 2, 3, 1]> (xb) fb = Flatten (t)
    f = Cast <to = 1> (fb) h = MatMul (f, k) g = Relu (h) y = Gemm (g, o, n)
"""
"""What ONNX Runtime can do with bfloat16 on a CPU: casts and moves."""
DENSE = "f = Flatten (x) h = MatMul (f, k) g = Relu (h) y = Gemm (g, o, n)"
WIDE = {"k": draw(8, 108, 7, scale=0.2), "o": draw(9, 7, 5), "n": NUMBERS["n"]}


def scales(low: float, high: float, kind: type) -> tuple[np.ndarray, np.ndarray]:
    """A scale and a zero point that cover a range."""
    ends = np.iinfo(kind)
    scale = np.float32((high - low) / (ends.max - ends.min))
    return np.array(scale), np.array(round(ends.min - low / scale), kind)


def per_channel(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Int8 weights and one scale for each entry of axis 0."""
    axes = tuple(range(1, w.ndim))
    scale = (np.abs(w).max(axis=axes) / 127).astype(np.float32)
    return np.round(w / scale.reshape(-1, *[1] * len(axes))).astype(np.int8), scale


def quantised_numbers(kind: type) -> dict[str, np.ndarray]:
    """Weights in int8, biases in int32, ranges of the values: those behind a Relu start at 0."""
    w, ws = per_channel(NUMBERS["w"])
    m, ms = per_channel(NUMBERS["m"].T)
    found = {"w": w, "ws": ws, "m": m.T, "ms": ms}
    ends = {"x": (-3, 3), "c": (0, 4), "y": (-6, 6)}
    for name, (low, high) in ends.items():
        found[f"{name}s"], found[f"{name}z"] = scales(low, high, kind)
    found["bs"] = (found["xs"] * ws).astype(np.float32)
    found["b"] = np.round(NUMBERS["b"] / found["bs"]).astype(np.int32)
    found["w0"], found["m0"] = np.zeros(4, np.int8), np.zeros(5, np.int8)
    return found


QDQ = """
    xq = QuantizeLinear (x, xs, xz) xd = DequantizeLinear (xq, xs, xz)
    wd = DequantizeLinear <axis = 0> (w, ws) bd = DequantizeLinear <axis = 0> (b, bs)
    c = Conv <pads = [1, 1, 1, 1]> (xd, wd, bd)
    cq = QuantizeLinear (c, cs, cz) cd = DequantizeLinear (cq, cs, cz)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (cd)
    pq = QuantizeLinear (p, cs, cz) pd = DequantizeLinear (pq, cs, cz)
    f = Flatten (pd)
    md = DequantizeLinear <axis = 1> (m, ms) g = MatMul (f, md)
    gq = QuantizeLinear (g, ys, yz) y = DequantizeLinear (gq, ys, yz)
"""
QOPERATOR = """
    xq = QuantizeLinear (x, xs, xz)
    cq = QLinearConv <pads = [1, 1, 1, 1]> (xq, xs, xz, w, ws, w0, cs, cz, b)
    pq = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (cq)
    f = Flatten (pq) gq = QLinearMatMul (f, cs, cz, m, ms, m0, ys, yz)
    y = DequantizeLinear (gq, ys, yz)
"""
DYNAMIC = """
    f = Flatten (x) fq, fs, fz = DynamicQuantizeLinear (f)
    h = MatMulInteger (fq, k, fz) hf = Cast <to = 1> (h) hs = Mul (fs, ks)
    hr = Mul (hf, hs) g = Relu (hr) y = Gemm (g, o, n)
"""
PLAIN = """
    xd = Clip (x, xl, xh) c = Conv <pads = [1, 1, 1, 1]> (xd, w, b) cd = Clip (c, cl, ch)
    p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (cd)
    f = Flatten (p) g = MatMul (f, m) y = Clip (g, yl, yh)
"""
"""What QDQ and QOPERATOR stand for."""


def halves(numbers: dict, kind: int) -> dict[str, onnx.TensorProto]:
    """Constants of another precision."""
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    return {name: array.astype(dtype) for name, array in numbers.items()}


def precise(body: str, numbers: dict, kind: int) -> tuple[ModelProto, dict]:
    feeds = halves(X, kind)
    return model_of(body, feeds, halves(numbers, kind), kind), feeds


def mixed() -> tuple[ModelProto, dict]:
    """float32 in and out, float16 between."""
    body = "xh = Cast <to = 10> (x) " + FLOAT.replace("(x, w", "(xh, w").replace("y =", "yh =")
    return model_of(body + "y = Cast <to = 1> (yh)", X, halves(NUMBERS, TensorProto.FLOAT16)), X


@cache
def made(name: str) -> tuple[ModelProto, dict]:
    """A model and what goes into it."""
    if name == "mixed":
        return mixed()
    if name == "fp16":
        return precise(FLOAT, NUMBERS, TensorProto.FLOAT16)
    if name == "bf16":
        return model_of(BRAIN, X, WIDE), X
    if name == "fp64":
        return precise(DENSE, WIDE, TensorProto.DOUBLE)
    if name == "dynamic":
        k = {"k": integers(11, np.int8, 108, 7), "ks": np.float32(0.002)}
        return model_of(DYNAMIC, X, WIDE | k), X
    body, kind = {
        "qdq": (QDQ, np.uint8), "qdq int8": (QDQ, np.int8), "qdq uint16": (QDQ, np.uint16),
        "qoperator": (QOPERATOR, np.uint8), "qoperator int8": (QOPERATOR, np.int8),
    }[name]  # fmt: skip
    return model_of(body, X, quantised_numbers(kind)), X


QUANTISED = ("qdq", "qdq int8", "qdq uint16", "qoperator", "qoperator int8", "dynamic")
COPIED = (*QUANTISED, "fp16", "mixed", "bf16")
EVERY = (*COPIED, "fp64")


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", EVERY)
def test_prediction_keeps_its_bits(name: str, level: str) -> None:
    model, feeds = made(name)
    probes = ["*"] if name in COPIED else []
    graph = onnxlrp.compile(model, ledger=True, probes=probes)
    found, own = run(graph.model, feeds, level)["y"], run(lifted(model), feeds, level)["y"]
    assert found.dtype == own.dtype
    if name in COPIED or level == "disabled":
        assert np.array_equal(found, own)
        assert np.array_equal(found, run(model, feeds, level)["y"])
    assert np.abs(found - own).max() <= OPTIMISED * np.abs(own).max()


@pytest.mark.parametrize("composite", ["auto", "gradient-x-input"])
@pytest.mark.parametrize("name", EVERY)
def test_ledger(name: str, composite: str) -> None:
    model, feeds = made(name)
    graph = onnxlrp.compile(model, composite=composite, target="1", ledger=True)
    found = run(graph.model, feeds, "all")
    rows = dict(zip(graph.metadata.ledger, found["ledger"].swapaxes(0, 1), strict=True))
    largest = np.abs(found["ledger"]).max()
    assert np.abs(found["ledger"][..., 7]).max() <= CLOSES * largest
    relevance = found["relevance/x"]
    assert relevance.dtype == np.float32
    assert relevance.shape == feeds["x"].shape
    assert relevance.any()
    assert np.isfinite(relevance).all()
    assert graph.metadata.shadow == (name in COPIED)
    assert ("shadow" in rows) == (name in COPIED and name not in {"qdq int8", "qoperator int8"})
    if "shadow" in rows:
        row, expected = rows["shadow"], found["y"][:, 1].astype(np.float32)
        assert np.allclose(row[:, 0], expected, rtol=HALF if name == "fp16" else 0, atol=0)
        assert np.allclose(row[:, 1], shadow(model, feeds)[:, 1], rtol=1e-5, atol=1e-6)
        assert np.allclose(row[:, 6], row[:, 0] - row[:, 1], atol=1e-6)
        assert (np.abs(row[:, 6]) <= 0.1 * np.abs(found["y"].astype(np.float32)).max()).all()


@pytest.mark.parametrize("name", EVERY)
def test_two_classes_differ(name: str) -> None:
    model, feeds = made(name)
    one, two = (
        run(onnxlrp.compile(model, target=index).model, feeds)["relevance/x"] for index in "03"
    )
    assert not np.allclose(one, two, rtol=0.1)


def plain(kind: type) -> ModelProto:
    """The float32 model that QDQ and QOPERATOR stand for."""
    q = quantised_numbers(kind)
    ends = np.iinfo(kind)
    bounds = {
        f"{v}{end}": np.float32((limit - float(q[f"{v}z"])) * q[f"{v}s"])
        for v in "xcy"
        for end, limit in (("l", float(ends.min)), ("h", float(ends.max)))
    }
    weights = {
        "w": q["w"] * q["ws"].reshape(-1, 1, 1, 1),
        "b": (q["b"] * q["bs"]).astype(np.float32),
        "m": q["m"] * q["ms"],
    }
    return model_of(PLAIN, X, bounds | weights)


@pytest.mark.parametrize("name", ["qdq", "qdq int8", "qdq uint16", "qoperator", "qoperator int8"])
def test_shadow_is_the_model_without_rounding(name: str) -> None:
    """Its output is that of the float32 model, its gradient that model's differences."""
    kind = {"qdq uint16": np.uint16}.get(name, np.int8 if "int8" in name else np.uint8)
    model, same = made(name)[0], plain(kind)
    expected = run(same, X)["y"]
    assert np.abs(shadow(model, X) - expected).max() <= 1e-5 * np.abs(expected).max()
    assert_gradient(model, same, X)


def assert_gradient(model: ModelProto, same: ModelProto, feeds: dict) -> None:
    graph = onnxlrp.compile(model, composite="gradient", target="2")
    found = run(graph.model, feeds)["relevance/x"]
    first = {"x": np.asarray(feeds["x"], np.float32)[:1]}
    for value in (*same.graph.input, *same.graph.output):
        value.type.tensor_type.shape.dim[0].Clear()
    expected = difference(same, first, "x", (0, 2), STEP)
    kinks = difference(same, first, "x", (0, 2), STEP / 2)
    smooth = np.abs(expected - kinks) <= NEAR * np.abs(expected).max()
    assert smooth.mean() > 0.8
    off = np.abs(found[:1] - expected)[smooth]
    assert off.max() <= NEAR * np.abs(expected).max()


def test_gradient_of_dynamic() -> None:
    k = integers(11, np.int8, 108, 7) * np.float32(0.002)
    assert_gradient(made("dynamic")[0], model_of(DENSE, X, WIDE | {"k": k}), X)


@pytest.mark.parametrize("name", ["fp16", "mixed"])
def test_gradient_of_half(name: str) -> None:
    """The float32 model of the same, rounded, weights."""
    numbers = {key: a.astype(np.float16).astype(np.float32) for key, a in NUMBERS.items()}
    x = {"x": X["x"].astype(np.float16).astype(np.float32)}
    model = made(name)[0]
    feeds = {"x": x["x"].astype(np.float16)} if name == "fp16" else x
    same = model_of(FLOAT, x, numbers)
    expected = run(same, x)["y"]
    assert np.abs(shadow(model, feeds) - expected).max() <= 1e-5 * np.abs(expected).max()
    graph = onnxlrp.compile(model, composite="gradient", target="2")
    own = onnxlrp.compile(same, composite="gradient", target="2")
    found, other = (run(g.model, f)["relevance/x"] for g, f in ((graph, feeds), (own, x)))
    assert np.abs(found - other).max() <= 1e-5 * np.abs(other).max()
    assert_gradient(same, same, x)


def test_gradient_times_input_casts_the_input() -> None:
    model, feeds = made("fp16")
    gradient, product = (
        run(onnxlrp.compile(model, composite=name, target="2").model, feeds)["relevance/x"]
        for name in ("gradient", "gradient-x-input")
    )
    assert np.allclose(product, gradient * feeds["x"].astype(np.float32), rtol=1e-5)


@pytest.mark.parametrize("name", ["qdq", "fp16"])
def test_hidden_values_have_the_names_of_the_model(name: str) -> None:
    model, feeds = made(name)
    graph = onnxlrp.compile(model, target="2", probes=["c", "p*"], masks=["c"])
    found = run(graph.model, feeds)
    hidden = {"c", "p"} | ({"pd", "pq"} if name == "qdq" else set())
    assert set(graph.metadata.probes) == hidden
    assert found["relevance/c"].shape == (2, 4, 6, 6)
    masked = run(graph.model, feeds | {"mask/c": np.array([[0, 1, 1, 1]], np.float32)})
    assert found["relevance/c"][:, 0].any()
    assert not masked["relevance/c"][:, 0].any()


def test_several_targets() -> None:
    model, feeds = made("qdq")
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    graph = onnxlrp.compile(model, target="input:2", ledger=True)
    found = run(graph.model, feeds | {"target": np.array([[0, 3], [3, 0]])})
    relevance = found["relevance/x"]
    assert relevance.shape == (2, 2, 3, 6, 6)
    one = run(onnxlrp.compile(model, target="3").model, feeds)["relevance/x"]
    assert np.allclose(relevance[0, 1], one[0], atol=1e-6)
    assert np.allclose(relevance[1, 0], one[1], atol=1e-6)


def test_integer_input() -> None:
    """A uint8 picture of a quantised model gets relevance in its own shape."""
    body = QOPERATOR.split("\n", 2)[2].replace("xq,", "x,")
    feeds = {"x": integers(12, np.uint8, 2, 3, 6, 6)}
    model = model_of(body, feeds, quantised_numbers(np.uint8))
    graph = onnxlrp.compile(model, target="1", ledger=True)
    for level in LEVELS:
        found = run(graph.model, feeds, level)
        assert np.array_equal(found["y"], run(model, feeds, level)["y"])
    assert found["relevance/x"].shape == (2, 3, 6, 6)
    assert found["relevance/x"].dtype == np.float32
    assert np.abs(found["ledger"][..., 7]).max() <= CLOSES * np.abs(found["ledger"]).max()


def test_final_softmax_behind_a_quantisation_is_stepped_over() -> None:
    body = (
        "h = MatMul (x, k) hq = QuantizeLinear (h, s, z) hd = DequantizeLinear (hq, s, z) "
        "p = Softmax (hd) pq = QuantizeLinear (p, t, o) y = DequantizeLinear (pq, t, o)"
    )
    x = {"x": draw(13, 2, 6)}
    numbers = {"k": draw(14, 6, 4), "s": np.float32(0.05), "z": np.uint8(128)}
    model = model_of(body, x, numbers | {"t": np.float32(1 / 255), "o": np.uint8(0)})
    report = onnxlrp.inspect(model)
    assert report.shadow
    assert report.explained == "hd"


def test_metadata_of_older_graphs() -> None:
    model, _ = made("qdq")
    properties = onnxlrp.compile(model).metadata.properties()
    assert Metadata.read(properties).shadow
    del properties["onnxlrp.shadow"]
    assert not Metadata.read(properties).shadow


def test_weights_have_no_second_dequantizer() -> None:
    """The copy dequantises by Cast, Sub and Mul: a second DequantizeLinear could be merged."""
    model, _ = made("qdq")
    graph = onnxlrp.compile(model)
    emitted = [n for n in graph.model.graph.node if n.name.startswith("lrp/")]
    assert {"Cast", "Mul"} <= {n.op_type for n in emitted}
    assert not any("uantize" in n.op_type for n in emitted)


def test_inspect_says_so(tmp_path, capsys) -> None:
    for name in ("qdq", "fp64"):
        path = tmp_path / "model.onnx"
        onnx.save(made(name)[0], path)
        assert main(["inspect", str(path)]) == 0
        said = "float32 copy of the model" in capsys.readouterr().out
        assert said == (name == "qdq")


def test_explain_says_so(tmp_path, capsys) -> None:
    path, data = tmp_path / "model.onnx", tmp_path / "x.npy"
    onnx.save(made("qdq")[0], path)
    np.save(data, X["x"])
    assert main(["explain", str(path), str(data), "-o", str(tmp_path / "out.npz")]) == 0
    assert "float32 copy of the model" in capsys.readouterr().out


def test_argmax_is_that_of_the_prediction() -> None:
    """Two classes that round to one number: the first is predicted, though the copy differs."""
    body = "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)"
    x = {"x": np.array([[0.1, 0.28, 0.32]], np.float32)}
    model = model_of(body, x, {"s": np.float32(0.1), "z": np.uint8(0)})
    assert shadow(model, x).argmax() == 2
    assert run(model, x)["y"].argmax() == 1
    graph = onnxlrp.compile(model, composite="gradient")
    assert np.array_equal(run(graph.model, x)["relevance/x"], [[0, 1, 0]])
