import re
import subprocess
import sys

import numpy as np
import onnx
import pytest

from onnxlrp.errors import InputError, ModelError
from onnxlrp.runtime import Explainer
from tests.runtime import graphs

W = np.array([[1, 2], [3, 4], [5, -6]], np.float32)
RNG = np.random.default_rng(0)
X = RNG.normal(size=(7, 3)).astype(np.float32)


def relevance(x, target):
    return x * W.T[target]


@pytest.mark.parametrize("text", [graphs.ARGMAX, graphs.SINGLES, graphs.ANONYMOUS])
@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_any_batch_equals_singles(text, batch_size):
    explain = Explainer(graphs.explanation(text))
    result = explain({"x": X}, batch_size=batch_size)
    best = (X @ W).argmax(1)
    np.testing.assert_allclose(result.outputs["y"], X @ W, rtol=1e-6)
    np.testing.assert_allclose(result.relevance["x"], relevance(X, best), rtol=1e-6)
    np.testing.assert_array_equal(result.target, best)
    assert list(result.outputs) == ["y"]
    assert result.ledger is None
    assert result.heatmap == {}
    singles = [explain({"x": row[None]}).relevance["x"] for row in X]
    np.testing.assert_array_equal(np.concatenate(singles), result.relevance["x"])


def test_model_may_be_path_bytes_proto_or_graph(tmp_path):
    model = graphs.explanation(graphs.ARGMAX)
    path = tmp_path / "model.lrp.onnx"
    onnx.save(model, path)

    class Graph:
        def to_bytes(self):
            return model.SerializeToString()

    for form in (path, str(path), model.SerializeToString(), model, Graph()):
        assert Explainer(form)({"x": X}).relevance["x"].shape == (7, 3)


@pytest.mark.parametrize(
    ("target", "shape"),
    [
        (1, (7, 3)),
        (-1, (7, 3)),
        ([0, 1, 0, 1, 0, 1, -2], (7, 3)),
        (np.zeros((7, 1), np.int32), (7, 1, 3)),
        (np.arange(21).reshape(7, 3) % 2, (7, 3, 3)),
    ],
)
@pytest.mark.parametrize("batch_size", [2, 32])
def test_targets_per_sample(target, shape, batch_size):
    explain = Explainer(graphs.explanation(graphs.TARGET, target="input"))
    result = explain({"x": X}, target=target, batch_size=batch_size)
    assert result.relevance["x"].shape == shape
    used = np.broadcast_to(np.asarray(target) % 2, shape[:-1])
    np.testing.assert_array_equal(result.target, used)
    want = X.reshape(7, *[1] * (len(shape) - 2), 3) * W.T[used]
    np.testing.assert_allclose(result.relevance["x"], want, rtol=1e-6)
    assert result.outputs["y"].shape == (7, 2)


@pytest.mark.parametrize("target", [1, [0] * 7, np.arange(14).reshape(7, 2) % 2])
def test_graph_that_takes_several_targets_itself(target):
    explain = Explainer(graphs.explanation(graphs.TARGETS, target="input"))
    result = explain({"x": X}, target=target, batch_size=3)
    used = np.asarray(target)
    used = used if used.ndim == 2 else np.broadcast_to(used, (7,))[:, None]
    np.testing.assert_array_equal(result.target, used)
    np.testing.assert_allclose(result.relevance["x"], X[:, None] * W.T[used], rtol=1e-6)


def test_index_tuples():
    explain = Explainer(graphs.explanation(graphs.TUPLES, target="input"))
    x = np.ones((4, 2, 3), np.float32)
    assert explain({"x": x}, target=(1, -1)).target.tolist() == [[1, 2]] * 4
    several = explain({"x": x}, target=np.zeros((4, 5, 2), int))
    assert several.relevance["x"].shape == (4, 5, 2, 3)
    assert several.target.shape == (4, 5, 2)


def test_axes_of_size_one_take_no_index():
    text = graphs.TARGET.replace("float[N,2] y", "float[N,2,1] y").replace(
        "y = MatMul(x, w)",
        "z = MatMul(x, w)\n  two = Constant<value = int64[1] {2}>()\n  y = Unsqueeze(z, two)",
    )
    explain = Explainer(graphs.explanation(text, target="input"))
    result = explain({"x": X}, target=-1)
    assert result.target.tolist() == [1] * 7
    np.testing.assert_allclose(result.relevance["x"], relevance(X, [1] * 7), rtol=1e-6)


def test_number_of_targets_fixed_by_the_graph():
    text = graphs.TARGETS.replace("int64[N,T] target", "int64[N,2] target")
    explain = Explainer(
        graphs.explanation(text.replace("float[N,T,3]", "float[N,2,3]"), target="input")
    )
    assert explain({"x": X}, target=np.zeros((7, 2), int)).relevance["x"].shape == (7, 2, 3)
    with pytest.raises(InputError, match="takes 2 targets per sample, got 1"):
        explain({"x": X}, target=0)


