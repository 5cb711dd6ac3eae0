"""Forms that exporters and runtimes write beside those of the standard."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import ModelError, UnsupportedOp
from onnxlrp.graph.load import load
from tests.engine import STANDARD, Session, domains, model_of

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32)
SEED = np.random.default_rng(1).standard_normal((2, 3, 4)).astype(np.float32)
SCALE = np.float32([0.5, 1, 1.5, 2])


def stamp(model: ModelProto, domain: str = "") -> int:
    (version,) = [item.version for item in model.opset_import if item.domain == domain]
    return version


PICTURE = np.random.default_rng(2).standard_normal((1, 2, 3, 3)).astype(np.float32)
RESIZE = 'y = Resize<mode = "nearest", nearest_mode = "floor",'
RESIZE += ' coordinate_transformation_mode = "asymmetric">'


@pytest.mark.parametrize(
    "inputs",
    [
        "x, none, none, sizes",
        "x, none, scales0, sizes",
        "x, , , sizes",
        "x, none, scales",
        "x, , scales",
    ],
)
def test_inputs_of_resize_that_hold_nothing(inputs: str) -> None:
    """An empty initializer stands for an input that is absent, as PyTorch writes it."""
    constants = {
        "none": np.zeros(0, np.float32),
        "scales0": np.zeros(0, np.float32),
        "scales": np.float32([1, 1, 2, 2]),
        "sizes": np.array([1, 2, 6, 6]),
    }
    used = {name: array for name, array in constants.items() if name in inputs.split(", ")}
    source = model_of(f"{RESIZE}({inputs})", {"x": (1, 2, 3, 3)}, used)
    made = onnxlrp.compile(source, composite="gradient", target="seed").model
    onnx.checker.check_model(made, full_check=True)
    seed = np.arange(72, dtype=np.float32).reshape(1, 2, 6, 6)
    outputs = Session(made)({"x": PICTURE, "seed": seed})
    np.testing.assert_array_equal(outputs["y"], PICTURE.repeat(2, axis=2).repeat(2, axis=3))
    wanted = seed.reshape(1, 2, 3, 2, 3, 2).sum(axis=(3, 5))
    np.testing.assert_allclose(outputs["relevance/x"], wanted, rtol=1e-6)


@pytest.mark.parametrize("names", [["", "ai.onnx"], ["", ""], ["ai.onnx", "", "ai.onnx"]])
def test_a_domain_that_is_imported_twice(names: list[str]) -> None:
    """One stays; where the versions differ, the newest."""
    source = model_of("y = Relu(x)", {"x": ("N", 3, 4)})
    del source.opset_import[:]
    source.opset_import.extend(helper.make_opsetid(name, 17) for name in names)
    made = onnxlrp.compile(source, composite="gradient", target="seed").model
    assert [(item.domain, item.version) for item in made.opset_import] == [("", 21)]
    found = Session(made)({"x": X, "seed": SEED})["relevance/x"]
    np.testing.assert_array_equal(found, SEED * (X > 0))


def test_a_domain_that_is_imported_in_two_versions() -> None:
    source = model_of("y = Gelu(x)", {"x": ("N", 3, 4)}, opset=20)
    source.opset_import.append(helper.make_opsetid("ai.onnx", 20))
    source.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    made = onnxlrp.compile(source, composite="gradient").model
    assert stamp(made) == 21


def foreign(op: str, opset: int, *inputs: str) -> ModelProto:
    """What ONNX Runtime saves after its own fusions: its operators in the domain of ONNX."""
    node = helper.make_node(op, ["x", *inputs], ["y"], name="norm", axis=-1, epsilon=1e-5)
    values = [helper.make_tensor_value_info(name, 1, ["N", 3, 4]) for name in "xy"]
    given = [numpy_helper.from_array(SCALE, name) for name in inputs]
    graph = helper.make_graph([node], "fused", values[:1], values[1:], given)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def normalised(x: np.ndarray, *, centred: bool) -> np.ndarray:
    c = x - x.mean(axis=-1, keepdims=True) if centred else x
    return c / np.sqrt((c * c).mean(axis=-1, keepdims=True) + 1e-5) * SCALE


@pytest.mark.parametrize(
    ("op", "opset", "stays"),
    [
        ("SimplifiedLayerNormalization", 13, True),
        ("SimplifiedLayerNormalization", 17, True),
        ("SimplifiedLayerNormalization", 21, True),
        ("LayerNormalization", 13, False),
        ("LayerNormalization", 17, False),
    ],
)
def test_operators_of_onnx_runtime_in_the_domain_of_onnx(op: str, opset: int, stays: bool) -> None:
    """The saved file has them where ONNX Runtime looks for them, and it runs."""
    made = onnxlrp.compile(foreign(op, opset, "scale"), composite="gradient", target="seed").model
    deployed = made.graph.node[0]
    assert (deployed.op_type, deployed.domain, deployed.name) == (op, "", "norm")
    assert domains(made) <= STANDARD
    run = Session(made)
    outputs = run({"x": X, "seed": SEED})
    centred = not stays
    x, h = X.astype(float), 1e-6
    np.testing.assert_allclose(outputs["y"], normalised(x, centred=centred), rtol=0, atol=1e-5)
    wanted = np.zeros(X.shape)
    for index in np.ndindex(X.shape):
        step = np.zeros(X.shape)
        step[index] = h
        ahead, behind = (normalised(x + sign * step, centred=centred) for sign in (1, -1))
        wanted[index] = ((ahead - behind) * SEED).sum() / (2 * h)
    size = np.abs(wanted).max()
    np.testing.assert_allclose(outputs["relevance/x"], wanted, rtol=0, atol=2e-5 * size)


def test_an_operator_that_nobody_has_is_refused() -> None:
    source = foreign("SimplifiedNormalization", 17, "scale")
    with pytest.raises(UnsupportedOp, match=r"node 'norm' \(SimplifiedNormalization, opset 17\)"):
        load(source)


NEWEST = min(onnx.defs.onnx_opset_version(), 26)
NEWER = [
    ("Relu", "y = Relu(x)", 21),
    ("Swish", "y = Swish(x)", 24),
    ("RMSNormalization", "y = RMSNormalization(x, scale)", 23),
]


@pytest.mark.parametrize(
    ("op", "body", "smallest", "opset"),
    [(*row, opset) for row in NEWER for opset in range(max(22, row[2]), NEWEST + 1)],
)
def test_newer_sources_have_the_smallest_stamp(
    op: str, body: str, smallest: int, opset: int
) -> None:
    ids = [helper.make_opsetid("", opset)]
    constants = {"scale": SCALE} if "scale" in body else {}
    source = model_of(
        body,
        {"x": ("N", 3, 4)},
        constants,
        opset=opset,
        ir=helper.find_min_ir_version_for(ids),
    )
    made = onnxlrp.compile(source, composite="gradient").model
    onnx.checker.check_model(made, full_check=True)
    assert stamp(made) == smallest
    assert made.ir_version >= helper.find_min_ir_version_for(made.opset_import)
    if smallest == 21:
        assert made.ir_version == 10
    assert made.graph.node[0].op_type == op


def test_scan_of_opset_8() -> None:
    """It has a batch axis and a first input that newer ones lack."""
    body = helper.make_graph(
        [helper.make_node("Add", ["h", "u"], ["g"]), helper.make_node("Identity", ["g"], ["o"])],
        "step",
        [helper.make_tensor_value_info(name, 1, [4]) for name in ("h", "u")],
        [helper.make_tensor_value_info(name, 1, [4]) for name in ("g", "o")],
    )
    scan = helper.make_node("Scan", ["", "h0", "x"], ["y", "ys"], body=body, num_scan_inputs=1)
    graph = helper.make_graph(
        [scan],
        "old",
        [
            helper.make_tensor_value_info("h0", 1, [2, 4]),
            helper.make_tensor_value_info("x", 1, [2, 3, 4]),
        ],
        [helper.make_tensor_value_info("y", 1, [2, 4])],
    )
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 8)], ir_version=3)
    with pytest.raises(UnsupportedOp, match="Scan of opset 8 has a batch axis") as caught:
        onnxlrp.compile(source)
    assert "\n" not in str(caught.value)
    assert "export with opset 9" in str(caught.value)


def test_sizes_are_checked_before_anything_else() -> None:
    source = foreign("SimplifiedLayerNormalization", 17, "scale")
    source.graph.initializer[0].dims[:] = [-4]
    with pytest.raises(ModelError, match=r"constant 'scale' has the shape \[-4\]"):
        onnxlrp.compile(source)
