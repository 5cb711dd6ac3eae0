"""Properties of explanation graphs on random graphs; one draw is checked for all of them."""

import os
import subprocess
import sys

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from onnxlrp import compile  # noqa: A004
from tests.properties.random_graphs import CHANNELS, CLASSES, SIZE, graphs

EXAMPLES = 300
CONSERVES = 1e-3
"""Of |f|, without bias, epsilon 1e-6 (measured elsewhere: median 1e-4, worst 3e-4)."""

SAME = 2e-5
"""Of max|R|: other batch sizes take other kernels, and small denominators multiply rounding."""

CLOSES = 1e-5
"""Of sum|in|."""

SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
COMPOSITES = st.sampled_from(
    ["epsilon", "auto", "epsilon-gamma-box", "epsilon-alpha2-beta1-flat", "otsuki", "gradient"]
)


def session(model, *, optimise=True):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def run(made, feeds):
    names = [item.name for item in made.get_outputs()]
    return dict(zip(names, made.run(None, feeds), strict=True))


def sample(seed, count=2):
    rng = np.random.default_rng(seed)
    return np.abs(rng.normal(0.5, 0.5, (count, CHANNELS, SIZE, SIZE))).astype(np.float32) + 0.1


@SETTINGS
@given(model=graphs(), seed=st.integers(0, 1000), target=st.integers(0, CLASSES - 1))
def test_conserves(model, seed, target):
    x = sample(seed, 1)
    outputs = run(session(compile(model, composite="epsilon", target=target).model), {"x": x})
    f = float(outputs["y"][0, target])
    assume(abs(f) > 1e-2)
    assert abs(float(outputs["relevance/x"].sum(dtype=np.float64)) - f) <= CONSERVES * abs(f)


@SETTINGS
@given(model=graphs(bias=True), seed=st.integers(0, 1000), composite=COMPOSITES)
def test_shapes_batch_domains_prediction_and_ledger(model, seed, composite):
    x = sample(seed)
    graph = compile(model, composite=composite, ledger=True, probes=["*"])
    assert len(model.graph.node) >= 12
    assert {node.domain for node in graph.model.graph.node} == {""}
    made = session(graph.model)
    both = run(made, {"x": x})
    r = both["relevance/x"]
    assert r.shape == x.shape
    assert np.isfinite(r).all()
    singles = [run(made, {"x": x[i : i + 1]})["relevance/x"] for i in range(len(x))]
    close(np.concatenate(singles), r)
    plain, bare = session(model, optimise=False), session(graph.model, optimise=False)
    assert np.array_equal(run(plain, {"x": x})["y"], run(bare, {"x": x})["y"])
    sizes = arrived(graph, both)
    assert (np.abs(both["ledger"][:, :, 7]) <= CLOSES * sizes).all()


def arrived(graph, outputs):
    """sum|in| per sample and node, `[N, nodes]`."""
    made_by = {node.name: node.output for node in graph.model.graph.node}
    columns = []
    for name in graph.metadata.ledger:
        parts = [outputs[f"relevance/{v}"] for v in made_by[name] if f"relevance/{v}" in outputs]
        columns.append(sum(np.abs(p).reshape(len(p), -1).sum(axis=1) for p in parts))
    return np.stack(columns, axis=1)


def close(found, expected):
    assert np.abs(found - expected).max() <= SAME * max(np.abs(expected).max(), 1e-12)


@SETTINGS
@given(model=graphs(bias=True), seed=st.integers(0, 1000), composite=COMPOSITES)
def test_targets_equal_single_runs(model, seed, composite):
    x, count = sample(seed), 3
    targets = np.random.default_rng(seed).integers(0, CLASSES, (len(x), count))
    several = compile(model, composite=composite, target=f"input:{count}")
    found = run(session(several.model), {"x": x, "target": targets})["relevance/x"]
    assert found.shape == (len(x), count, *x.shape[1:])
    one = session(compile(model, composite=composite, target="input").model)
    for t in range(count):
        close(found[:, t], run(one, {"x": x, "target": targets[:, t]})["relevance/x"])


COMPILE_ALL = """
import hashlib, pathlib, sys
from onnxlrp import compile
for path in sorted(pathlib.Path(sys.argv[1]).glob("*.onnx")):
    graph = compile(path, composite="auto", ledger=True)
    print(path.name, hashlib.sha256(graph.to_bytes()).hexdigest())
"""


@pytest.mark.slow
def test_same_bytes_in_another_process_and_folder(tmp_path):
    drawn = []
    SETTINGS(given(model=graphs(bias=True))(lambda model: drawn.append(model)))()
    digests = []
    for seed in ("0", "12345"):
        folder = tmp_path / f"folder_{seed}" / "models"
        folder.mkdir(parents=True)
        for index, model in enumerate(drawn):
            (folder / f"{index:04}.onnx").write_bytes(model.SerializeToString())
        done = subprocess.run(
            [sys.executable, "-c", COMPILE_ALL, str(folder)],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.getcwd()},
            capture_output=True,
            text=True,
            check=True,
        )
        digests.append(done.stdout)
    assert digests[0] == digests[1]
    assert len(digests[0].splitlines()) >= EXAMPLES