def test_fixed_target_is_known():
    explain = Explainer(graphs.explanation(graphs.ARGMAX, target="-1"))
    assert explain({"x": X}).target.tolist() == [1] * 7
    explain = Explainer(graphs.explanation(graphs.ARGMAX, target="contrast:0:1"))
    assert explain({"x": X}).target is None


def test_seed_and_masks():
    explain = Explainer(graphs.explanation(graphs.SEEDED, target="seed"))
    seed = RNG.normal(size=(7, 2)).astype(np.float32)
    want = X * (seed @ W.T)
    np.testing.assert_allclose(explain({"x": X}, seed=seed).relevance["x"], want, rtol=1e-5)
    one = explain({"x": X}, seed=[1.0, 0.0]).relevance["x"]
    np.testing.assert_allclose(one, X * W[:, 0], rtol=1e-6)
    masked = explain({"x": X}, seed=seed, masks={"h": [1, 0, 1]}).relevance["x"]
    np.testing.assert_allclose(masked, want * [1, 0, 1], rtol=1e-5)
    per_sample = (np.arange(21).reshape(7, 3) % 2).astype(np.float32)
    masked = explain({"x": X}, seed=seed, masks={"mask/h": per_sample}).relevance["x"]
    np.testing.assert_allclose(masked, want * per_sample, rtol=1e-5)


def test_one_axis_more_than_a_model_without_batch_axis():
    explain = Explainer(graphs.explanation(graphs.SINGLE_PICTURE))
    x = RNG.normal(size=(5, 2, 3, 4)).astype(np.float32)
    result = explain({"x": x})
    assert result.outputs["y"].shape == (5, 2)
    assert result.heatmap["x"].shape == (5, 3, 4)
    np.testing.assert_array_equal(result.target, result.outputs["y"].argmax(1))
    np.testing.assert_array_equal(result.relevance["x"], x * x)
    assert explain({"x": x[:1]}).relevance["x"].shape == (1, 2, 3, 4)
    assert explain({"x": x[0]}).relevance["x"].shape == (2, 3, 4)


@pytest.mark.parametrize("batch_size", [2, 32])
def test_states_and_scalars(batch_size):
    explain = Explainer(graphs.explanation(graphs.STATEFUL))
    state = RNG.normal(size=(2, 7, 3)).astype(np.float32)
    result = explain({"x": X, "state": state, "scale": 2.0}, batch_size=batch_size)
    np.testing.assert_allclose(result.outputs["y"], (X + state[0]) * 2, rtol=1e-6)
    np.testing.assert_allclose(result.outputs["stateN"], state + X, rtol=1e-6)
    repeated = explain({"x": X, "state": state[:, :1], "scale": 1.0}, batch_size=batch_size)
    np.testing.assert_allclose(repeated.outputs["y"], X + state[0, :1], rtol=1e-6)


def test_output_without_batch_axis_is_stacked():
    explain = Explainer(graphs.explanation(graphs.TOTAL))
    result = explain({"x": X})
    np.testing.assert_allclose(result.outputs["total"], X.sum(1), rtol=1e-5)
    assert result.outputs["y"].shape == (7, 3)


def test_maps_and_ledger():
    explain = Explainer(graphs.explanation(graphs.IMAGES, ledger=("a", "b", "c")))
    result = explain({"x": np.ones((5, 1, 2, 2))}, batch_size=2)
    assert result.heatmap["x"].shape == (5, 2, 2)
    assert result.image["x"].dtype == np.uint8
    assert result.ledger.shape == (5, 3, 8)
    assert result.target.shape == (5, 2)


def test_progress_assignment_and_providers():
    explain = Explainer(graphs.explanation(graphs.ARGMAX), providers=["CPUExecutionProvider"])
    steps = []
    explain({"x": X}, batch_size=3, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(3, 7), (6, 7), (7, 7)]
    assert explain.providers == ("CPUExecutionProvider",)
    assert set(explain.assignment().values()) == {"CPUExecutionProvider"}


