"""Every quantised operator: the shadow lies within half a step of what ONNX Runtime computes."""

from dataclasses import dataclass, field

import numpy as np
import pytest

import onnxlrp
from tests.lower.shadow import Arrays, draw, integers, model_of, run, shadow

HALF = 0.5 + 1e-3
"""Steps of the output by which rounding moves a number, and what float32 adds."""

EXACT = 2e-6
"""Of max|y| where nothing is rounded: another order of float32 sums."""

U8, I8, I32, F32 = np.uint8, np.int8, np.int32, np.float32


@dataclass(frozen=True)
class Case:
    """One operator; `step` is the scale of its output, 0 where it does not round."""

    name: str
    body: str
    inputs: Arrays
    constants: Arrays = field(default_factory=dict)
    step: float = 0.0
    rank: int = 2


S = {
    "xs": F32(0.02),
    "xz": U8(120),
    "zs": F32(0.03),
    "zz": U8(7),
    "ws": F32(0.01),
    "wz": I8(0),
    "ys": F32(0.05),
    "yz": U8(100),
    "bs": F32(0.4),
    "ps": F32(1 / 255),
    "pz": U8(0),
}
FLAT = {"x": integers(1, U8, 3, 6)}
PICTURE = {"x": integers(2, U8, 2, 3, 6, 6)}
LAST = {"x": integers(2, U8, 2, 6, 6, 3)}
TWO = {"x": integers(1, U8, 3, 6), "z": integers(3, U8, 3, 6)}
END = "y = DequantizeLinear (q, ys, yz)"
WEIGHTS = S | {
    "w": integers(4, I8, 4, 3, 3, 3),
    "wc": F32([0.01, 0.02, 0.005, 0.015]),
    "w0": I8([0] * 4),
    "b": integers(5, np.int16, 4).astype(I32) // 16,
}
DENSE = S | {
    "w": integers(6, I8, 6, 4),
    "wc": F32([0.01, 0.02, 0.005, 0.015]),
    "w0": I8([3, -2, 0, 5]),
    "b": integers(5, np.int16, 4).astype(I32) // 16,
    "f": draw(7, 4),
}
CONV = "kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]"
POOL = "kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]"
IN = "r = DequantizeLinear (x, xs, xz)"
LINEAR = "com.microsoft.QLinear"


def pairs(op: str) -> str:
    return f"q = {LINEAR}{op} (x, xs, xz, z, zs, zz, ys, yz) {END}"


