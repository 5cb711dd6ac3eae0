"""Presets against the peer libraries themselves, where they are installed."""

from importlib.util import find_spec

import numpy as np
import pytest

from models import builders
from onnxlrp import compile  # noqa: A004

torch = pytest.importorskip("torch")
if find_spec("zennit") is None:
    pytest.skip("zennit is not installed", allow_module_level=True)

from tools.peers import live_zennit  # noqa: E402
from tools.peers.torch_net import TorchNet  # noqa: E402

AGREES = 1e-5
"""Of max|R|."""


@pytest.mark.parametrize("preset", sorted(live_zennit.PRESETS))
@pytest.mark.parametrize("net", ["small_cnn", "mixed_cnn", "cnn_1d", "mlp"])
def test_agrees_with_zennit(net, preset):
    import onnxruntime as ort

    model = getattr(builders, net)(seed=5)
    graph = compile(model, composite=preset, target=1)
    session = ort.InferenceSession(graph.to_bytes())
    image = session.get_inputs()[0]
    x = np.random.default_rng(2).normal(size=(2, *image.shape[1:]))
    found = session.run(["relevance/image"], {"image": x.astype(np.float32)})[0]
    module = TorchNet(model, add=live_zennit.Add, fold=True)
    expected = live_zennit.zennit_relevance(module, x, np.array([1, 1]), preset)
    expected = np.asarray(expected)
    assert np.abs(found - expected).max() <= AGREES * np.abs(expected).max()
