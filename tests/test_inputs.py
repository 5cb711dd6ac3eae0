"""Which inputs are explained, and what token ids, positions and label maps come to."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import onnxlrp
from models import transformer
from tests.engine import Session, model_of

SAME = 1e-5
"""Of max|R|: one walk in float32 beside another."""

RNG = np.random.default_rng(0)
WIDTH, CLASSES, ROWS = 4, 3, 7
WEIGHTS = {
    "table": RNG.standard_normal((ROWS, WIDTH)).astype(np.float32),
    "wk": RNG.standard_normal((WIDTH, WIDTH)).astype(np.float32),
    "head": RNG.standard_normal((WIDTH, CLASSES)).astype(np.float32),
    "one": np.float32(1),
    "lowest": np.float32(4),
    "middle": np.array([1]),
}
CACHED = """
<ir_version: 10, opset_import: ["" : 21]>
cached (
  float[N,L,4] x, float[N,S] attention_mask, float[N,P,4] past_key, int64[N,L] position_ids
) => (float[N,3] y) {
  place = Gather(table, position_ids)
  h = Add(x, place)
  k0 = MatMul(h, wk)
  k = Concat<axis = 1>(past_key, k0)
  kt = Transpose<perm = [0, 2, 1]>(k)
  s = MatMul(h, kt)
  lost = Sub(attention_mask, one)
  low = Mul(lost, lowest)
  wide = Unsqueeze(low, middle)
  masked = Add(s, wide)
  a = Softmax(masked)
  o = MatMul(a, k)
  r = ReduceMean<keepdims = 0>(o, middle)
  y = MatMul(r, head)
}"""
PAST = "past_key_values.0.key"
SIDES = ("attention_mask", PAST, "position_ids")


def cached() -> ModelProto:
    """One attention with a cache; the name of the cache as transformers' exporter has it."""
    model = filled(CACHED)
    for node in model.graph.node:
        node.input[:] = [PAST if name == "past_key" else name for name in node.input]
    model.graph.input[2].name = PAST
    return model


def filled(text: str, **more: np.ndarray) -> ModelProto:
    model = onnx.parser.parse_model(text)
    used = {name for node in model.graph.node for name in node.input}
    for name, array in (WEIGHTS | more).items():
        if name in used:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


@pytest.fixture(scope="module")
def feeds() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(1)
    return {
        "x": rng.standard_normal((2, 3, WIDTH)).astype(np.float32),
        "attention_mask": np.float32([[1, 1, 1, 1, 1], [0, 1, 1, 1, 0]]),
        PAST: rng.standard_normal((2, 2, WIDTH)).astype(np.float32),
        "position_ids": np.array([[0, 1, 2], [4, 5, 6]]),
    }


def test_masks_caches_and_positions_are_not_explained(feeds: dict) -> None:
    made = onnxlrp.compile(cached())
    assert made.metadata.inputs == ("x",)
    names = [value.name for value in made.model.graph.output]
    assert names == ["y", "relevance/x"]
    report = onnxlrp.inspect(cached())
    assert report.inputs == ("x",)
    assert report.others == tuple((name, "a mask, a cache or positions") for name in SIDES)
    assert np.isfinite(Session(made.model)(feeds)["relevance/x"]).all()


@pytest.mark.parametrize("name", ["attention_mask", PAST])
def test_they_are_on_request(name: str, feeds: dict) -> None:
    """The gradient of each is the difference quotient of the plain model."""
    made = onnxlrp.compile(cached(), composite="gradient", target=1, inputs=[name])
    assert made.metadata.inputs == (name,)
    found = Session(made.model)(feeds)[f"relevance/{name}"]
    assert found.shape == feeds[name].shape
    assert np.abs(found).max() > 0
    along = np.random.default_rng(2).standard_normal(found.shape).astype(np.float32)
    run, step = Session(cached()), np.float32(1e-2)
    ahead, behind = (
        run({**feeds, name: feeds[name] + sign * step * along})["y"][:, 1].astype(float)
        for sign in (1, -1)
    )
    wanted = (ahead - behind) / (2 * float(step))
    axes = tuple(range(1, found.ndim))
    size = np.abs(found * along).sum(axis=axes).max()
    np.testing.assert_allclose((found * along).sum(axis=axes), wanted, rtol=0, atol=2e-3 * size)


