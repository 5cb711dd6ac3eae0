"""Models as ONNX Runtime saves them with all optimisations, in blocks of channels."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto

from tests.lower.microsoft import SMOOTH, STEP, Case, check_model, draw

DOMAIN = "com.microsoft.nchwc"


def saved(model: ModelProto, folder: Path) -> ModelProto:
    """The model that ONNX Runtime writes for this machine."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = str(folder / "saved.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "saved.onnx")


def net(name: str, body: str, rank: int = 4, **constants: np.ndarray) -> Case:
    """A model of pictures with three channels; `body` reads c, sixteen channels."""
    known = {"w": draw(1, 16, 3, 3, 3) / 4, "b": draw(2, 16), **constants}
    step = STEP if "MaxPool" in body else SMOOTH
    text = f"c = Conv <pads=[1,1,1,1]> (x, w, b) {body}"
    return Case(
        name, text, {"x": draw(3, 1, 3, 4, 4)}, known, {"x": ("N", 3, "H", "W")}, rank, step
    )


V = {"v": draw(4, 32, 16, 3, 3) / 8, "d": draw(5, 32)}
NETS = [
    (net("one block axis", "y = Sigmoid (c)"), {"Conv", "ReorderOutput"}),
    (net("two", "t = Tanh (c) y = Conv (t, v, d)", **V), {"Conv", "ReorderOutput"}),
    (
        net("odd channels", "t = Tanh (c) y = Conv (t, v)", v=draw(4, 20, 16, 3, 3) / 8),
        {"Conv", "ReorderOutput"},
    ),
    (
        net("depthwise", "t = Tanh (c) y = Conv <group=16> (t, v)", v=draw(4, 16, 1, 3, 3)),
        {"Conv"},
    ),
    (
        net(
            "sum",
            "t = Tanh (c) e = Conv <pads=[1,1,1,1]> (t, v) y = Add (e, t)",
            v=draw(4, 16, 16, 3, 3) / 8,
        ),
        {"Conv"},
    ),
    (net("largest", "y = MaxPool <kernel_shape=[2,2]> (c)"), {"MaxPool"}),
    (net("average", "y = AveragePool <kernel_shape=[2,2]> (c)"), {"AveragePool"}),
    (net("global", "y = GlobalAveragePool (c)"), {"GlobalAveragePool"}),
    (
        net("plain operators between", "t = Tanh (c) s = Mul (c, t) y = Concat <axis=1> (s, t)"),
        set(),
    ),
    (net("channels last", "y = Transpose <perm=[0,2,3,1]> (c)"), {"ReorderOutput"}),
    (
        net(
            "from plain",
            "t = Exp (c) e = ReduceMax <keepdims=1> (t, axes) u = Mul (t, e) y = Conv (u, v, d)",
            axes=np.array([1], np.int64),
            **V,
        ),
        {"Conv"},
    ),
    (
        net(
            "larger",
            'y = Resize <mode="nearest", coordinate_transformation_mode="asymmetric", '
            'nearest_mode="floor"> (c, , scales)',
            scales=np.array([1, 1, 2, 2], np.float32),
        ),
        {"Upsample"},
    ),
]


@pytest.mark.parametrize("symbolic", [False, True], ids=["static", "symbolic"])
@pytest.mark.parametrize(("case", "written"), NETS, ids=[case.name for case, _ in NETS])
def test_gradient_of_a_saved_model(
    case: Case, written: set[str], symbolic: bool, tmp_path: Path
) -> None:
    model = saved(case.model(symbolic=symbolic), tmp_path)
    found = {node.op_type for node in model.graph.node if node.domain == DOMAIN}
    if not found:
        pytest.skip("ONNX Runtime knows no blocks on this machine")
    assert written <= found
    check_model(model, case)
