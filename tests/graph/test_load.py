"""Reading and lifting: opsets, initializers as inputs, functions, cycles, digests."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxlrp
from onnxlrp.errors import Error, ModelError, UnsupportedOp
from onnxlrp.graph.digest import digest
from onnxlrp.graph.load import load
from tests.engine import STANDARD, Session, domains, model_of

NEWEST = onnx.defs.onnx_opset_version()
W = np.float32([[1, -2], [0.5, 3], [2, 1]])
B = np.float32([0.5, -1])
X = np.float32([[1, 2, 3], [-1, 0.5, 2]])


def dense(opset: int = 21, ir: int = 10) -> onnx.ModelProto:
    return model_of(
        "a = Gemm(x, w, b) y = Relu(a)", {"x": ("N", 3)}, {"w": W, "b": B}, opset=opset, ir=ir
    )


def explained(source: onnx.ModelProto) -> np.ndarray:
    made = onnxlrp.compile(source, composite="gradient", target="seed").model
    onnx.checker.check_model(made, full_check=True)
    assert domains(made) <= STANDARD
    return Session(made)({"x": X, "seed": np.ones((2, 2), np.float32)})["relevance/x"]


GRADIENT = (np.float32(X @ W + B > 0)) @ W.T


@pytest.mark.parametrize("opset", range(7, NEWEST + 1))
def test_every_opset(opset: int) -> None:
    """Those that ONNX Runtime cannot run are only compiled and checked."""
    source = dense(
        opset, ir=max(8, helper.find_min_ir_version_for([helper.make_opsetid("", opset)]))
    )
    made = onnxlrp.compile(source, composite="gradient", target="seed").model
    onnx.checker.check_model(made, full_check=True)
    stamp = next(item.version for item in made.opset_import if item.domain == "")
    assert stamp == 21 or 21 < opset == stamp
    if stamp == 21:
        np.testing.assert_allclose(explained(source), GRADIENT, rtol=1e-6)


def test_an_operator_without_a_form_at_21_keeps_its_stamp() -> None:
    source = model_of("y = Swish(x)", {"x": ("N", 3)}, opset=24, ir=11)
    graph = load(source)
    assert graph.opset == 24
    made = onnxlrp.compile(source, composite="gradient").model
    onnx.checker.check_model(made, full_check=True)


@pytest.mark.parametrize(
    ("opset", "match"),
    [(6, "opset 6 is older than 7"), (NEWEST + 1, f"opset {NEWEST + 1} is newer")],
)
def test_opsets_out_of_range(opset: int, match: str) -> None:
    source = dense()
    source.opset_import[0].version = opset
    with pytest.raises(ModelError, match=match):
        load(source)


def test_the_name_of_the_standard_domain() -> None:
    source = dense()
    source.opset_import[0].domain = "ai.onnx"
    np.testing.assert_allclose(explained(source), GRADIENT, rtol=1e-6)


def test_an_operator_that_onnx_does_not_have() -> None:
    source = dense()
    source.graph.node[1].op_type = "Relo"
    source.graph.node[1].name = "last"
    with pytest.raises(UnsupportedOp, match=r"node 'last' \(Relo, opset 21\)"):
        load(source)


def test_initializers_are_constants_before_ir_4() -> None:
    source = dense(opset=8, ir=3)
    assert [item.name for item in source.graph.input] == ["x", "w", "b"]
    made = onnxlrp.compile(source, composite="gradient", target="seed").model
    assert [item.name for item in made.graph.input] == ["x", "seed"]
    np.testing.assert_allclose(explained(source), GRADIENT, rtol=1e-6)


def test_initializers_that_are_inputs_can_be_overridden() -> None:
    source = dense()
    source.graph.input.append(helper.make_tensor_value_info("w", 1, [3, 2]))
    graph = load(source)
    assert [value.name for value in graph.inputs] == ["x"]
    assert graph.values["w"].constant is None
    assert graph.values["w"].variable
    assert graph.values["b"].constant is not None
    made = onnxlrp.compile(source, composite="epsilon:epsilon=1e-9", target="seed").model
    assert [item.name for item in made.graph.input] == ["x", "w", "seed"]
    run, seed, x = Session(made), np.ones((2, 2), np.float32), np.abs(X)
    for w in (np.abs(W), np.float32([[2, 1], [1, 1], [0.5, 3]])):
        z = x @ w + B
        wanted = x * ((seed / z) @ w.T)
        feeds = {"x": x, "seed": seed, "w": w}
        np.testing.assert_allclose(run(feeds)["relevance/x"], wanted, rtol=1e-4)


def test_overridable_weights_are_not_folded() -> None:
    body = "a = MatMul(x, w) y = BatchNormalization(a, s, c, m, v)"
    ones = {name: np.ones(2, np.float32) for name in "scmv"}
    source = model_of(body, {"x": ("N", 3)}, {"w": W, **ones})
    source.graph.input.append(helper.make_tensor_value_info("s", 1, [2]))
    made = onnxlrp.compile(source, composite="epsilon", target="seed", ledger=True)
    assert len(made.metadata.ledger) == 2


def test_functions_are_inlined() -> None:
    text = """
        <ir_version: 10, opset_import: ["" : 21, "mine" : 1]>
        g (float[N,3] x) => (float[N,3] y) { h = mine.Twice(x) y = mine.Twice(h) }
        <domain: "mine", opset_import: ["" : 21, "mine" : 1]>
        Twice (x) => (y) { h = mine.Once(x) y = Add(h, h) }
        <domain: "mine", opset_import: ["" : 21]>
        Once (x) => (y) { y = Neg(x) }
    """
    source = onnx.parser.parse_model(text)
    made = onnxlrp.compile(source, composite="gradient", target="seed").model
    assert not made.functions
    assert domains(made) <= STANDARD
    found = Session(made)({"x": X, "seed": np.ones_like(X)})["relevance/x"]
    np.testing.assert_array_equal(found, 4 * np.ones_like(X))


def test_the_source_is_not_changed() -> None:
    source = dense(opset=13)
    before = source.SerializeToString(deterministic=True)
    onnxlrp.compile(source, composite="epsilon")
    assert source.SerializeToString(deterministic=True) == before


def test_nodes_without_and_with_the_same_name() -> None:
    source = model_of("a = Relu(x) b = Relu(a) y = Relu(b)", {"x": ("N", 3)})
    source.graph.node[0].name = source.graph.node[2].name = "same"
    names = [node.name for node in load(source).nodes]
    assert names == ["same", "Relu_1", "same_2"]


def test_a_name_that_looks_like_a_made_one() -> None:
    source = model_of("a = Relu(x) b = Relu(a) c = Relu(b) y = Relu(c)", {"x": ("N", 3)})
    for node, name in zip(source.graph.node, ("n", "n_2", "n", "n_2"), strict=True):
        node.name = name
    names = [node.name for node in load(source).nodes]
    assert len(set(names)) == 4


BODIES = {
    "cycle": "a = Add(x, b) b = Relu(a) y = Neg(b)",
    "itself": "y = Add(x, y)",
    "undefined": "y = Add(x, q)",
    "twice": "y = Relu(x) y = Neg(x)",
    "order": "y = Neg(b) b = Relu(x)",
}


@pytest.mark.parametrize("name", BODIES)
def test_graphs_that_are_no_graphs(name: str) -> None:
    head = '<ir_version: 10, opset_import: ["" : 21]> g (float[N,3] x) => (float[N,3] y)'
    with pytest.raises(ModelError, match="not valid ONNX"):
        load(onnx.parser.parse_model(f"{head} {{ {BODIES[name]} }}"))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (b"", "is empty"),
        (b"hello, this is no model", "not an ONNX model"),
        (bytes(range(256)) * 8, "not an ONNX model"),
        (b"\x08\x0a", "no graph with outputs"),
    ],
)
def test_bytes_that_are_no_model(data: bytes, match: str, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(ModelError, match=match):
            load(source)


def test_every_truncation_is_refused_in_words() -> None:
    data = dense().SerializeToString()
    for end in range(0, len(data), 7):
        with pytest.raises(Error) as caught:
            load(data[:end])
        assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot read model"):
        load(tmp_path / "nothing.onnx")
    with pytest.raises(ModelError, match="cannot read model"):
        load(tmp_path)


def test_digest_of_path_bytes_and_proto(tmp_path: Path) -> None:
    source = dense()
    path = tmp_path / "model.onnx"
    onnx.save_model(source, path)
    apart = tmp_path / "apart.onnx"
    onnx.save_model(dense(), apart, save_as_external_data=True, location="w.data", size_threshold=0)
    digests = [load(item).digest for item in (path, str(path), path.read_bytes(), source)]
    assert len(set(digests)) == 1
    assert digests[0] == digest(source, "")
    assert load(apart).digest == digests[0]
    tables = [onnxlrp.compile(item, composite="epsilon") for item in (path, source)]
    assert tables[0].to_bytes() == tables[1].to_bytes()


@pytest.mark.parametrize("part", ["weight", "name", "type", "node", "shape"])
def test_digest_sees_every_change(part: str) -> None:
    source = dense()
    before = digest(source, "")
    tensor = source.graph.initializer[0]
    if part == "weight":
        source.graph.initializer[0].CopyFrom(numpy_helper.from_array(W + np.float32(1e-7), "w"))
    elif part == "name":
        tensor.name = "v"
    elif part == "type":
        tensor.data_type = onnx.TensorProto.INT32
    elif part == "shape":
        tensor.dims[:] = [2, 3]
    else:
        source.graph.node[1].op_type = "Abs"
    assert digest(source, "") != before