def test_positions_on_request(feeds: dict) -> None:
    """One number per position: the relevance of its row of the table."""
    made = onnxlrp.compile(
        cached(), composite="epsilon", target=1, inputs=["position_ids", "x"], probes=["place"]
    )
    assert made.metadata.inputs == ("position_ids", "x")
    outputs = Session(made.model)(feeds)
    rows = outputs["relevance/place"].sum(axis=-1)
    assert outputs["relevance/position_ids"].shape == (2, 3)
    np.testing.assert_allclose(
        outputs["relevance/position_ids"], rows, rtol=0, atol=SAME * np.abs(rows).max()
    )
    alone = onnxlrp.compile(cached(), composite="epsilon", target=1, inputs=["position_ids"])
    assert alone.metadata.inputs == ("position_ids",)


def test_a_side_input_that_is_the_only_one_is_explained() -> None:
    model = filled(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N,4] attention_mask) =>'
        " (float[N,3] y) { y = MatMul(attention_mask, head) }"
    )
    assert onnxlrp.compile(model).metadata.inputs == ("attention_mask",)


def test_an_input_that_there_is_not() -> None:
    with pytest.raises(onnxlrp.InputError, match="input 'mask' is not one of x, attention_mask"):
        onnxlrp.compile(cached(), inputs=["mask"])


IDS = np.array([[1, 0, 6], [3, 5, 2]])
LOOKUPS = {
    "gather": ("int64", "e = Gather(table, ids)"),
    "gather of int32": ("int32", "e = Gather(table, ids)"),
    "one hot": ("int64", "h = OneHot(ids, depth, values) e = MatMul(h, table)"),
    "numbers, cast, one hot": (
        "float",
        "i = Cast<to = 7>(ids) h = OneHot(i, depth, values) e = MatMul(h, table)",
    ),
    "cast of numbers": ("float", "i = Cast<to = 7>(ids) e = Gather(table, i)"),
    "cast of doubles": ("double", "i = Cast<to = 6>(ids) e = Gather(table, i)"),
}
TYPES = {"int64": np.int64, "int32": np.int32, "float": np.float32, "double": np.float64}


@pytest.mark.parametrize("name", LOOKUPS)
def test_token_ids(name: str) -> None:
    """Relevance `[N, L]`, each token's share of the logit, however the rows are picked."""
    kind, body = LOOKUPS[name]
    model = filled(
        f'<ir_version: 10, opset_import: ["" : 21]> g ({kind}[N,L] ids) => (float[N,3] y)'
        f" {{ {body} r = ReduceMean<keepdims = 0>(e, middle) y = MatMul(r, head) }}",
        depth=np.array(ROWS),
        values=np.float32([0, 1]),
    )
    made = onnxlrp.compile(model, composite="epsilon:epsilon=1e-9", target=2)
    wanted = WEIGHTS["table"][IDS] @ WEIGHTS["head"][:, 2] / IDS.shape[1]
    explain = onnxlrp.Explainer(made, providers=["CPUExecutionProvider"])
    for batch_size in (1, 32):
        result = explain({"ids": IDS.astype(TYPES[kind])}, batch_size=batch_size)
        assert result.relevance["ids"].dtype == np.float32
        np.testing.assert_allclose(result.relevance["ids"], wanted, rtol=1e-4, atol=1e-6)


def test_one_hot_of_numbers_is_a_stop() -> None:
    """Without a Cast nothing says that they are ids."""
    model = filled(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N,L] ids) => (float[N,3] y)'
        " { h = OneHot(ids, depth, values) e = MatMul(h, table)"
        " r = ReduceMean<keepdims = 0>(e, middle) y = MatMul(r, head) }",
        depth=np.array(ROWS),
        values=np.float32([0, 1]),
    )
    with pytest.raises(onnxlrp.RuleError, match=r"it ends at 'OneHot_0' \(OneHot\)"):
        onnxlrp.compile(model)


