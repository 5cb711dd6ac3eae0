"""What the benchmark times: our networks as torch modules, and the peers on them."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from models import builders, transformer
from models.convnext import ConvNeXt, convnext
from models.densenet import densenet121
from models.lstm import Stack, lstm
from models.mobilenet import mobilenet_v2
from tools.bench.nets import draw, specs

torch = pytest.importorskip("torch")
if find_spec("zennit") is None or find_spec("captum") is None:
    pytest.skip("zennit or captum is not installed", allow_module_level=True)

from tools.peers.timed import ENGINES  # noqa: E402
from tools.peers.torch_net import TorchNet  # noqa: E402

AGREES = 1e-5
"""Of max|y|, in float32."""

NETS = {
    "mobilenet_v2": lambda: mobilenet_v2(size=64, width=0.25, classes=7),
    "densenet121": lambda: densenet121(size=64, growth=8, classes=7),
    "convnext": lambda: convnext(
        shape=ConvNeXt(blocks=(1, 2), channels=(8, 16)), size=32, classes=7
    ),
    "lstm": lambda: lstm(size=Stack(steps=6, inputs=5, hidden=8)),
    "vit": transformer.vit,
    "resnet18": lambda: builders.resnet18(bn="keep"),
}


def feed(model):
    return {spec["name"]: draw(spec, 2) for spec in specs(model)}


def outputs(model, inputs):
    return ort.InferenceSession(model.SerializeToString()).run(None, inputs)[0]


def assert_same(found, expected):
    assert np.abs(found - expected).max() <= AGREES * np.abs(expected).max()


@pytest.mark.parametrize("name", NETS)
def test_the_module_is_the_network(name):
    model = NETS[name]()
    inputs = feed(model)
    module = TorchNet(model, fold=True).float()
    with torch.no_grad():
        found = module(*(torch.tensor(array) for array in inputs.values())).numpy()
    assert_same(found, outputs(model, inputs))


@pytest.mark.parametrize("embedded", [False, True])
def test_bert(embedded):
    size = transformer.Size(longest=128, vocabulary=1000)
    model = transformer.bert(size=size, embedded=embedded)
    inputs = feed(model)
    module = TorchNet(model).float()
    with torch.no_grad():
        found = module(*(torch.tensor(array) for array in inputs.values())).numpy()
    assert_same(found, outputs(model, inputs))


def test_torch_has_its_own_modules():
    parts = list(TorchNet(transformer.vit()).modules())
    kinds = {type(part).__name__ for part in parts}
    assert {"Linear", "GELU", "LayerNorm", "Softmax", "Conv2d"} <= kinds
    dense = [part for part in parts if isinstance(part, torch.nn.Linear)]
    assert len(dense) == 2 * 6 + 1
    assert all(part.bias is not None for part in dense)


def job(path, engine, preset):
    return {
        "engine": engine,
        "model": str(path),
        "preset": preset,
        "threads": 1,
        "provider": "cpu",
        "precision": "fp32",
    }


def started(tmp_path: Path, model, engine, preset=""):
    onnx.save(model, tmp_path / "m.onnx")
    return ENGINES[engine](job(tmp_path / "m.onnx", engine, preset))(feed(model))


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(("engine", "preset"), [("torch", ""), ("zennit", "epsilon-plus")])
def test_engines_run(tmp_path, name, engine, preset):
    run = started(tmp_path, NETS[name](), engine, preset)
    first, second = np.asarray(run()), np.asarray(run())
    assert np.isfinite(first).all()
    np.testing.assert_array_equal(first, second)


def test_gradient(tmp_path):
    """By central differences, in float32."""
    model = transformer.vit()
    (found,) = started(tmp_path, model, "torch-gradient")()
    (x,) = feed(model).values()
    step = np.zeros_like(x)
    step[0, 1, 2, 3] = 1e-2
    ends = [outputs(model, {"image": x + sign * step})[0, 1] for sign in (1, -1)]
    slope = (ends[0] - ends[1]) / 2e-2
    assert float(found[0, 1, 2, 3]) == pytest.approx(slope, rel=5e-2)


def test_captum_runs_densenet_and_refuses_a_norm(tmp_path):
    found = started(tmp_path, NETS["densenet121"](), "captum", "captum-epsilon")()
    assert bool(torch.isfinite(found).all())
    with pytest.raises(TypeError, match="has no rule defined"):
        started(tmp_path, transformer.vit(), "captum", "captum-epsilon")()
