"""Weights of few bits and quantised tables: unpacked as ONNX Runtime unpacks them."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto

import onnxlrp
from tests.lower.shadow import draw, integers, model_of, run, shadow

EXACT = 2e-6
"""Of max|y|: another order of float32 sums."""

U8, I32, F32 = np.uint8, np.int32, np.float32


def test_embedding() -> None:
    """Oracle: its own kernel; relevance per token."""
    shapes = {"word": (9, 8), "place": (6, 8), "part": (2, 8), "gamma": (8,), "beta": (8,)}
    numbers = {n: integers(40 + i, U8, *s) for i, (n, s) in enumerate(shapes.items())}
    scale = {f"{n}_s": F32(0.01 + 0.002 * i) for i, n in enumerate(shapes)}
    zero = {f"{n}_z": U8(100 + i) for i, n in enumerate(shapes)}
    given = ", ".join([*shapes, "", *scale, *zero])
    body = f"y, m = com.microsoft.QEmbedLayerNormalization (x, k, {given})"
    x = {"x": np.array([[1, 8, 0], [4, 4, 2]], I32)}
    kinds = {"k": np.array([[0, 1, 1], [0, 0, 1]], I32)}
    model = model_of(body, x, numbers | scale | zero | kinds, rank=3)
    expected = run(model, x)["y"]
    assert np.abs(shadow(model, x) - expected).max() <= 1e-5 * np.abs(expected).max()
    graph = onnxlrp.compile(model, target="seed", composite="epsilon")
    seed = {"seed": draw(46, *expected.shape)}
    assert run(graph.model, x | seed)["relevance/x"].shape == (2, 3)


@pytest.mark.parametrize("packed", [False, True])
def test_gathered_blocks(packed: bool) -> None:
    """Oracle: its own kernel."""
    rng = np.random.default_rng(27)
    x = {"x": draw(28, 3, 32)}
    settings = "gather_axis = 0, quantize_axis = 1, block_size = 16"
    body = f"g = com.microsoft.GatherBlockQuantized <{settings}> (d, i, s) y = Add (x, g)"
    constants = {"i": np.array([3, 0, 3]), "s": rng.uniform(0.01, 0.1, (4, 2)).astype(F32)}
    model = model_of(body, x, constants)
    numbers = rng.integers(0, 256, (4, 16), dtype=U8)
    kind = TensorProto.UINT8 if packed else TensorProto.UINT4
    shape = (4, 16) if packed else (4, 32)
    data = numbers.tobytes()
    model.graph.initializer.append(onnx.helper.make_tensor("d", kind, shape, data, raw=True))
    expected = run(model, x)["y"]
    assert np.abs(shadow(model, x) - expected).max() <= EXACT * np.abs(expected).max()


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("zeros", [False, True])
def test_few_bits(bits: int, zeros: bool) -> None:
    """MatMulNBits; oracle: its own kernel, which rounds nothing in float32."""
    n, k, size = 5, 40, 16
    blocks, rng = 3, np.random.default_rng(11)
    constants = {
        "w": rng.integers(0, 256, (n, blocks, size * bits // 8), dtype=U8),
        "s": rng.uniform(0.01, 0.1, n * blocks).astype(F32),
    }
    names = "x, w, s"
    if zeros:
        width = -(-blocks * bits // 8)
        constants["z"] = rng.integers(0, 256, n * width, dtype=U8)
        names += ", z"
    body = (
        f"y = com.microsoft.MatMulNBits <K = {k}, N = {n}, bits = {bits}, block_size = {size}> "
        f"({names})"
    )
    x = {"x": draw(12, 3, k)}
    model = model_of(body, x, constants)
    found, deployed = shadow(model, x), run(model, x)["y"]
    assert np.abs(found - deployed).max() <= 1e-4 * np.abs(deployed).max()


@pytest.mark.parametrize("kind", [TensorProto.INT4, TensorProto.UINT4])
def test_blocks_of_int4(kind: int) -> None:
    """DequantizeLinear of int4 in blocks; oracle: (w - z) s."""
    rng = np.random.default_rng(13)
    low = -8 if kind == TensorProto.INT4 else 0
    w = rng.integers(low, low + 16, (8, 4))
    s = rng.uniform(0.01, 0.1, (4, 4)).astype(F32)
    x = {"x": draw(14, 3, 8)}
    body = "v = DequantizeLinear <axis = 0, block_size = 2> (w, s) y = MatMul (x, v)"
    model = model_of(body, x, {"s": s})
    model.graph.initializer.append(onnx.helper.make_tensor("w", kind, (8, 4), w.reshape(-1)))
    expected = x["x"] @ (w * np.repeat(s, 2, axis=0))
    assert np.abs(shadow(model, x) - expected).max() <= EXACT * np.abs(expected).max() * 4
    deployed = run(model, x)["y"]
    assert np.abs(deployed - expected).max() <= EXACT * np.abs(expected).max() * 4