def test_ids_that_are_numbers() -> None:
    """A Cast to float keeps their values: the relevance of a linear map is x w."""
    w = RNG.standard_normal((3, 2)).astype(np.float32)
    model = filled(
        '<ir_version: 10, opset_import: ["" : 21]> g (int64[N,3] ids) => (float[N,2] y)'
        " { n = Cast<to = 1>(ids) y = MatMul(n, w) }",
        w=w,
    )
    made = onnxlrp.compile(model, composite="epsilon:epsilon=1e-9", target=0)
    found = Session(made.model)({"ids": IDS})["relevance/ids"]
    np.testing.assert_allclose(found, IDS * w[:, 0], rtol=1e-5, atol=1e-6)


TOKENS = np.array([[3, 1, 4, 1, 5], [9, 2, 6, 5, 3]])


def llama(**options: object) -> dict[str, np.ndarray]:
    made = onnxlrp.compile(transformer.llama(norm="primitives"), **options)
    return Session(made.model)({"input_ids": TOKENS})


@pytest.mark.parametrize("composite", ["attnlrp", "cp-lrp", "epsilon", "gradient"])
@pytest.mark.parametrize("position", [0, 2])
def test_a_causal_model_does_not_look_ahead(composite: str, position: int) -> None:
    """The chosen token at the chosen position; nothing at later tokens."""
    found = llama(composite=composite, target=(position, 7))["relevance/input_ids"]
    assert found.shape == TOKENS.shape
    assert np.all(found[:, position + 1 :] == 0)
    assert np.all(np.abs(found[:, : position + 1]).max(axis=1) > 0)


def test_relevance_of_a_causal_model_is_that_of_the_cut_text() -> None:
    """What comes later changes nothing."""
    made = onnxlrp.compile(transformer.llama(norm="primitives"), target=(2, 7))
    run = Session(made.model)
    whole, cut = (run({"input_ids": ids})["relevance/input_ids"] for ids in (TOKENS, TOKENS[:, :3]))
    np.testing.assert_allclose(whole[:, :3], cut, rtol=0, atol=SAME * np.abs(cut).max())


def test_a_chosen_position_and_its_best_token() -> None:
    """`position=[-1]` with argmax is the target (last, best token there), sample by sample."""
    best = llama(position=[-1])
    last = TOKENS.shape[1] - 1
    for n, token in enumerate(best["logits"][:, last].argmax(axis=-1)):
        for target in ((last, int(token)), (-1, int(token)), f"-1,{int(token)}"):
            wanted = llama(target=target)["relevance/input_ids"][n]
            np.testing.assert_array_equal(best["relevance/input_ids"][n], wanted)
    everywhere = llama()["relevance/input_ids"]
    assert not np.array_equal(everywhere, best["relevance/input_ids"])


COEFFICIENTS = RNG.standard_normal((CLASSES, WIDTH)).astype(np.float32)
INTERCEPTS = RNG.standard_normal(CLASSES).astype(np.float32)
ROW = RNG.standard_normal((5, WIDTH)).astype(np.float32)


def classifier(labels: str, post: str, *, normalised: bool = False) -> ModelProto:
    """A logistic regression as skl2onnx writes it: label, and one dictionary per row."""
    names = {"int64s": [2, 5, 9], "strings": ["ant", "bee", "cat"]}[labels]
    nodes = [
        helper.make_node(
            "LinearClassifier",
            ["x"],
            ["label", "scores"],
            name="linear",
            domain="ai.onnx.ml",
            coefficients=COEFFICIENTS.reshape(-1).tolist(),
            intercepts=INTERCEPTS.tolist(),
            post_transform=post,
            multi_class=1,
            **{f"classlabels_{'ints' if labels == 'int64s' else labels}": names},
        ),
        helper.make_node(
            "Normalizer", ["scores"], ["shares"], name="shares", domain="ai.onnx.ml", norm="L1"
        ),
        helper.make_node(
            "ZipMap",
            ["shares" if normalised else "scores"],
            ["probabilities"],
            name="zip",
            domain="ai.onnx.ml",
            **{f"classlabels_{labels}": names},
        ),
    ]
    if not normalised:
        del nodes[1]
    kind = TensorProto.INT64 if labels == "int64s" else TensorProto.STRING
    number = helper.make_tensor_type_proto(TensorProto.FLOAT, [])
    rows = helper.make_sequence_type_proto(helper.make_map_type_proto(kind, number))
    graph = helper.make_graph(
        nodes,
        "logistic",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", WIDTH])],
        [
            helper.make_tensor_value_info("label", kind, ["N"]),
            helper.make_value_info("probabilities", rows),
        ],
    )
    ids = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 1)]
    return helper.make_model(graph, ir_version=10, opset_imports=ids)


