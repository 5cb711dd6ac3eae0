"""Fused maps of ONNX Runtime: gradient against differences of its own outputs."""

import numpy as np
import pytest

from tests.lower.microsoft import Case, check, draw

IMAGE = {"x": ("N", 2, "H", "W")}
ROWS = {"x": ("N", "S", 6)}
MATRIX = {"x": ("N", 5)}


def conv(name: str, settings: str, inputs: str = "x, w, b", **more: np.ndarray) -> Case:
    """Two channels into four, with what stands behind a Conv."""
    body = f"y = com.microsoft.FusedConv <pads=[1,1,1,1], {settings}> ({inputs})"
    weights = {"w": draw(1, 4, 2, 3, 3), "b": draw(2, 4)}
    return Case(name, body, {"x": draw(3, 1, 2, 4, 3), **more}, weights, IMAGE)


def matmul(name: str, settings: str, left: tuple, right: tuple, symbols: tuple) -> Case:
    """A product with permuted factors."""
    body = f"y = com.microsoft.{name} <{settings}> (x, w)"
    title = f"{name} {settings} {left}"
    return Case(title, body, {"x": draw(4, *left)}, {"w": draw(5, *right)}, {"x": symbols})


def pointwise(name: str, settings: str = "", constants: str = "") -> Case:
    """One function of each element, of `[N, S, 6]`."""
    body = f"y = com.microsoft.{name} {settings} (x{constants})"
    known = {"b": draw(6, 6)} if constants else {}
    return Case(f"{name}{settings}{constants}", body, {"x": draw(7, 2, 3, 6)}, known, ROWS)


CASES = [
    conv("relu", 'activation="Relu"'),
    conv("plain", "dilations=[1,1]"),
    conv("sigmoid", 'activation="Sigmoid"'),
    conv("tanh", 'activation="Tanh"'),
    conv("leaky", 'activation="LeakyRelu", activation_params=[0.2]'),
    conv("clip", 'activation="Clip", activation_params=[-1.5, 2.5]'),
    conv("hard", 'activation="HardSigmoid", activation_params=[0.1, 0.4]'),
    conv("sum", 'activation="Relu"', "x, w, b, z", z=draw(8, 1, 4, 4, 3)),
    conv("sum without", "dilations=[1,1]", "x, w, , z", z=draw(8, 1, 4, 4, 3)),
    conv("strides", 'activation="Relu", strides=[2,2]'),
    Case(
        "gemm",
        'y = com.microsoft.FusedGemm <activation="Relu", transB=1, alpha=0.5> (x, w, b)',
        {"x": draw(9, 2, 5)},
        {"w": draw(10, 3, 5), "b": draw(11, 3)},
        MATRIX,
    ),
    Case(
        "gemm leaky",
        'y = com.microsoft.FusedGemm <activation="LeakyRelu", activation_alpha=0.3> (x, w, b)',
        {"x": draw(9, 2, 5)},
        {"w": draw(10, 5, 3), "b": draw(11, 3)},
        MATRIX,
    ),
    Case(
        "gemm without",
        'y = com.microsoft.FusedGemm <activation="Tanh", transB=1> (x, w)',
        {"x": draw(9, 2, 5)},
        {"w": draw(10, 3, 5)},
        MATRIX,
    ),
    matmul("FusedMatMul", "alpha=0.25", (2, 3, 4), (4, 5), ("N", "S", 4)),
    matmul("FusedMatMul", "transB=1", (2, 3, 4), (5, 4), ("N", "S", 4)),
    matmul("FusedMatMul", "transA=1", (2, 4, 3), (4, 5), ("N", 4, "S")),
    matmul("FusedMatMul", "transA=1, transB=1, alpha=2.0", (2, 4, 3), (2, 5, 4), (2, 4, "S")),
    matmul("FusedMatMul", "transBatchA=1", (3, 2, 4), (2, 4, 5), ("S", 2, 4)),
    matmul("FusedMatMul", "transBatchA=1, transA=1", (4, 2, 3), (2, 4, 5), (4, 2, "S")),
    matmul("FusedMatMul", "transBatchB=1", (2, 3, 4), (4, 2, 5), (2, "S", 4)),
    matmul("FusedMatMul", "transBatchA=1", (3, 2, 2, 4), (2, 2, 4, 5), ("S", 2, 2, 4)),
    matmul("TransposeMatMul", "transB=1, alpha=0.5", (2, 3, 4), (2, 5, 4), (2, "S", 4)),
    Case(
        "two live factors",
        "a = Sin (x) y = com.microsoft.FusedMatMul <transB=1, alpha=0.7> (x, a)",
        {"x": draw(12, 2, 3, 4)},
        symbols={"x": ("N", "S", 4)},
    ),
    pointwise("Gelu"),
    pointwise("BiasGelu", "", ", b"),
    pointwise("FastGelu"),
    pointwise("FastGelu", "", ", b"),
    pointwise("QuickGelu"),
    pointwise("QuickGelu", "<alpha=1.0>"),
    pointwise("Trilu", "<upper=0>"),
    Case(
        "expand dims",
        "y = com.microsoft.ExpandDims (x, axis)",
        {"x": draw(13, 2, 3)},
        {"axis": np.array(1, np.int32)},
        {"x": ("N", 3)},
    ),
    Case(
        "pad",
        "y = com.microsoft.Pad (x, pads, v)",
        {"x": draw(13, 2, 3)},
        {"pads": np.array([0, 1, 0, 2], np.int64), "v": np.array([0.5], np.float32)},
        {"x": ("N", 3)},
    ),
    Case(
        "pad reflect",
        'y = com.microsoft.Pad <mode="reflect"> (x, pads)',
        {"x": draw(13, 2, 3)},
        {"pads": np.array([[0, 1, 0, 2]], np.int64)},
        {"x": ("N", 3)},
    ),
    Case(
        "gather",
        "y = com.microsoft.GatherND (x, places)",
        {"x": draw(13, 2, 3)},
        {"places": np.array([[0, 1], [1, 2], [0, 1]], np.int32)},
        {"x": ("N", 3)},
    ),
    Case(
        "sampled",
        'y = com.microsoft.GridSample <mode="bilinear", align_corners=1> (x, grid)',
        {"x": draw(3, 1, 2, 4, 3)},
        {"grid": np.clip(draw(14, 1, 2, 2, 2) / 2, -0.9, 0.9)},
        IMAGE,
    ),
    Case(
        "rows of FusedGemm behind FusedConv",
        'c = com.microsoft.FusedConv <activation="Relu"> (x, w, b) f = Flatten (c)'
        'y = com.microsoft.FusedGemm <activation="Tanh"> (f, v)',
        {"x": draw(15, 1, 2, 4, 3)},
        {"w": draw(1, 4, 2, 3, 3), "b": draw(2, 4), "v": draw(16, 8, 3) / 4},
        {"x": ("N", 2, 4, 3)},
    ),
]


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_gradient_is_that_of_the_deployed_operator(case: Case, symbolic: bool) -> None:
    check(case, symbolic=symbolic)


def test_a_shape_is_known_behind_a_fused_operator() -> None:
    """A Reshape to the shape of what a fused operator gives needs no known extents."""
    case = Case(
        "shape",
        'c = com.microsoft.FusedConv <activation="Tanh"> (x, w, b) s = Shape (c)'
        "a = Transpose <perm=[0,2,3,1]> (c) y = Reshape (a, s)",
        {"x": draw(15, 1, 2, 4, 3)},
        {"w": draw(1, 4, 2, 3, 3), "b": draw(2, 4)},
        IMAGE,
    )
    check(case, symbolic=True)
