"""Every form of the adjoint of a convolution, and which one is taken."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import numpy_helper

import onnxlrp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.ops.strided import Form, Layer, forms
from onnxlrp.ops.windows import Window
from tests.engine import Array, Session, model_of
from tests.ops.case import FORMS, Case, jacobian
from tests.ops.windows import CONVOLUTIONS

LINEAR = 1e-5
"""Float32 sums of up to a hundred products, on both sides."""

NAMES = ("flipped", "point", "phased", "stuffed", "transposed")


def gradient(case: Case, form: str) -> onnx.ModelProto:
    return onnxlrp.compile(case.model(form), composite="gradient", target="seed").model


def only(name: str, seen: list[str]) -> Callable[[Tape, Layer, Value, Value], Value]:
    def emit(t: Tape, layer: Layer, r: Value, w: Value) -> Value:
        found = {form.name: form for form in forms(layer)}
        seen.extend(found)
        return found.get(name, found["transposed"]).emit(t, layer, r, w)

    return emit


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CONVOLUTIONS])
def test_all_forms_agree_with_the_forward(
    case: Case, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feeds, run = case.feeds(), Session(case.model())
    r = case.rng().standard_normal(run(feeds)["y"].shape).astype(np.float32)
    matrix = jacobian(case, run)["x"]
    wanted = (r.reshape(-1).astype(np.float64) @ matrix).reshape(feeds["x"].shape)
    for name in NAMES:
        seen: list[str] = []
        monkeypatch.setattr("onnxlrp.ops.conv.adjoint", only(name, seen))
        model = gradient(case, form)
        if name in seen:
            onnx.checker.check_model(model, full_check=True)
            found = Session(model)({**feeds, "seed": r})["relevance/x"]
            close(found, wanted)


def close(found: Array, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(found, wanted, rtol=0, atol=LINEAR * np.abs(wanted).max())


def test_every_form_fits_some_case() -> None:
    """So that the test above has run them all."""
    seen: set[str] = set()
    for case in CONVOLUTIONS:
        seen |= {form.name for form in forms(layer_of(case.model()))}
    assert seen == set(NAMES)


def layer_of(model: onnx.ModelProto) -> Layer:
    """The layer of a model of one convolution with stated strides, pads and sizes."""
    node = model.graph.node[0]
    attributes = {item.name: onnx.helper.get_attribute_value(item) for item in node.attribute}
    dims = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    weight = next(t for t in model.graph.initializer if t.name == "w")
    kernel = tuple(weight.dims[2:])
    rank = len(kernel)
    window = Window(
        kernel,
        tuple(attributes.get("strides", [1] * rank)),
        tuple(attributes.get("dilations", [1] * rank)),
        tuple(attributes.get("pads", [0] * 2 * rank)),
    )
    values = Value("x", shape=tuple(dims)), Value("w", shape=tuple(weight.dims))
    return Layer(*values, window, attributes.get("group", 1))


def layer(x: tuple[int, ...], w: tuple[int, ...], stride: int, pad: int, group: int = 1) -> Layer:
    window = Window(w[2:], (stride, stride), (1, 1), (pad,) * 4)
    return Layer(Value("x", shape=(1, *x)), Value("w", shape=w), window, group)


def best(item: Layer) -> str:
    found: list[Form] = forms(item)
    return min(found, key=lambda form: form.cost).name


@pytest.mark.parametrize(
    ("item", "name"),
    [
        (layer((64, 56, 56), (64, 64, 3, 3), 1, 1), "flipped"),
        (layer((3, 224, 224), (64, 3, 3, 3), 1, 1), "transposed"),
        (layer((3, 224, 224), (64, 3, 7, 7), 2, 3), "transposed"),
        (layer((512, 14, 14), (512, 512, 3, 3), 2, 1), "phased"),
        (layer((1024, 14, 14), (2048, 1024, 1, 1), 2, 0), "point"),
        (layer((96, 56, 56), (96, 1, 3, 3), 2, 1, 96), "stuffed"),
        (layer((96, 56, 56), (96, 1, 7, 7), 1, 3, 96), "flipped"),
        (layer((256, 56, 56), (256, 8, 3, 3), 2, 1, 32), "transposed"),
        (layer((3, 224, 224), (96, 3, 4, 4), 4, 0), "transposed"),
    ],
)
def test_the_cheaper_form_is_taken(item: Layer, name: str) -> None:
    """As measured by `tools/bench/adjoints.py`."""
    assert best(item) == name


def test_symbolic_sizes_take_one_node_for_a_stride() -> None:
    window = Window((3, 3), (2, 2), (1, 1), (1,) * 4)
    item = Layer(
        Value("x", shape=("N", 512, "H", "W")), Value("w", shape=(512, 512, 3, 3)), window, 1
    )
    assert [form.name for form in forms(item)] == ["transposed"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("case", [pytest.param(case, id=case.name) for case in CONVOLUTIONS])
def test_no_asymmetric_transposed_convolution(case: Case, form: str) -> None:
    """CUDA has none: its provider would leave the node to the CPU."""
    for node in gradient(case, form).graph.node:
        if node.op_type == "ConvTranspose":
            named = {item.name: list(item.ints) for item in node.attribute}
            pads = named.get("pads", [])
            assert pads[: len(pads) // 2] == pads[len(pads) // 2 :]
            assert "auto_pad" not in named


@pytest.mark.parametrize(
    ("body", "x", "w"),
    [
        ("y = Conv<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w)", (1, 64, 14, 14), (96, 64, 3, 3)),
        ("y = Conv<strides = [2, 2]>(x, w)", (1, 256, 14, 14), (512, 256, 1, 1)),
        ("y = Conv<pads = [1, 1, 1, 1]>(x, w)", (1, 64, 14, 14), (96, 64, 3, 3)),
    ],
)
def test_derived_weights_are_one_copy(
    body: str, x: tuple[int, ...], w: tuple[int, ...], tmp_path: Path
) -> None:
    """What ONNX Runtime folds at load, beside the weight itself and small constants."""
    weight = np.ones(w, dtype=np.float32)
    source = model_of(body, {"x": x}, {"w": weight})
    model = onnxlrp.compile(source, composite="gradient", target="seed").model
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "folded.onnx")
    options.log_severity_level = 4
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    kept = onnx.load(options.optimized_model_filepath).graph.initializer
    sizes = sum(numpy_helper.to_array(item).nbytes for item in kept)
    assert 1.9 * weight.nbytes < sizes < 2.05 * weight.nbytes + (16 << 10)