CASES = [
    Case(
        "quantize", "q = QuantizeLinear (x, ys, yz) " + END, {"x": draw(8, 3, 6, scale=5)}, S, 0.05
    ),
    Case(
        "quantize columns",
        "q = QuantizeLinear <axis = 1> (x, s, z) y = DequantizeLinear <axis = 1> (q, s, z)",
        {"x": draw(1, 3, 2, scale=3)},
        {"s": F32([0.05, 0.02]), "z": U8([100, 3])},
        0.05,
    ),
    Case("dequantize", "y = DequantizeLinear (x, xs, xz)", FLAT, S),
    Case(
        "other scale",
        f"{IN} q = QuantizeLinear (r, ys, yz) m = DequantizeLinear (q, zs, zz) y = Neg (m)",
        FLAT,
        S,
        0.03,
    ),
    Case(
        "max pool", f"p = MaxPool <{POOL}> (x) y = DequantizeLinear (p, xs, xz)", PICTURE, S, rank=4
    ),
    Case(
        "nhwc max pool",
        f"p = com.microsoft.NhwcMaxPool <{POOL}> (x) y = DequantizeLinear (p, xs, xz)",
        LAST,
        S,
        rank=4,
    ),
    Case(
        "pad",
        "q = QuantizeLinear (x, ys, yz) p = Pad (q, pads) y = DequantizeLinear (p, ys, yz)",
        {"x": draw(8, 3, 6)},
        S | {"pads": np.array([0, 1, 0, 2])},
        0.05,
    ),
    Case(
        "pad value",
        "q = QuantizeLinear (x, ys, yz) p = Pad (q, pads, v) y = DequantizeLinear (p, ys, yz)",
        {"x": draw(8, 3, 6)},
        S | {"pads": np.array([0, 1, 0, 2]), "v": U8(9)},
        0.05,
    ),
    Case(
        "cast", "q = QuantizeLinear (x, ys, yz) y = Cast <to = 1> (q)", {"x": draw(8, 3, 6)}, S, 1.0
    ),
    Case(
        "conv",
        f"q = QLinearConv <{CONV}> (x, xs, xz, w, wc, w0, ys, yz, b) {END}",
        PICTURE,
        WEIGHTS,
        0.05,
        4,
    ),
    Case(
        "conv last",
        f"q = com.microsoft.QLinearConv <{CONV}, channels_last = 1> "
        f"(x, xs, xz, w, wc, w0, ys, yz, b) {END}",
        LAST,
        WEIGHTS,
        0.05,
        4,
    ),
    Case("matmul", f"q = QLinearMatMul (x, xs, xz, w, wc, w0, ys, yz) {END}", FLAT, DENSE, 0.05),
    Case(
        "matmul live",
        "t = Transpose (z) q = QLinearMatMul (x, xs, xz, t, zs, zz, bs, yz) "
        "y = DequantizeLinear (q, bs, yz)",
        TWO,
        S,
        0.4,
    ),
    Case(
        "conv integer",
        f"q = ConvInteger <{CONV}> (x, w, xz) y = Cast <to = 1> (q)",
        PICTURE,
        WEIGHTS,
        rank=4,
    ),
    Case(
        "matmul integer",
        "q = MatMulInteger (x, w, xz, w0) c = Cast <to = 1> (q) y = Mul (c, f)",
        FLAT,
        DENSE,
    ),
    Case("add", pairs("Add"), TWO, S, 0.05),
    Case("mul", pairs("Mul"), TWO, S, 0.05),
    Case(
        "sigmoid",
        f"q = {LINEAR}Sigmoid (x, xs, xz, ps, pz) y = DequantizeLinear (q, ps, pz)",
        FLAT,
        S,
        1 / 255,
    ),
    Case("leaky", f"q = {LINEAR}LeakyRelu <alpha = 0.1> (x, xs, xz, ys, yz) {END}", FLAT, S, 0.05),
    Case(
        "softmax",
        f"q = {LINEAR}Softmax <axis = -1, opset = 13> (x, xs, xz, ps, pz) "
        "y = DequantizeLinear (q, ps, pz)",
        FLAT,
        S,
        2 / 255,
    ),  # its kernel truncates
    Case(
        "average",
        f"q = {LINEAR}AveragePool <{POOL}> (x, xs, xz, ys, yz) {END}",
        PICTURE,
        S,
        0.05,
        4,
    ),
    Case(
        "average last",
        f"q = {LINEAR}AveragePool <{POOL}, channels_last = 1> (x, xs, xz, ys, yz) {END}",
        LAST,
        S,
        0.05,
        4,
    ),
    Case("global", f"q = {LINEAR}GlobalAveragePool (x, xs, xz, ys, yz) {END}", PICTURE, S, 0.05, 4),
    Case(
        "concat",
        f"q = {LINEAR}Concat <axis = 1> (ys, yz, x, xs, xz, z, zs, zz) {END}",
        TWO,
        S,
        0.05,
    ),
    Case(
        "where",
        f"q = {LINEAR}Where (c, x, xs, xz, z, zs, zz, ys, yz) {END}",
        TWO,
        S | {"c": draw(30, 3, 6) > 0},
        0.05,
    ),
    Case(
        "gemm",
        "q = com.microsoft.QGemm <alpha = 2.0> (x, xs, xz, w, wc, w0, b, ys, yz) " + END,
        FLAT,
        DENSE,
        0.05,
    ),
    Case("gemm float", "y = com.microsoft.QGemm (x, xs, xz, w, wc, w0, b)", FLAT, DENSE),
    Case(
        "matmul to float",
        "y = com.microsoft.MatMulIntegerToFloat (x, w, xs, wc, xz, w0, f)",
        FLAT,
        DENSE,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_within_half_a_step(case: Case) -> None:
    model = model_of(case.body, case.inputs, case.constants, rank=case.rank)
    found, deployed = shadow(model, case.inputs), run(model, case.inputs)["y"]
    assert found.shape == deployed.shape
    bound = HALF * case.step + EXACT * np.abs(deployed).max()
    assert np.abs(found - deployed).max() <= bound
    assert deployed.std() > case.step


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradient_and_ledger(case: Case) -> None:
    """Relevance reaches every input, and every row closes."""
    model = model_of(case.body, case.inputs, case.constants, rank=case.rank)
    graph = onnxlrp.compile(model, composite="gradient", target="seed", ledger=True)
    deployed = run(model, case.inputs)["y"]
    found = run(graph.model, {**case.inputs, "seed": draw(9, *deployed.shape)}, "all")
    assert np.array_equal(found["y"], run(model, case.inputs, "all")["y"])
    for name in case.inputs:
        assert np.isfinite(found[f"relevance/{name}"]).all()
        assert found[f"relevance/{name}"].any()
    rows = found["ledger"]
    assert np.abs(rows[..., 7]).max() <= 1e-5 * max(np.abs(rows).max(), 1.0)


DYNAMIC = {
    "matmul": "a, s, z = DynamicQuantizeLinear (x) m = MatMulInteger (a, w, z, w0) "
    "c = Cast <to = 1> (m) t = Mul (s, wc) y = Mul (c, t)",
    "microsoft": "y = com.microsoft.DynamicQuantizeMatMul (x, w, wc, w0, f)",
}


@pytest.mark.parametrize("name", DYNAMIC)
def test_dynamic(name: str) -> None:
    """Oracle: x W + b in float64, W dequantised; the input is off by half of its own step."""
    x = {"x": draw(10, 3, 6)}
    model = model_of(DYNAMIC[name], x, DENSE)
    w = (DENSE["w"].astype(float) - DENSE["w0"]) * DENSE["wc"]
    expected = x["x"].astype(float) @ w + (DENSE["f"] if name == "microsoft" else 0)
    found = shadow(model, x)
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    spread = (max(x["x"].max(), 0) - min(x["x"].min(), 0)) / 255
    bound = spread * np.abs(w).sum(0)
    assert (np.abs(found - run(model, x)["y"]) <= bound).all()
    graph = onnxlrp.compile(model, composite="gradient", target="1")
    gradient = run(graph.model, x)["relevance/x"]
    assert np.abs(gradient - w[:, 1]).max() <= 1e-5 * np.abs(w).max()


def test_dynamic_lstm() -> None:
    """Oracle: LSTM of ONNX Runtime with the dequantised weights, which lie transposed."""
    x = {"x": draw(20, 5, 2, 3)}
    numbers = {
        "w": integers(21, I8, 1, 3, 16), "r": integers(22, I8, 1, 4, 16), "b": draw(23, 1, 32),
        "ws": F32([0.01]), "wz": I8([3]), "rs": F32([0.008]), "rz": I8([-2]),
    }  # fmt: skip
    body = (
        "h = com.microsoft.DynamicQuantizeLSTM <hidden_size = 4> "
        "(x, w, r, b, , , , , ws, wz, rs, rz) y = Squeeze (h, one)"
    )
    one = {"one": np.array([1])}
    model = model_of(body, x, numbers | one, rank=3)
    w, r = (
        ((numbers[k].astype(F32) - numbers[k + "z"]) * numbers[k + "s"]).transpose(0, 2, 1)
        for k in "wr"
    )
    plain = "h = LSTM <hidden_size = 4> (x, w, r, b) y = Squeeze (h, one)"
    same = model_of(plain, x, {"w": w, "r": r, "b": numbers["b"]} | one, rank=3)
    found, expected = shadow(model, x), run(same, x)["y"]
    assert np.abs(found - expected).max() <= 1e-5
    assert np.abs(found - run(model, x)["y"]).max() <= 0.02


def test_attention() -> None:
    """Oracle: Attention of ONNX Runtime with the dequantised input and weight."""
    x = {"x": integers(24, U8, 2, 5, 8)}
    numbers = S | {"w": integers(25, I8, 8, 24), "b": draw(26, 24)}
    body = "y = com.microsoft.QAttention <num_heads = 2> (x, w, b, xs, ws, , xz, wz)"
    model = model_of(body, x, numbers, rank=3)
    real = {"x": (x["x"].astype(F32) - 120) * S["xs"]}
    plain = "y = com.microsoft.Attention <num_heads = 2> (x, w, b)"
    same = model_of(plain, real, {"w": numbers["w"] * S["ws"], "b": numbers["b"]}, rank=3)
    found, expected = shadow(model, x), run(same, real)["y"]
    assert np.abs(found - expected).max() <= 1e-5 * np.abs(expected).max()
    assert np.abs(found - run(model, x)["y"]).max() <= 1e-4 * np.abs(expected).max()


def test_in_bodies() -> None:
    """Quantised numbers go into a loop and out of a branch."""
    body = """
        q = QuantizeLinear (x, ys, yz)
        l = Loop <body = b (int64 i, bool c, uint8[3,6] s) => (bool k, uint8[3,6] n)
            { k = Identity (c) d = DequantizeLinear (s, ys, yz) e = Mul (d, half)
              n = QuantizeLinear (e, ys, yz) }> (many, yes, q)
        t = ReduceMax <keepdims = 0> (x) g = Greater (t, half)
        m = If <then_branch = t () => (uint8[3,6] a) { a = Identity (l) },
                else_branch = e () => (uint8[3,6] a) { a = Identity (q) }> (g)
        y = DequantizeLinear (m, ys, yz)
    """
    x = {"x": draw(29, 3, 6)}
    constants = S | {"half": F32(0.5), "many": np.array(6), "yes": np.array(True)}
    model = model_of(body, x, constants)
    assert np.abs(shadow(model, x) - x["x"] / 64).max() <= 1e-5
    assert np.abs(run(model, x)["y"] - x["x"] / 64).max() <= 0.05
    gradient = onnxlrp.compile(model, composite="gradient", target="seed").model
    found = run(gradient, x | {"seed": np.ones((3, 6), F32)})["relevance/x"]
    assert np.allclose(found, 1 / 64, rtol=1e-4)


def test_range_is_the_activation() -> None:
    """A range that starts at 0 is a Relu; one that ends at 255 steps holds what lies above."""
    constants = {"s": F32(0.01), "z": U8(0)}
    body = "q = QuantizeLinear (x, s, z) y = DequantizeLinear (q, s, z)"
    x = {"x": F32([[-1, 0.5, 1.25, 9]])}
    model = model_of(body, x, constants)
    assert np.allclose(shadow(model, x), [[0, 0.5, 1.25, 2.55]])
    graph = onnxlrp.compile(model, composite="gradient", target="seed")
    found = run(graph.model, {**x, "seed": np.ones((1, 4), F32)})
    assert np.array_equal(found["relevance/x"], [[0, 1, 1, 0]])


def test_constants_are_rounded() -> None:
    body = "q = QuantizeLinear (c, s, z) d = DequantizeLinear (q, s, z) y = Add (x, d)"
    x = {"x": draw(15, 1, 3)}
    model = model_of(body, x, {"c": F32([[0.014, -9, 0.026]]), "s": F32(0.01), "z": I8(0)})
    assert np.allclose(shadow(model, x), x["x"] + F32([[0.01, -1.28, 0.03]]))
