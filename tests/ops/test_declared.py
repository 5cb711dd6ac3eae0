"""Stops are a closed list, refusals say what to do, gates and token ids get what they should."""

import numpy as np
import onnx.parser
import pytest
from onnx import ModelProto, defs, helper

import onnxlrp
from onnxlrp.errors import RuleError, UnsupportedOp
from onnxlrp.ops import OPS
from onnxlrp.ops.bodies import BODIED
from onnxlrp.ops.refused import REASONS
from onnxlrp.ops.stops import LEARNED, RANDOM, SIZED, STOPS
from tests.engine import Session, model_of
from tools.supported_ops import kinds_of

FLOATS = {"tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)"}

FLAT = {
    "BitCast", "Ceil", "ConstantOfShape", "EyeLike", "Floor", "Hardmax", "Round", "Sign",
    "BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix",
    "Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike",
    "ai.onnx.ml.Binarizer", "ai.onnx.ml.CategoryMapper", "ai.onnx.ml.LabelEncoder",
}  # fmt: skip
"""Stops with floating-point outputs: piecewise constant, bits, tables, or random."""


def stops() -> list[str]:
    return [name for name, function in OPS.items() if kinds_of(function) == ["Stop"]]


@pytest.mark.parametrize("name", stops())
def test_stop_has_no_float_output_or_is_flat(name: str) -> None:
    domain, _, op = name.rpartition(".")
    schema = defs.get_schema(op, domain)
    types = {text for output in schema.outputs for text in output.types}
    assert name in FLAT or not types & FLOATS


def test_flat_stops_are_stops() -> None:
    assert set(stops()) >= FLAT


NUMBERS = {
    "ConvInteger", "MatMulInteger", "QLinearConv", "QLinearMatMul", "QuantizeLinear",
    "SequenceLength", "ai.onnx.ml.CategoryMapper", "ImageDecoder",
}  # fmt: skip
"""No floating-point outputs and yet no stops: integers that stand for numbers, a known length, a
refusal."""


def test_operators_without_float_outputs_are_stops() -> None:
    """What gives no numbers carries no relevance, and says so."""
    plain = {
        schema.name
        for schema in defs.get_all_schemas()
        if not schema.domain and not _text(schema) & {"float", "double", "graph"}
    }
    assert plain - NUMBERS <= set(stops())


def _text(schema: defs.OpSchema) -> set[str]:
    """Element types of the outputs, also of sequences; bodies may give anything."""
    types = {text for output in schema.outputs for text in output.types}
    found = {text.rstrip(")").rpartition("(")[2] for text in types}
    return found | ({"graph"} if schema.name in BODIED else set())


def test_stops_are_one_list() -> None:
    learned = {f"ai.onnx.ml.{name}" for name in LEARNED}
    assert set(stops()) == {*STOPS, *SIZED, *RANDOM, *learned}


PARTLY = {
    "Cast", "CastLike", "DeformConv", "GridSample", "MaxRoiPool", "Mod", "OneHot", "Range",
    "Resize", "RoiAlign", "ai.onnx.ml.OneHotEncoder",
}  # fmt: skip
"""Stops where only an operand without a derivative depends on the input, or the type is integer."""


def test_stops_by_operand_are_a_closed_list() -> None:
    assert {name for name in OPS if "Stop" in kinds_of(OPS[name])} == {*stops(), *PARTLY}


def test_refused_operators_exist() -> None:
    for name in REASONS:
        domain, _, op = name.rpartition(".")
        assert defs.has(op, domain)
        assert kinds_of(OPS[name]) == ["Unsupported"]