@pytest.mark.parametrize("labels", ["int64s", "strings"])
def test_dictionaries_are_explained_through_their_scores(labels: str) -> None:
    """x_i w_i of the best class; the Explainer gives the dictionaries as one array."""
    source = classifier(labels, "NONE")
    made = onnxlrp.compile(source, composite="epsilon:epsilon=1e-9")
    assert made.metadata.output == "probabilities"
    explain = onnxlrp.Explainer(made, providers=["CPUExecutionProvider"])
    scores = ROW @ COEFFICIENTS.T + INTERCEPTS
    for batch_size in (2, 32):
        result = explain({"x": ROW}, batch_size=batch_size)
        np.testing.assert_allclose(result.outputs["probabilities"], scores, rtol=1e-4, atol=1e-5)
        assert result.outputs["probabilities"].dtype == np.float32
        best = scores.argmax(axis=1)
        wanted = ROW * COEFFICIENTS[best]
        np.testing.assert_allclose(result.relevance["x"], wanted, rtol=1e-3, atol=1e-5)
        plain = Session(source)({"x": ROW})
        np.testing.assert_array_equal(result.outputs["label"], plain["label"])
        rows = [list(row.values()) for row in plain["probabilities"]]
        np.testing.assert_allclose(
            result.outputs["probabilities"], rows, rtol=0, atol=SAME * np.abs(scores).max()
        )


def test_one_class_of_a_dictionary() -> None:
    made = onnxlrp.compile(
        classifier("strings", "NONE"), composite="epsilon:epsilon=1e-9", target=1
    )
    explain = onnxlrp.Explainer(made, providers=["CPUExecutionProvider"])
    found = explain({"x": ROW}).relevance["x"]
    np.testing.assert_allclose(found, ROW * COEFFICIENTS[1], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("normalised", [False, True])
@pytest.mark.parametrize("post", ["SOFTMAX", "LOGISTIC"])
def test_classifiers_with_probabilities(post: str, normalised: bool) -> None:
    """Their gradient is the difference quotient of the dictionary's entries."""
    source = classifier("int64s", post, normalised=normalised)
    made = onnxlrp.compile(source, composite="gradient", target=1, keep_softmax=True)
    explain = onnxlrp.Explainer(made, providers=["CPUExecutionProvider"])
    result = explain({"x": ROW})
    step = np.float32(1e-2)
    for k in range(WIDTH):
        shift = step * np.eye(WIDTH, dtype=np.float32)[k]
        ahead, behind = (
            explain({"x": ROW + sign * shift}).outputs["probabilities"][:, 1] for sign in (1, -1)
        )
        wanted = (ahead.astype(float) - behind) / (2 * float(step))
        np.testing.assert_allclose(result.relevance["x"][:, k], wanted, rtol=0, atol=2e-3)


@pytest.mark.parametrize("cast", [False, True])
def test_gradient_times_input_of_token_ids_is_taken_at_the_embedding(cast: bool) -> None:
    """The row of the table times the gradient by it, summed; the number of the id plays no part."""
    rng = np.random.default_rng(0)
    table, w = (rng.standard_normal(shape).astype(np.float32) for shape in ((9, 4), (4, 2)))
    body = "i = Cast <to = 7> (x) e = Gather (t, i) z = MatMul (e, w) a = Tanh (z) "
    body += "y = ReduceSum <keepdims = 0> (a, k)"
    model = model_of(body, {"x": ("N", 3)}, {"t": table, "w": w, "k": np.array([1])})
    if not cast:
        del model.graph.node[0]
        model.graph.node[0].input[1] = "x"
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64
    ids = np.array([[0, 5, 8], [3, 3, 1]])
    graph = onnxlrp.compile(model, composite="gradient-x-input", target=1)
    feeds = {"x": ids.astype(np.float32) if cast else ids}
    found = Session(graph.model)(feeds)["relevance/x"]
    rows = table[ids].astype(np.float64)
    slope = (1 - np.tanh(rows @ w)[..., 1:] ** 2) * w[:, 1]
    np.testing.assert_allclose(found, (rows * slope).sum(-1), rtol=0, atol=1e-6)
