import numpy as np
import onnx
import pytest

from models import transformer
from models.transformer import LONGEST, Size
from tests.engine import Session

SAME = 1e-5  # float32: the primitives and the operator of a norm round differently
NETS = {"vit": transformer.vit, "bert": transformer.bert, "llama": transformer.llama}


def feeds(name: str, *, length: int = 6, embedded: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    if name == "vit":
        return {"image": rng.normal(size=(2, 3, 12, 12)).astype(np.float32)}
    tokens = {"input_ids": rng.integers(0, 19, (2, length))}
    if embedded:
        tokens = {"inputs_embeds": rng.normal(size=(2, length, 16)).astype(np.float32)}
    masks = {"attention_mask": np.ones((2, length), np.int64)} if name == "bert" else {}
    return tokens | masks


@pytest.mark.parametrize("norm", ["op", "primitives"])
@pytest.mark.parametrize("name", NETS)
def test_is_valid_and_sane(name: str, norm: str) -> None:
    model = NETS[name](seed=3, norm=norm)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (10, 21)
    ops = {node.op_type for node in model.graph.node}
    assert bool(ops & {"LayerNormalization", "LpNormalization"}) == (norm == "op")
    logits = Session(model)(feeds(name))["logits"]
    assert np.isfinite(logits).all()
    assert 0.01 < np.abs(logits).max() < 100


@pytest.mark.parametrize("name", NETS)
def test_same_seed_same_bytes(name: str) -> None:
    first, again, other = (NETS[name](seed=s).SerializeToString() for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", ["vit", "bert"])
def test_primitives_are_the_operator(name: str) -> None:
    one, other = (Session(NETS[name](norm=norm))(feeds(name)) for norm in ("op", "primitives"))
    assert np.abs(one["logits"] - other["logits"]).max() <= SAME * np.abs(one["logits"]).max()


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_embedded_words_are_the_words(name: str) -> None:
    ids = feeds(name)
    model = NETS[name]()
    words = next(t for t in model.graph.initializer if t.name == "words")
    rows = onnx.numpy_helper.to_array(words)[ids.pop("input_ids")]
    plain = Session(model)(feeds(name))["logits"]
    # The table is not drawn, so the weights behind it differ: put in those of the model.
    embedded = NETS[name](embedded=True)
    known = {t.name: t for t in model.graph.initializer}
    for tensor in embedded.graph.initializer:
        tensor.CopyFrom(known[tensor.name])
    found = Session(embedded)(ids | {"inputs_embeds": rows})["logits"]
    np.testing.assert_array_equal(found, plain)


@pytest.mark.parametrize("masked", [transformer.LOWEST, -1e9])
def test_later_tokens_are_not_seen(masked: float) -> None:
    run = Session(transformer.llama(masked=masked))
    ids = feeds("llama")["input_ids"]
    other = ids.copy()
    other[:, -1] = (ids[:, -1] + 1) % 19
    first, second = run({"input_ids": ids})["logits"], run({"input_ids": other})["logits"]
    np.testing.assert_array_equal(first[:, :-1], second[:, :-1])
    assert np.abs(first[:, -1] - second[:, -1]).max() > 0.01


def test_masked_tokens_are_not_seen() -> None:
    run, given = Session(transformer.bert()), feeds("bert")
    given["attention_mask"][:, 4:] = 0
    other = given | {"input_ids": np.where(given["attention_mask"] == 0, 3, given["input_ids"])}
    np.testing.assert_array_equal(run(given)["logits"], run(other)["logits"])


@pytest.mark.parametrize("name", ["bert", "llama"])
def test_any_length(name: str) -> None:
    run = Session(NETS[name](size=Size(depth=1)))
    for length in (1, LONGEST):
        assert np.isfinite(run(feeds(name, length=length))["logits"]).all()
