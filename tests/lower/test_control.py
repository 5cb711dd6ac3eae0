"""If, Loop and Scan: derivatives, the ledger, one network in three exports, refusals."""

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import TensorProto, numpy_helper, parser

import onnxlrp
from models.recurrent import FORMS, Sizes, esn
from onnxlrp.composites.presets import PRESETS
from tests.engine import Session
from tests.lower.derive import check_gradient, check_ledger

AGREES = 1e-5
"""Of max|R|: the same sums in another order."""
POSITIONAL = {"deep-taylor", "epsilon-alpha2-beta1-flat", "epsilon-plus-flat"}
"""Presets that treat the first linear map in another way: such rows do not look into bodies."""


def drawn(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


W, U = drawn((3, 4), 1) / 2, drawn((4, 4), 2) / 2
NUMBERS = {
    "w": W,
    "u": U,
    "six": np.array(6, np.int64),
    "three": np.array(3, np.int64),
    "many": np.array(50, np.int64),
    "zero": np.array(0, np.int64),
    "one": np.array(1, np.int64),
    "yes": np.array(True),
    "half": np.float32(0.5),
    "limit": np.float32(20),
    "none": np.float32(0),
}

LOOPS = {
    "counter": """
        h_n, w_n, y = Loop <body = b (int64 i, bool c, float[2,4] h, float[3,4] wk) =>
            (bool co, float[2,4] hn, float[3,4] wo, float[2,4] ho)
            { co = Identity(c) wo = Identity(wk) xt = Gather<axis = 0>(x, i) a = MatMul(xt, wk)
              e = MatMul(h, u) d = Add(a, e) hn = Tanh(d) ho = Identity(hn) }>(six, yes, h0, w)""",
    "counter is carried": """
        i_n, y = Loop <body = b (int64 n, bool c, int64 i, float[2,4] h) =>
            (bool co, int64 io, float[2,4] hn)
            { co = Identity(c) io = Add(i, one) xt = Gather<axis = 0>(x, i) a = MatMul(xt, w)
              e = MatMul(h, u) d = Add(a, e) hn = Tanh(d) }>(six, yes, zero, h0)""",
    "counter is used twice": """
        y = Loop <body = b (int64 i, bool c, float[2,4] h) => (bool co, float[2,4] hn)
            { co = Identity(c) xt = Gather<axis = 0>(x, i) a = MatMul(xt, w) f = Cast<to = 1>(i)
              s = Mul(f, half) p = Sin(s) q = Mul(p, h) d = Add(a, q) hn = Tanh(d)
            }>(six, yes, h0)""",
    "fewer turns than entries": """
        t = Slice(x, zeros, four, zeros)
        y = Loop <body = b (int64 i, bool c, float[2,4] h) => (bool co, float[2,4] hn)
            { co = Identity(c) xt = Gather<axis = 0>(x, i) a = MatMul(xt, w) e = MatMul(h, u)
              d = Add(a, e) hn = Tanh(d) }>(five, yes, h0)""",
    "short, unrolled": """
        h_n, y = Loop <body = b (int64 i, bool c, float[2,4] h) =>
            (bool co, float[2,4] hn, float[2,4] ho)
            { co = Identity(c) xt = Gather<axis = 0>(x, i) a = MatMul(xt, w) e = MatMul(h, u)
              d = Add(a, e) hn = Tanh(d) ho = Identity(hn) }>(three, yes, h0)""",
    "ends on its data": """
        m = ReduceMean<keepdims = 0>(x, zeros)
        y = Loop <body = b (int64 i, bool c, float[2,3] h) => (bool co, float[2,3] hn)
            { s = Sin(m) g = Add(h, half) q = Mul(g, g) hn = Add(q, s)
              n = ReduceL1<keepdims = 0>(hn) co = Less(n, limit) }>(many, yes, m)""",
    "ends on its data, reads by counter": """
        h_n, y = Loop <body = b (int64 i, bool c, float[2,4] h) =>
            (bool co, float[2,4] hn, float[2,4] ho)
            { xt = Gather<axis = 0>(x, i) a = MatMul(xt, w) e = Sin(h) d = Add(a, e) hn = Add(h, d)
              n = ReduceL1<keepdims = 0>(hn) near = Less(n, limit) early = Less(i, three)
              co = And(near, early) ho = Identity(hn) }>(many, yes, h0)""",
    "ends by counters": """
        go = Less(none, limit)
        i_n, j_n, h_n, y = Loop <body = b (int64 n, bool c, int64 i, int64 j, float[2,4] h) =>
            (bool co, int64 io, int64 jo, float[2,4] hn, float[2,4] ho)
            { io = Add(i, one) jo = Add(one, j) f = Cast<to = 1>(io) k = Less(f, six_)
              l = Less(jo, many)
              co = And(k, l) xt = Gather<axis = 0>(x, j) a = MatMul(xt, w) e = MatMul(h, u)
              d = Add(a, e) hn = Tanh(d) ho = Identity(hn) }>(many, go, zero, zero, h0)""",
    "ends soon by counters": """
        y = Loop <body = b (int64 i, bool c, float[2,4] h) => (bool co, float[2,4] hn)
            { co = Less(i, one) xt = Gather<axis = 0>(x, i) a = MatMul(xt, w) e = MatMul(h, u)
              d = Add(a, e) hn = Tanh(d) }>(, yes, h0)""",
    "nested": """
        y = Loop <body = b (int64 i, bool c, float[2,4] h) => (bool co, float[2,4] hn)
            { co = Identity(c) xt = Gather<axis = 0>(x, i) a = MatMul(xt, w)
              g = Loop <body = bb (int64 j, bool cc, float[2,4] k) => (bool cco, float[2,4] kn)
                  { cco = Identity(cc) p = Mul(k, a) xj = Gather<axis = 0>(x, j) aj = MatMul(xj, w)
                    q = Add(p, aj) kn = Tanh(q) }>(five, yes, h)
              d = Add(a, g) hn = Tanh(d) }>(six, yes, h0)""",
    "if in loop": """
        y = Loop <body = b (int64 i, bool c, float[2,4] h) => (bool co, float[2,4] hn)
            { co = Identity(c) xt = Gather<axis = 0>(x, i) a = MatMul(xt, w)
              s = ReduceSum<keepdims = 0>(a) big = Greater(s, none)
              g = If (big) <then_branch = tb () => (float[2,4] t) { t = Mul(h, a) },
                            else_branch = eb () => (float[2,4] e) { e0 = Sin(a) e = Add(e0, h) }>
              hn = Tanh(g) }>(six, yes, h0)""",
    "loop in if": """
        s = ReduceSum<keepdims = 0>(x) big = Greater(s, limit)
        y = If (big) <then_branch = tb () => (float[2,4] t) { t = Sin(h0) }, else_branch = eb () =>
          (float[2,4] e)
          { e = Loop <body = b (int64 i, bool c, float[2,4] h) => (bool co, float[2,4] hn)
            { co = Identity(c) xt = Gather<axis = 0>(x, i) a = MatMul(xt, w) d = Add(a, h)
              hn = Tanh(d) }>(six, yes, h0) }>""",
    "grows, unrolled": """
        h_n = Loop <body = b (int64 i, bool c, float[k,l] h) => (bool co, float[m,l] hn)
            { co = Identity(c) xt = Gather<axis = 0>(x, i) a = MatMul(xt, w) s = Sin(a)
              hn = Concat<axis = 0>(h, s) }>(six, yes, h0)
        y = Tanh(h_n)""",
    "constant condition": """
        y = If (yes) <then_branch = tb () => (float[2,4] t) { a = Gather<axis = 0>(x, one)
            b = MatMul(a, w) t = Mul(b, h0) }, else_branch = eb () => (float[2,4] e)
            { e = Sin(h0) }>""",
    "two levels up": """
        z = Sin(h0)
        y = Loop <body = b (int64 i, bool c, float[2,4] h) => (bool co, float[2,4] hn)
            { co = Identity(c) v = Mul(h, half)
              g = Loop <body = bb (int64 j, bool cc, float[2,4] k) => (bool cco, float[2,4] kn)
                  { cco = Identity(cc) big = Greater(j, one)
                    p = If (big) <then_branch = tb () => (float[2,4] t) { t = Mul(z, v) },
                                  else_branch = eb () => (float[2,4] e) { e = Add(z, k) }>
                    kn = Tanh(p) }>(five, yes, h)
              xt = Gather<axis = 0>(x, i) a = MatMul(xt, w) hn = Add(g, a) }>(six, yes, h0)""",
    "scan": """
        h_n, y = Scan <num_scan_inputs = 1, body = b (float[2,4] h, float[2,3] xt) =>
            (float[2,4] hn, float[2,4] ho)
            { a = MatMul(xt, w) e = MatMul(h, u) d = Add(a, e) hn = Tanh(d) ho = Identity(hn)
            }>(h0, x)""",
    "scan with axes": """
        s = Sin(x) t = Transpose<perm = [1, 2, 0]>(s)
        h_n, y0, y = Scan <num_scan_inputs = 2, scan_input_axes = [0, -1],
            scan_input_directions = [0, 1], scan_output_axes = [-1, 1],
            scan_output_directions = [1, 0],
            body = b (float[2,4] h, float[2,3] xt, float[2,3] xr) =>
            (float[2,4] hn, float[2,4] ho, float[2,4] hq)
            { v = Mul(xt, xr) a = MatMul(v, w) e = MatMul(h, u) d = Add(a, e) hn = Tanh(d)
              ho = Identity(hn) hq = Sin(d) }>(h0, x, t)
        """,
}
MORE = {
    "zeros": np.array([0], np.int64),
    "four": np.array([4], np.int64),
    "five": np.array(5, np.int64),
    "six_": np.float32(6),
}


def model_of(body: str, dtype: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """Nodes that read x `[6, 2, 3]` and h0 `[2, 4]` and give y."""
    text = body if dtype == TensorProto.FLOAT else body.replace("float[", "float16[")
    kind = "float" if dtype == TensorProto.FLOAT else "float16"
    if dtype == TensorProto.DOUBLE:
        text, kind = body.replace("float[", "double["), "double"
    stacked = f"{kind}[{'A,B,C' if 'ho = ' in body else 'A,B'}]"
    head = f"({kind}[6,2,3] x, {kind}[2,4] h0) => ({stacked} y)"
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g {head} {{ {text} }}')
    for name, array in (NUMBERS | MORE).items():
        array = np.asarray(array)
        if array.dtype == np.float32:
            array = array.astype(onnx.helper.tensor_dtype_to_np_dtype(dtype))
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    return model


FEEDS = {"x": drawn((6, 2, 3)), "h0": drawn((2, 4), 5)}


@pytest.mark.parametrize("name", LOOPS)
def test_gradient_is_that_of_finite_differences(name: str) -> None:
    check_gradient(model_of(LOOPS[name]), FEEDS)


@pytest.mark.parametrize("composite", ["epsilon", "gradient-x-input"])
@pytest.mark.parametrize("name", LOOPS)
def test_ledger_closes(name: str, composite: str) -> None:
    if composite == "epsilon":
        check_ledger(model_of(LOOPS[name]), FEEDS, composite)
        return
    model = model_of(LOOPS[name])
    found = [
        Session(onnxlrp.compile(model, composite=each, target="argmax", start="one").model)(FEEDS)
        for each in (composite, "gradient")
    ]
    for key in set(found[0]) & {"relevance/x", "relevance/h0"}:
        want = found[1][key] * FEEDS[key.removeprefix("relevance/")]
        np.testing.assert_allclose(found[0][key], want, rtol=1e-6, atol=1e-7)


SEEN = {
    "counter": "Scan",
    "counter is carried": "Scan",
    "counter is used twice": "Scan",
    "fewer turns than entries": "Scan",
    "ends on its data": "Loop",
    "ends by counters": "Scan",
    "ends on its data, reads by counter": "Loop",
    "nested": "Scan",
}


@pytest.mark.parametrize("name", SEEN)
def test_a_loop_over_a_sequence_is_seen_as_a_scan(name: str) -> None:
    report = onnxlrp.inspect(model_of(LOOPS[name]))
    assert SEEN[name] in {row.op for row in report.rows}


def explained(model: onnx.ModelProto, feeds: Mapping[str, np.ndarray], **options) -> dict:
    return Session(onnxlrp.compile(model, **options).model)(feeds)


@pytest.mark.parametrize("form", FORMS)
def test_ledger_of_a_network(form: str) -> None:
    for size in (Sizes(batch=0, steps=5), Sizes(steps=5)):
        check_ledger(esn(form, size=size), {"x": drawn((2, 5, 3), 3)}, "epsilon")


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("preset", sorted({preset.name for preset in PRESETS} - POSITIONAL))
def test_three_exports_of_one_network_give_one_map(preset: str, batch: int) -> None:
    x = drawn((batch, 5, 3), 3)
    maps, refused = [], []
    for form in FORMS:
        try:
            found = explained(esn(form, size=Sizes(steps=5, batch=0)), {"x": x}, composite=preset)
        except onnxlrp.Error as error:
            refused.append(f"{form}: {error}")
            continue
        maps.append(found["relevance/x"])
    assert not refused or not maps, refused
    for other in maps[1:]:
        bound = AGREES * np.abs(maps[0]).max()
        np.testing.assert_allclose(other, maps[0], rtol=0, atol=bound)


@pytest.mark.parametrize("form", FORMS)
def test_a_batch_gives_the_maps_of_its_samples(form: str) -> None:
    model, x = esn(form, size=Sizes(steps=5, batch=0)), drawn((3, 5, 3), 4)
    graph = Session(onnxlrp.compile(model, composite="epsilon").model)
    many = graph({"x": x})["relevance/x"]
    single = np.concatenate([graph({"x": x[i : i + 1]})["relevance/x"] for i in range(3)])
    np.testing.assert_allclose(many, single, rtol=0, atol=1e-6 * np.abs(single).max())


@pytest.mark.parametrize("composite", ["epsilon", "gradient"])
@pytest.mark.parametrize("form", ["unrolled", "scan"])
def test_several_targets_equal_single_ones(form: str, composite: str) -> None:
    model, x = esn(form, size=Sizes(steps=5, batch=0)), drawn((3, 5, 3), 4)
    targets = np.array([[0, 1], [1, 0], [1, 1]])
    both = explained(model, {"x": x, "target": targets}, composite=composite, target="input:2")
    for index in range(2):
        one = {"x": x, "target": targets[:, index]}
        want = explained(model, one, composite=composite, target="input")["relevance/x"]
        got = both["relevance/x"][:, index]
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-6 * np.abs(want).max())


def test_several_targets_need_the_batch_on_axis_0() -> None:
    for model in (model_of(LOOPS["scan"]), esn("loop", size=Sizes(batch=0))):
        with pytest.raises(onnxlrp.RuleError, match=r"several targets .* batch on axis 0"):
            onnxlrp.compile(model, composite="epsilon", target="input:2")


@pytest.mark.parametrize("count", [0, 1, 2, 6])
@pytest.mark.parametrize("kind", ["counter", "plain"])
def test_the_number_of_turns_may_be_an_input(kind: str, count: int) -> None:
    """Also 0: the states pass, and what is read in the turns gets nothing."""
    read = "xt = Gather<axis = 0>(x, i)" if kind == "counter" else "xt = ReduceMean(x, zeros)"
    body = f"""
        n_turns = Identity(turns)
        y = Loop <body = b (int64 i, bool c, float[2,4] h) => (bool co, float[2,4] hn)
            {{ co = Identity(c) {read} a = MatMul(xt, w) e = MatMul(h, u) d = Add(a, e)
              hn = Tanh(d) }}>(n_turns, yes, h0)"""
    if kind == "plain":
        body = body.replace("ReduceMean(x", "ReduceMean<keepdims = 0>(x")
    text = f"(float[6,2,3] x, float[2,4] h0, int64 turns) => (float[2,4] y) {{ {body} }}"
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g {text}')
    for name, array in (NUMBERS | MORE).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    feeds = {**FEEDS, "turns": np.array(count, np.int64)}
    found = check_gradient(model, feeds, inputs=["x", "h0"])
    check_ledger(model, feeds, "epsilon", inputs=["x", "h0"])
    if not count:
        assert not found["relevance/x"].any()


@pytest.mark.parametrize("count", [0, 3])
def test_turns_of_a_nested_loop_may_be_an_input(count: int) -> None:
    body = """
        y = Loop <body = b (int64 i, bool c, float[2,4] h) => (bool co, float[2,4] hn)
            { co = Identity(c) xt = Gather<axis = 0>(x, i) a = MatMul(xt, w)
              g = Loop <body = bb (int64 j, bool cc, float[2,4] k) => (bool cco, float[2,4] kn)
                  { cco = Identity(cc) xj = Gather<axis = 0>(x, j) aj = MatMul(xj, w)
                    p = Mul(k, a) q = Add(p, aj) kn = Tanh(q) }>(turns, yes, h)
              d = Add(a, g) hn = Tanh(d) }>(six, yes, h0)"""
    text = f"(float[6,2,3] x, float[2,4] h0, int64 turns) => (float[2,4] y) {{ {body} }}"
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g {text}')
    for name, array in (NUMBERS | MORE).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    feeds = {**FEEDS, "turns": np.array(count, np.int64)}
    check_gradient(model, feeds, inputs=["x", "h0"])
    check_ledger(model, feeds, "epsilon", inputs=["x", "h0"])


def test_a_state_that_grows_is_refused_by_name() -> None:
    body = LOOPS["grows, unrolled"].replace("(six, yes, h0)", "(turns, yes, h0)")
    text = f"(float[6,2,3] x, float[2,4] h0, int64 turns) => (float[k,4] y) {{ {body} }}"
    model = parser.parse_model(f'<ir_version: 10, opset_import: ["" : 21]> g {text}')
    for name, array in (NUMBERS | MORE).items():
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    with pytest.raises(
        onnxlrp.UnsupportedOp, match="carried value 'h0' changes its shape"
    ) as found:
        onnxlrp.compile(model, composite="epsilon")
    assert "\n" not in str(found.value)


def test_relevance_may_stop_inside_of_a_body() -> None:
    """W x is the first product of the body, U h the second."""
    model = model_of(LOOPS["counter"])
    names = [row.name for row in onnxlrp.inspect(model).rows if row.op == "MatMul"]
    whole = explained(model, FEEDS, composite="gradient", target="argmax")
    for name, key in zip(names, ("relevance/x", "relevance/h0"), strict=True):
        cut = explained(model, FEEDS, composite="gradient", target="argmax", stops=[name])
        assert not np.any(cut.get(key, 0))
        assert np.any(whole[key])
    with pytest.raises(onnxlrp.InputError, match="no node of that name"):
        onnxlrp.compile(model, stops=["Loop_0/body/nothing"])


def test_probes_and_masks_outside_of_bodies() -> None:
    body = "s = Sin(x)" + LOOPS["counter"].replace("(x, i)", "(s, i)")
    model = model_of(body.replace("y = Loop", "q = Loop") + " y = Tanh(q)")
    found = explained(model, FEEDS, composite="epsilon", probes=["s"], masks=["s"])
    np.testing.assert_allclose(found["relevance/s"], found["relevance/x"], rtol=1e-6)
    kept = np.array([[1, 0]], np.float32)
    masked = explained(
        model, {**FEEDS, "mask/s": kept}, composite="epsilon", probes=["s"], masks=["s"]
    )
    assert not masked["relevance/x"][:, 1].any()
    assert masked["relevance/x"][:, 0].any()


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE])
@pytest.mark.parametrize("name", ["counter", "scan", "scan with axes", "if in loop", "nested"])
def test_other_precisions_give_the_map_of_float32(name: str, dtype: int) -> None:
    wanted = explained(model_of(LOOPS[name]), FEEDS, composite="gradient", target="argmax")
    model = model_of(LOOPS[name], dtype)
    kind = onnx.helper.tensor_dtype_to_np_dtype(dtype)
    feeds = {key: value.astype(kind) for key, value in FEEDS.items()}
    before = Session(model)(feeds)
    found = explained(model, feeds, composite="gradient", target="argmax")
    for key, value in before.items():
        np.testing.assert_array_equal(found[key], value)
    bound = 2e-2 if dtype == TensorProto.FLOAT16 else 1e-5
    for key in ("relevance/x", "relevance/h0"):
        assert found[key].dtype == np.float32
        assert np.abs(found[key] - wanted[key]).max() <= bound * np.abs(wanted[key]).max()


def test_the_same_bytes_twice() -> None:
    for body in LOOPS.values():
        one, two = (onnxlrp.compile(model_of(body)).to_bytes() for _ in range(2))
        assert one == two
