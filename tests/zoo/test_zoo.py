"""Networks from many exporters against gradients that the programs they come from computed.

`tools/peers/zoo_golden.py` wrote the files; nothing of theirs comes from this package.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

import onnxlrp

FOLDER = Path(__file__).parent / "stored"
NAMES = sorted(path.stem for path in FOLDER.glob("*.onnx"))

SLOPE = 1e-5
"""Of max|gradient|: float32 forward and backward against float64; the worst is 3e-6."""

CLOSES = 1e-4
"""Of the largest sum |R| of a value: float32 sums."""

PREDICTION = {"float32": 1e-5, "float64": 1e-12, "float16": 1e-2}
"""Of max|y|: other machines have other kernels."""

LIFTED = 1e-6
"""Of max|y|, where AveragePool stands below opset 19: lifted, it rounds otherwise."""

INTEGERS = {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


def path_of(name):
    return FOLDER / f"{name}.onnx"


def stored(name, group):
    """Arrays of one group: `in`, `out`, `golden`, by name."""
    with np.load(path_of(name).with_suffix(".npz")) as held:
        keys = [key for key in held.files if key.startswith(f"{group}/")]
        return {key.removeprefix(f"{group}/"): held[key] for key in keys}


def seed_of(name):
    with np.load(path_of(name).with_suffix(".npz")) as held:
        return held["seed"]


def run(data, feeds):
    """Every output by name, without the runtime's optimisations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))


def is_quantised(name):
    graph = onnx.load(path_of(name)).graph
    dynamic = any(node.op_type == "DynamicQuantizeLinear" for node in graph.node)
    kinds = {tensor.data_type for tensor in graph.initializer}
    return dynamic or bool(kinds & INTEGERS)


def is_lifted(name):
    model = onnx.load(path_of(name))
    opset = next(stamp.version for stamp in model.opset_import if not stamp.domain)
    return opset < 19 and any(node.op_type == "AveragePool" for node in model.graph.node)


SLOPED = [name for name in NAMES if stored(name, "golden")]


def test_there_are_files_and_most_have_a_gradient():
    assert len(NAMES) >= 40
    assert len(SLOPED) >= 35
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 1.5 * 2**20
    assert all(path.stat().st_size <= 70 * 2**10 for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_every_node_is_covered(name):
    report = onnxlrp.inspect(path_of(name))
    assert report.coverage == 1
    assert not report.unsupported


@pytest.mark.parametrize("name", SLOPED)
def test_gradient_is_that_of_the_source(name):
    golden = stored(name, "golden")
    inputs = stored(name, "in")
    probes = [value for value in golden if value not in inputs]
    graph = onnxlrp.compile(
        path_of(name), composite="gradient", target="seed", keep_softmax=True, probes=probes
    )
    found = run(graph.to_bytes(), inputs | {"seed": seed_of(name)})
    for value, wanted in golden.items():
        slope = found[f"relevance/{value}"]
        assert slope.shape == wanted.shape
        assert wanted.any()
        np.testing.assert_allclose(slope, wanted, rtol=0, atol=SLOPE * np.abs(wanted).max())


@pytest.mark.parametrize("name", NAMES)
def test_prediction_stays_and_the_ledger_closes(name):
    inputs = stored(name, "in")
    graph = onnxlrp.compile(path_of(name), ledger=True, probes=["*"])
    found = run(graph.to_bytes(), inputs)
    plain = run(path_of(name).read_bytes(), inputs)
    for key, wanted in stored(name, "out").items():
        lifted = LIFTED * np.abs(wanted).max() if is_lifted(name) else 0
        np.testing.assert_allclose(found[key], plain[key], rtol=0, atol=lifted, err_msg=key)
        if not is_quantised(name) and wanted.dtype.kind == "f":
            far = PREDICTION[wanted.dtype.name] * np.abs(wanted).max()
            np.testing.assert_allclose(found[key], wanted, rtol=0, atol=far, err_msg=key)
    relevance = {key: array for key, array in found.items() if key.startswith("relevance/")}
    assert all(np.isfinite(array).all() for array in relevance.values())
    assert any(found[f"relevance/{value}"].any() for value in graph.metadata.inputs)
    size = max(np.abs(array.astype(float)).sum() for array in relevance.values())
    assert np.abs(found["ledger"][..., 7]).sum(0).max() <= CLOSES * size