REFUSED = {
    "range": ("l = Add(x, e) y = Range(x, l, x)", {"x": ()}, {"e": 5.0}, "constant Range"),
    "scatter mul": (
        'y = ScatterND<reduction = "mul">(w, i, x)',
        {"x": (2,)},
        {"i": np.array([[0], [1]]), "w": (3,)},
        "reduction 'mul' with updates",
    ),
    "onehot": (
        "c = ReduceSum(x) e = Expand(c, t) y = OneHot(x, d, e)",
        {"x": (3,)},
        {"d": [4], "t": [2]},
        "more than its indices",
    ),
    "dropout": ("y = Dropout(x, r, t)", {"x": (3,)}, {"r": 0.5, "t": np.array(True)}, "training"),
    "layernorm": ("y = LayerNormalization(x, w, x)", {"x": (3,)}, {"w": (3,)}, "bias depends"),
    "layernorm scale": ("y = LayerNormalization(w, x)", {"x": (3,)}, {"w": (3,)}, "scale alone"),
    "det": ("y = Det(x)", {"x": ("n", "n")}, {}, "size of its matrices"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refusal_says_why(name: str) -> None:
    body, inputs, constants, reason = REFUSED[name]
    rng = np.random.default_rng(0)
    arrays = {
        key: rng.standard_normal(given).astype(np.float32)
        if isinstance(given, tuple)
        else np.array(given, dtype=np.float32 if isinstance(given, float) else None)
        for key, given in constants.items()
    }
    with pytest.raises(UnsupportedOp, match=reason):
        onnxlrp.compile(model_of(body, inputs, arrays), composite="gradient", target="seed")


def test_trees_are_refused_by_name() -> None:
    node = helper.make_node(
        "TreeEnsembleRegressor",
        ["x"],
        ["y"],
        domain="ai.onnx.ml",
        nodes_treeids=[0],
        nodes_nodeids=[0],
        nodes_featureids=[0],
        nodes_modes=["LEAF"],
        nodes_values=[0.0],
        target_treeids=[0],
        target_nodeids=[0],
        target_ids=[0],
        target_weights=[1.0],
        n_targets=1,
    )
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21, "ai.onnx.ml" : 3]> '
        "g (float[2,3] x) => (float[2,1] y) { }"
    )
    model.graph.node.append(node)
    with pytest.raises(UnsupportedOp, match=r"TreeEnsembleRegressor.*decision trees"):
        onnxlrp.compile(model)


def test_random_numbers_end_the_path() -> None:
    with pytest.raises(RuleError, match="ends at 'RandomNormalLike_0'"):
        onnxlrp.compile(model_of("y = RandomNormalLike(x)", {"x": (2, 3)}))


GATED = {
    "Pow": ("y = Pow(x, z)", (2, 3), 21),
    "PRelu": ("y = PRelu(x, z)", (2, 3), 21),
    "LayerNormalization": ("y = LayerNormalization(x, z)", (2, 3), 21),
    "RMSNormalization": ("y = RMSNormalization(x, z)", (2, 3), 23),
}


@pytest.mark.parametrize("op", GATED)
def test_gates_get_nothing(op: str) -> None:
    body, shape, opset = GATED[op]
    model = model_of(body, {"x": shape, "z": shape}, opset=opset)
    explained = onnxlrp.compile(model, composite="epsilon", target="seed").model
    rng = np.random.default_rng(1)
    feeds = {name: rng.uniform(0.5, 2, shape).astype(np.float32) for name in ("x", "z", "seed")}
    outputs = Session(explained)(feeds)
    np.testing.assert_array_equal(outputs["relevance/x"], feeds["seed"])
    assert not outputs["relevance/z"].any()


def _ids(body: str) -> ModelProto:
    return onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21, "ai.onnx.ml" : 3]> '
        f"g (int64[N,3] x) => (float[N,3,4] y) {{ {body} }}"
    )


DEPTH = "d = Constant<value_ints = [4]>() v = Constant<value_floats = [0.0, 1.0]>() "


@pytest.mark.parametrize("targets", [1, 2])
@pytest.mark.parametrize(
    "body",
    [
        DEPTH + "h = OneHot(x, d, v) y = Mul(h, h)",
        "h = ai.onnx.ml.OneHotEncoder<cats_int64s = [0, 1, 2, 3]>(x) y = Mul(h, h)",
    ],
)
def test_token_ids_get_relevance_per_position(body: str, targets: int) -> None:
    """The product of h with itself has the gradient 2 h; its sum over the channels is 2."""
    mode = f"input:{targets}" if targets > 1 else "input"
    graph = onnxlrp.compile(_ids(body), composite="gradient", target=mode, start="one")
    ids = np.array([[3, 1, 0], [2, 2, 1]])
    chosen = np.array([[[0, 3], [2, 0]], [[2, 1], [1, 3]]])[:, :targets]
    given = chosen if targets > 1 else chosen[:, 0]
    found = Session(graph.model)({"x": ids, "target": given})["relevance/x"]
    wanted = np.zeros((2, targets, 3))
    for n, k in np.ndindex(2, targets):
        position, channel = chosen[n, k]
        wanted[n, k, position] = 2 * (ids[n, position] == channel)
    np.testing.assert_array_equal(found, wanted if targets > 1 else wanted[:, 0])
