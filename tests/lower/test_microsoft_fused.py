"""Fused maps of ONNX Runtime: gradient against differences of its own outputs."""

import numpy as np
import pytest

from tests.lower.microsoft import Case, check, check_alone, draw

IMAGE = {"x": ("N", 2, "H", "W")}
ROWS = {"x": ("N", "S", 6)}
MATRIX = {"x": ("N", 5)}


def conv(name: str, settings: str, inputs: str = "x, w, b", **more: np.ndarray) -> Case:
    """Two channels into four, with what stands behind a Conv."""
    body = f"y = com.microsoft.FusedConv <pads=[1,1,1,1], {settings}> ({inputs})"
    weights = {"w": draw(1, 4, 2, 3, 3), "b": draw(2, 4)}
    return Case(name, body, {"x": draw(3, 1, 2, 4, 3), **more}, weights, IMAGE, 4)


def matmul(name: str, settings: str, left: tuple, right: tuple, symbols: tuple) -> Case:
    """A product with permuted factors."""
    body = f"y = com.microsoft.{name} <{settings}> (x, w)"
    title = f"{name} {settings} {left}"
    return Case(
        title, body, {"x": draw(4, *left)}, {"w": draw(5, *right)}, {"x": symbols}, len(left)
    )


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
    conv("clip", 'activation="Clip", activation_params=[-1.2, 3.2]'),
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
        2,
    ),
    Case(
        "gemm leaky",
        'y = com.microsoft.FusedGemm <activation="LeakyRelu", activation_alpha=0.3> (x, w, b)',
        {"x": draw(9, 2, 5)},
        {"w": draw(10, 5, 3), "b": draw(11, 3)},
        MATRIX,
        2,
    ),
    Case(
        "gemm without",
        'y = com.microsoft.FusedGemm <activation="Tanh", transB=1> (x, w)',
        {"x": draw(9, 2, 5)},
        {"w": draw(10, 3, 5)},
        MATRIX,
        2,
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
        2,
    ),
    Case(
        "pad reflect",
        'y = com.microsoft.Pad <mode="reflect"> (x, pads)',
        {"x": draw(13, 2, 3)},
        {"pads": np.array([[0, 1, 0, 2]], np.int64)},
        {"x": ("N", 3)},
        2,
    ),
    Case(
        "gather",
        "y = com.microsoft.GatherND (x, places)",
        {"x": draw(13, 2, 3)},
        {"places": np.array([[0, 1], [1, 2], [0, 1]], np.int32)},
        {"x": ("N", 3)},
        1,
    ),
    Case(
        "sampled",
        'y = com.microsoft.GridSample <mode="bilinear", align_corners=1> (x, grid)',
        {"x": draw(3, 1, 2, 4, 3)},
        {"grid": np.clip(draw(14, 1, 2, 2, 2) / 2, -0.9, 0.9)},
        IMAGE,
        4,
    ),
    Case(
        "rows of FusedGemm behind FusedConv",
        'c = com.microsoft.FusedConv <activation="LeakyRelu", activation_params=[0.5]> (x, w, b) '
        'f = Flatten (c) y = com.microsoft.FusedGemm <activation="Tanh"> (f, v)',
        {"x": draw(15, 1, 2, 4, 3)},
        {"w": draw(1, 4, 2, 3, 3), "b": draw(2, 4), "v": draw(16, 8, 3) / 8},
        {"x": ("N", 2, 4, 3)},
        2,
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
        {"w": draw(1, 4, 2, 3, 3) / 4, "b": draw(2, 4)},
        IMAGE,
        4,
    )
    check(case, symbolic=True)


def alone(body: str, same: str, *shape: int, symbols: tuple = (), **constants: np.ndarray) -> tuple:
    """An operator that is not there on the CPU, and standard operators like it."""
    return Case(body, body, {"x": draw(17, *shape)}, constants, {"x": symbols}, len(shape)), same


LAST = (1, 4, 3, 2)
CONV = {"w": draw(1, 4, 2, 3, 3), "b": draw(2, 4)}
TO_FIRST = "a = Transpose <perm=[0,3,1,2]> (x) "
TO_LAST = " y = Transpose <perm=[0,2,3,1]> (c)"
ALONE = [
    alone(
        "y = com.microsoft.NhwcConv <pads=[1,1,1,1]> (x, w, b)",
        TO_FIRST + "c = Conv <pads=[1,1,1,1]> (a, w, b)" + TO_LAST,
        *LAST, symbols=("N", "H", "W", 2), **CONV,
    ),
    alone(
        'y = com.microsoft.NhwcFusedConv <pads=[1,1,1,1], activation="Tanh"> (x, w, b, z)',
        TO_FIRST + "d = Transpose <perm=[0,3,1,2]> (z) e = Conv <pads=[1,1,1,1]> (a, w, b) "
        "f = Add (e, d) c = Tanh (f)" + TO_LAST,
        *LAST, symbols=("N", "H", "W", 2), z=draw(18, 1, 4, 3, 4), **CONV,
    ),
    alone(
        "y = com.microsoft.NhwcMaxPool <kernel_shape=[2,2]> (x)",
        TO_FIRST + "c = MaxPool <kernel_shape=[2,2]> (a)" + TO_LAST,
        *LAST, symbols=("N", "H", "W", 2),
    ),
    alone(
        "k = Sin (x) y = com.microsoft.BiasAdd (x, b, k)",
        "k = Sin (x) a = Add (x, b) y = Add (a, k)",
        2, 3, 4, symbols=("N", "S", 4), b=draw(19, 4),
    ),
    alone(
        "y = com.microsoft.BiasSplitGelu (x, b)",
        "a = Add (x, b) u, v = Split <axis=-1, num_outputs=2> (a) g = Gelu (v) y = Mul (u, g)",
        2, 3, 4, symbols=("N", "S", 4), b=draw(19, 4),
    ),
    alone(
        "y = com.microsoft.BiasSoftmax <axis=2, is_inner_broadcast=0> (x, b)",
        "a = Add (x, b) y = Softmax <axis=-1> (a)",
        2, 3, 4, symbols=("N", "S", 4), b=draw(19, 4),
    ),
    alone(
        "k = Sin (x) y = com.microsoft.BiasDropout (x, b, k)",
        "k = Sin (x) a = Add (x, b) y = Add (a, k)",
        2, 3, 4, symbols=("N", "S", 4), b=draw(19, 4),
    ),
    alone(
        'y = com.microsoft.FusedMatMulActivation <transB=1, alpha=0.5, activation="Tanh"> (x, w)',
        "t = Transpose <perm=[1,0]> (w) m = MatMul (x, t) h = Mul (m, half) y = Tanh (h)",
        2, 3, 4, symbols=("N", "S", 4), w=draw(20, 5, 4), half=np.array(0.5, np.float32),
    ),
]  # fmt: skip


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize(("case", "same"), ALONE, ids=[case.name for case, _ in ALONE])
def test_an_operator_of_other_providers_is_like_standard_ones(
    case: Case, same: str, symbolic: bool
) -> None:
    check_alone(case, same, symbolic=symbolic)
