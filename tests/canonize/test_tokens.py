"""Token ids behind the indices of a table."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, numpy_helper

import onnxlrp
from tests.canonize.sites import reasons, text, view_of
from tests.engine import Session

ROWS, CLASSES = 7, 3
RNG = np.random.default_rng(0)
TABLE = RNG.standard_normal((ROWS, 4)).astype(np.float32)
HEAD = RNG.standard_normal((4, CLASSES)).astype(np.float32)
IDS = np.array([[1, 0, 6], [3, 5, 2]])

CONSTANTS = {
    "table": TABLE,
    "zero": np.array(0),
    "zero32": np.array(0, np.int32),
    "rows": np.array(ROWS),
    "rows32": np.array(ROWS, np.int32),
    "flat": np.array([-1]),
    "back": np.array([-1, 3]),
    "begin": np.array([0]),
    "one": np.array(1),
    "first": np.array([1]),
    "values": np.float32([0, 1]),
    "depth": np.array(ROWS),
}

WRAP = "n = Less(ids, zero) f = Cast<to = 7>(n) m = Mul(f, rows) w = Add(ids, m)"
KERAS = (
    "i = Cast<to = 6>(ids) n = Less(i, zero32) f = Cast<to = 6>(n) m = Mul(f, rows32) w = Add(i, m)"
)
MATCHES = {
    "keras": (f"{WRAP} e = Gather(table, w)", "w = Cast(ids) [Add]", "int64"),
    "keras of numbers": (f"{KERAS} e = Gather(table, w)", "w = Cast(ids) [Add]", "float"),
    "where": (
        "n = Less(ids, zero) p = Add(ids, rows) w = Where(n, p, ids) e = Gather(table, w)",
        "w = Cast(ids) [Where]",
        "int64",
    ),
    "cast": ("w = Cast<to = 7>(ids) e = Gather(table, w)", "w = Cast(ids) [Cast]", "float"),
    "rounded": (
        "r = Round(ids) w = Cast<to = 7>(r) e = Gather(table, w)",
        "w = Cast(ids) [Cast]",
        "float",
    ),
    "cast, then reshaped": (
        (
            "w = Cast<to = 7>(ids) s = Reshape(w, flat) g = Gather(table, s)"
            " b = Constant<value_ints = [-1, 3, 4]>() e = Reshape(g, b)"
        ),
        "w = Cast(ids) [Cast]",
        "float",
    ),
    "reshaped, then cast": (
        (
            "s = Reshape(ids, flat) w = Cast<to = 7>(s) g = Gather(table, w)"
            " b = Constant<value_ints = [-1, 3, 4]>() e = Reshape(g, b)"
        ),
        "w = Cast(s) [Cast]",
        "float",
    ),
    "one hot": (
        "w = Cast<to = 7>(ids) h = OneHot(w, depth, values) e = MatMul(h, table)",
        "w = Cast(ids) [Cast]",
        "float",
    ),
    "one hot, wrapped": (
        f"{WRAP} h = OneHot(w, depth, values) e = MatMul(h, table)",
        "w = Cast(ids) [Add]",
        "int64",
    ),
}


def lookup(body: str, kind: str = "int64", shape: str = "N,3") -> ModelProto:
    """Token ids -> rows -> their mean -> logits."""
    words = {word.strip(",()<>") for word in body.replace("(", " ").split()}
    used = {name: array for name, array in CONSTANTS.items() if name in words}
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21]> g ({kind}[{shape}] ids) =>'
        f" (float[N,{CLASSES}] y) {{ {body} a = ReduceMean<keepdims = 0>(e, first)"
        " y = MatMul(a, head) }"
    )
    for name, array in {**used, "first": CONSTANTS["first"], "head": HEAD}.items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def wanted(target: int = 1) -> np.ndarray:
    """Epsilon rule without epsilon: the share of each token in its logit."""
    return (TABLE[IDS] @ HEAD[:, target]) / IDS.shape[1]


@pytest.mark.parametrize("name", MATCHES)
def test_match(name: str) -> None:
    """Relevance per position is the token's share of the logit; the logit is unchanged."""
    body, line, kind = MATCHES[name]
    source = lookup(body, kind)
    assert line in text(view_of(source))
    made = onnxlrp.compile(source, composite="epsilon:epsilon=1e-9", target=1)
    assert made.metadata.inputs == ("ids",)
    x = IDS.astype(np.int64 if kind == "int64" else np.float32)
    outputs = Session(made.model)({"ids": x})
    np.testing.assert_array_equal(outputs["y"], Session(source)({"ids": x})["y"])
    found = outputs["relevance/ids"]
    assert found.shape == IDS.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", [name for name in MATCHES if "keras" in name or name == "where"])
