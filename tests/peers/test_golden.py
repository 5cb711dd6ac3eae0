"""Presets on whole networks against relevance that the peer libraries computed in float64."""

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from onnxlrp import compile  # noqa: A004

FOLDER = Path(__file__).parents[1] / "golden"
FLOOR, MARGIN = 1e-5, 10
"""Of max|R|: the larger of 1e-5 and ten times the peer's own float32-to-float64 distance."""


def rows():
    for path in sorted(FOLDER.glob("*.npz")):
        with np.load(path) as data:
            for key in data.files:
                if key.startswith("relevance/"):
                    yield pytest.param(path, key.partition("/")[2], id=f"{path.stem}-{key[10:]}")


@pytest.mark.parametrize(("path", "preset"), list(rows()))
def test_agrees_with_the_peer(path, preset):
    with np.load(path) as data:
        model, x = data["model"].tobytes(), data["x"].astype(np.float32)
        target, expected = data["target"], data[f"relevance/{preset}"]
        distance = float(data[f"distance/{preset}"])
    index = "argmax" if preset.startswith("otsuki") else "input"
    graph = compile(model, composite=preset, target=index)
    session = ort.InferenceSession(graph.to_bytes(), providers=["CPUExecutionProvider"])
    feeds = {session.get_inputs()[0].name: x}
    if index == "input":
        feeds["target"] = np.broadcast_to(target, len(x)).astype(np.int64)
    found = session.run([f"relevance/{graph.metadata.inputs[0]}"], feeds)[0]
    assert np.isfinite(found).all()
    bound = max(FLOOR, MARGIN * distance) * np.abs(expected).max()
    assert np.abs(found - expected).max() <= bound