BAD_CALLS = [
    (graphs.ARGMAX, {"x": X[:, :2]}, {}, r"'x' expects float \[N, 3\], got shape \[7, 2\]"),
    (graphs.ARGMAX, {"x": X[0]}, {}, r"got shape \[3\]; add the batch axis"),
    (graphs.ARGMAX, {"x": X[:0]}, {}, "has no samples"),
    (graphs.ARGMAX, {}, {}, r"'x' is missing: it expects float \[N, 3\]"),
    (graphs.ARGMAX, X, {}, "expects a dict of arrays by input name"),
    (graphs.ARGMAX, {"x": X, "z": X}, {}, "no input 'z'; its inputs: 'x'"),
    (graphs.ARGMAX, {"x": [[1, 2, 3], [1, 2]]}, {}, "rows of unequal length"),
    (graphs.ARGMAX, {"x": X * 1j}, {}, "got complex64"),
    (graphs.ARGMAX, {"x": [["a", "b", "c"]]}, {}, "got <U1"),
    (graphs.ARGMAX, {"x": np.full((1, 3), 1e300)}, {}, "do not all fit float"),
    (graphs.ARGMAX, {"x": np.full((1, 3), 2**24 + 1)}, {}, "do not all fit float"),
    (graphs.ARGMAX, {"x": X}, {"batch_size": 0}, "at least 1, got 0"),
    (graphs.ARGMAX, {"x": X}, {"target": 1}, "compile it with target='input'"),
    (graphs.ARGMAX, {"x": X}, {"seed": [1, 0]}, "compile it with target='seed'"),
    (graphs.ARGMAX, {"x": X}, {"masks": {"h": [1]}}, "no 'mask/h'; its masks: none"),
    (graphs.TARGET, {"x": X}, {}, "takes a target per sample: pass target="),
    (graphs.TARGET, {"x": X}, {"target": 2}, "target 2 is out of range for output 'y'"),
    (graphs.TARGET, {"x": X}, {"target": [-3] * 7}, "target -3 is out of range"),
    (graphs.TARGET, {"x": X}, {"target": 0.5}, r"expects indices \(integers\), got float64"),
    (graphs.TARGET, {"x": X}, {"target": [0, 1]}, r"\[N\] or \[N, T\] with N = 7"),
    (graphs.TARGET, {"x": X}, {"target": [[0], [0, 1]]}, "same number of targets"),
    (graphs.SEEDED, {"x": X}, {}, "input 'seed' is missing"),
    (graphs.SEEDED, {"x": X}, {"seed": X}, "expects float .* for one or all of 7 samples"),
]


@pytest.mark.parametrize(("text", "inputs", "options", "message"), BAD_CALLS)
def test_bad_calls_are_one_line_errors(text, inputs, options, message):
    target = {graphs.TARGET: "input", graphs.SEEDED: "seed"}.get(text, "argmax")
    explain = Explainer(graphs.explanation(text, target=target))
    with pytest.raises(InputError, match=message) as caught:
        explain(inputs, **options)
    assert "\n" not in str(caught.value)


def test_inputs_must_agree():
    explain = Explainer(graphs.explanation(graphs.STATEFUL))
    with pytest.raises(InputError, match="number of samples: 'x' has 7, 'state' has 3"):
        explain({"x": X, "state": np.zeros((2, 3, 3)), "scale": 1.0})


def test_target_out_of_range_of_a_dynamic_output():
    text = graphs.TARGET.replace("float[N,2] y", "float[N,K] y")
    explain = Explainer(graphs.explanation(text, target="input"))
    assert explain({"x": X}, target=-1).target.tolist() == [1] * 7
    with pytest.raises(InputError, match="target 5 is out of range"):
        explain({"x": X}, target=5)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (b"", ModelError, "cannot load the model"),
        (b"junk", ModelError, "cannot load the model"),
        ("/nowhere/model.onnx", ModelError, "'/nowhere/model.onnx'"),
        (3, InputError, "not int"),
    ],
)
def test_unusable_models(model, error, message):
    with pytest.raises(error, match=message) as caught:
        Explainer(model)
    assert "\n" not in str(caught.value)


def test_plain_model_is_no_explanation_graph():
    model = graphs.explanation(graphs.ARGMAX)
    del model.metadata_props[:]
    with pytest.raises(ModelError, match="not an explanation graph"):
        Explainer(model)


def test_metadata_that_names_other_values():
    with pytest.raises(ModelError, match="compile anew"):
        Explainer(graphs.explanation(graphs.ARGMAX, output="z"))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("sys.modules['onnxruntime'] = None", r"pip install onnxlrp\[cpu\].*onnxlrp\[gpu\]"),
        ("import types; sys.modules['onnxruntime'] = types.ModuleType('o')", "damaged"),
    ],
)
def test_missing_runtime_is_one_clear_error(body, expected):
    code = (
        f"import sys; {body}\n"
        "from onnxlrp.errors import RuntimeMissing\n"
        "from onnxlrp.runtime import Explainer\n"
        "try: Explainer(b'')\n"
        "except RuntimeMissing as e: print(e)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert re.search(expected, said.stdout)
    assert said.stdout.count("\n") == 1


def test_deployment_side_imports_neither_onnx_nor_networkx_nor_the_runtime():
    code = (
        "import sys, onnxlrp.runtime, onnxlrp.render, onnxlrp.data\n"
        "bad = {'onnx', 'networkx', 'onnxruntime'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