def test_negative_ids_are_wrapped_as_deployed(name: str) -> None:
    body, _, kind = MATCHES[name]
    dtype = np.int64 if kind == "int64" else np.float32
    made = onnxlrp.compile(lookup(body, kind), composite="epsilon:epsilon=1e-9", target=1)
    run = Session(made.model)
    plain, wrapped = (run({"ids": ids.astype(dtype)}) for ids in (IDS, IDS - ROWS))
    np.testing.assert_array_equal(plain["y"], wrapped["y"])
    np.testing.assert_array_equal(plain["relevance/ids"], wrapped["relevance/ids"])


def test_every_cast_on_the_way() -> None:
    """A Cast of numbers, a Reshape, then the wrapping of Keras: two patterns in a row."""
    body = (
        "i = Cast<to = 7>(ids) s = Reshape(i, back) n = Less(s, zero) f = Cast<to = 7>(n)"
        " m = Mul(f, rows) w = Add(s, m) e = Gather(table, w)"
    )
    lines = text(view_of(lookup(body, "float")))
    assert {"i = Cast(ids) [Cast]", "w = Cast(s) [Add]"} <= set(lines)
    made = onnxlrp.compile(lookup(body, "float"), composite="epsilon:epsilon=1e-9", target=1)
    found = Session(made.model)({"ids": IDS.astype(np.float32)})["relevance/ids"]
    np.testing.assert_allclose(found, wanted(), rtol=1e-4, atol=1e-6)


POSITIONS = "l = Shape(ids) n = Gather(l, one) k = Cast<to = 7>(n) r = Range(zero, k, one)"
UNMATCHED = {
    "positions": (f"{POSITIONS} e0 = Gather(table, r)", None),
    "shifted positions": (
        f"{POSITIONS} p = Add(r, one) e0 = Gather(table, p)",
        "its indices are positions: they come from Range",
    ),
    "counted positions": (
        "c = CumSum(ids, one) p = Sub(c, one) q = Mod(p, rows) e0 = Gather(table, q)",
        "its indices are positions: they come from CumSum",
    ),
    "two values": (
        "s = Slice(ids, begin, first, first) t = Add(ids, s) q = Mod(t, rows) e0 = Gather(table,q)",
        "its indices are no function of one value, element by element",
    ),
}


@pytest.mark.parametrize("name", UNMATCHED)
def test_near_miss(name: str) -> None:
    body, reason = UNMATCHED[name]
    source = lookup(f"{body} t0 = Gather(table, ids) e = Add(t0, e0)")
    view = view_of(source)
    assert not any(site.integer("token_ids") for site in view)
    assert reason is None or reason in reasons(view)


def test_positions_take_nothing() -> None:
    """Rows of positions are constants: only the tokens have relevance."""
    body = f"{POSITIONS} p = Add(r, one) e0 = Gather(table, p) t0 = Gather(table, ids)"
    source = lookup(f"{body} e = Add(t0, e0)")
    made = onnxlrp.compile(source, composite="epsilon:epsilon=1e-9", target=1, ledger=True)
    outputs = Session(made.model)({"ids": IDS})
    np.testing.assert_allclose(outputs["relevance/ids"], wanted(), rtol=1e-4, atol=1e-6)
    table = outputs["ledger"]
    assert np.abs(table[:, :, 7]).max() <= 1e-5 * np.abs(table).max()


def test_a_cast_that_picks_no_rows_is_a_stop() -> None:
    source = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N,3] x) => (float[N,3] y)'
        " { i = Cast<to = 7>(x) y = Cast<to = 1>(i) }"
    )
    with pytest.raises(onnxlrp.Error, match="no float path"):
        onnxlrp.compile(source)


def test_the_type_of_the_indices_is_kept() -> None:
    body, *_ = MATCHES["keras of numbers"]
    sites = [site for site in view_of(lookup(body, "float")) if site.integer("token_ids")]
    assert [site.integer("to") for site in sites] == [TensorProto.INT32]
