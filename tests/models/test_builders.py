import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import ModelProto

from models import builders

FOLDED = 1e-5  # float32 rounding of folded weights through some twenty layers
NETS = {
    "mlp": builders.mlp,
    "mlp of pictures": lambda **o: builders.mlp((1, 4, 4), **o),
    "small_cnn": builders.small_cnn,
    "vgg16": lambda **o: builders.vgg16(size=32, width=2, classes=7, **o),
    "resnet18": lambda **o: builders.resnet18(width=4, **o),
    "resnet50": lambda **o: builders.resnet50(size=64, width=4, classes=7, **o),
    "cnn_1d": builders.cnn_1d,
    "mixed_cnn": builders.mixed_cnn,
}
BATCH_NORMED = ("small_cnn", "vgg16", "resnet18", "resnet50", "cnn_1d")


def run(model: ModelProto, scale: float = 1.0) -> np.ndarray:
    session = ort.InferenceSession(model.SerializeToString())
    image = session.get_inputs()[0]
    drawn = np.random.default_rng(0).normal(size=(3, *image.shape[1:]))
    return session.run(None, {image.name: (scale * drawn).astype(np.float32)})[0]


@pytest.mark.parametrize("name", NETS)
def test_is_valid_and_sane(name: str) -> None:
    model = NETS[name](seed=3)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (10, 21)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    logits = run(model)
    assert np.isfinite(logits).all()
    assert 0.01 < np.abs(logits).max() < 100


@pytest.mark.parametrize("name", NETS)
def test_same_seed_same_bytes(name: str) -> None:
    first, again, other = (NETS[name](seed=s).SerializeToString() for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", NETS)
def test_without_bias_is_homogeneous(name: str) -> None:
    model = NETS[name](bias=False, **({"bn": "keep"} if name in BATCH_NORMED else {}))
    np.testing.assert_allclose(run(model, scale=2.0), 2 * run(model), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("name", BATCH_NORMED)
def test_folded_equals_kept(name: str, bias: bool) -> None:
    kept, folded = (NETS[name](bn=bn, bias=bias) for bn in ("keep", "fold"))
    assert any(node.op_type == "BatchNormalization" for node in kept.graph.node)
    assert all(node.op_type != "BatchNormalization" for node in folded.graph.node)
    expected = run(kept)
    assert np.abs(run(folded) - expected).max() <= FOLDED * np.abs(expected).max()


def test_given_weights_replace_drawn_ones() -> None:
    weight = np.zeros((10, 32), np.float32)
    model = builders.mlp(weights={"head.weight": weight}, bias=False)
    assert not run(model).any()
    with pytest.raises(ValueError, match=r"'head\.weight' has shape"):
        builders.mlp(weights={"head.weight": weight.T})
