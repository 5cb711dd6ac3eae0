"""Every node that the compiler emits has a CUDA kernel, as far as the table knows."""

import functools
import json
from pathlib import Path

import numpy as np
import onnx.numpy_helper
import onnx.parser
import pytest
from onnx import ModelProto, defs

from models import builders
from onnxlrp.compile import compile as compile_model
from onnxlrp.composites.presets import PRESETS
from onnxlrp.errors import Error
from tools.cuda_table import missing, table

ROOT = Path(__file__).resolve().parents[2]
CASES = ROOT.parent / "shared" / "cases"
FAMILIES = {"cnn", "mlp", "resnet", "segmentation", "timeseries"}
NAMES = ["auto", *(preset.name for preset in PRESETS)]

ODD = """
<ir_version: 10, opset_import: ["" : 21]>
odd (float[N,4,9,9] x) => (float[N,K] y)
{
  a = Conv <auto_pad = "SAME_LOWER", strides = [2, 2]> (x, w1)
  b = BatchNormalization (a, scale, shift, mean, var)
  c = LeakyRelu (b)
  d = Conv <group = 6, pads = [1, 0, 1, 2], dilations = [1, 1]> (c, w2)
  e = MaxPool <kernel_shape = [2, 2], ceil_mode = 1> (d)
  f = AveragePool <kernel_shape = [2, 2], pads = [0, 1, 1, 0], count_include_pad = 1> (e)
  g = Gelu (f)
  one = Constant <value = float {1.5}> ()
  h = Mul (g, one)
  axes = Constant <value = int64[2] {2, 3}> ()
  p = ReduceMax <keepdims = 0> (h, axes)
  q = ReduceMean <keepdims = 0> (h, axes)
  r = Concat <axis = 1> (p, q)
  s = Concat <axis = 1> (r, r)
  y = MatMul (s, w3)
}
"""


WEIGHTS = {
    "w1": (6, 4, 2, 2),
    "w2": (6, 1, 3, 3),
    "scale": (6,),
    "shift": (6,),
    "mean": (6,),
    "var": (6,),
    "w3": (24, 5),
}


def odd() -> ModelProto:
    """Attributes and operators that the builders do not have."""
    model = onnx.parser.parse_model(ODD)
    rng = np.random.default_rng(0)
    for name, shape in WEIGHTS.items():
        array = rng.uniform(0.1, 1, shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


MODELS = {
    "mlp": lambda: builders.mlp(),
    "small_cnn": lambda: builders.small_cnn(bn="keep"),
    "mixed_cnn": lambda: builders.mixed_cnn(),
    "cnn_1d": lambda: builders.cnn_1d(),
    "resnet18": lambda: builders.resnet18(size=16, width=4, bn="keep"),
    "odd": odd,
}
OPTIONS: dict[str, dict[str, object]] = {
    "plain": {},
    "ledger": {"ledger": True},
    "targets": {"target": "input"},
    "contrast": {"target": "contrast:0:1"},
}


@functools.cache
def model(name: str) -> ModelProto:
    return MODELS[name]()


def cases() -> list[str]:
    if not CASES.is_dir():
        return []
    manifest = json.loads((CASES / "manifest.json").read_text())["cases"]
    return [item["id"] for item in manifest if item["family"] in FAMILIES]


@pytest.mark.parametrize("preset", NAMES)
@pytest.mark.parametrize("name", MODELS)
def test_models(name: str, preset: str) -> None:
    graph = compile_model(model(name), composite=preset)
    assert missing(graph.model) == []


@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("name", MODELS)
def test_options(name: str, option: str) -> None:
    graph = compile_model(model(name), composite="epsilon-plus-flat", **OPTIONS[option])
    assert missing(graph.model) == []


def test_pictures() -> None:
    graph = compile_model(model("small_cnn"), heatmap=True, image=True)
    assert missing(graph.model) == []


@pytest.mark.parametrize("case", cases())
def test_cases(case: str) -> None:
    found: dict[str, list[str]] = {}
    for preset in NAMES:
        try:
            graph = compile_model(CASES / case / "model.onnx", composite=preset)
        except Error as error:
            if "fp16" in case:
                pytest.skip(str(error))
            raise
        lines = missing(graph.model)
        if lines:
            found[preset] = lines
    assert found == {}


def test_table_speaks_of_real_operators() -> None:
    for name, entry in table()["operators"].items():
        schema = defs.get_schema(name, table()["opset"])
        parameters = {item.type_str for item in [*schema.inputs, *schema.outputs]}
        assert entry["types"].keys() <= parameters, name
        limited = {*entry.get("attributes", ()), *entry.get("absent", ())}
        assert limited <= schema.attributes.keys(), name
    assert table()["registered_late"].keys() <= table()["operators"].keys()


ONE_NODE = """
<ir_version: 10, opset_import: ["" : 21]>
one ({inputs}) => (float[A,B,C,D] y) {{ y = {node} }}
"""


@pytest.mark.parametrize(
    ("inputs", "node", "reason"),
    [
        ("float[1,2,3,4] x", "Mish (x)", "no kernel"),
        ("double[1,2,3,4] x", "Sigmoid (x)", ""),
        (
            "float[1,2,3,3] x, float[2,1,2,2] w",
            "ConvTranspose <pads = [0, 1, 1, 0]> (x, w)",
            "asymmetric pads",
        ),
        ("float[1,2,3,3] x, float[2,1,2,2] w", "ConvTranspose <pads = [1, 1, 1, 1]> (x, w)", ""),
        ("int32[1,2,3,4] x", "Clip (x)", "no kernel for input of type int32"),
        (
            "float[1,2] x, int64[1,2] i, float[1,2] u",
            'ScatterElements <reduction = "max"> (x, i, u)',
            "reduction=max",
        ),
    ],
)
def test_limits(inputs: str, node: str, reason: str) -> None:
    text = ONE_NODE.format(inputs=inputs, node=node)
    one = onnx.parser.parse_model(text)
    one.graph.node[0].name = "lrp/here"
    lines = missing(one)
    assert bool(lines) == bool(reason)
    assert all(reason in line for line in lines)
