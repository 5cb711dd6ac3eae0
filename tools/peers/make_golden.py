"""Writes `tests/golden/*.npz`: networks, inputs, and the relevance that peers find.

    python -m tools.peers.make_golden

A file holds `model` (the ONNX bytes as uint8), `x` `[N, ...]` float32, `target` `[N]`, and for
each preset `relevance/<preset>` (the peer's, in float64) and `distance/<preset>`: how far the
peer's float32 result is from it, max|difference| / max|relevance|. Peers see batch norms folded in
float64 unless the preset says otherwise. Zennit's and captum's walks start at the logit of the
target, those of the gradient family at one; Otsuki's start at the probability of the likeliest
class, which `target` names.

Captum's gamma and alpha1-beta0 do not treat negative inputs, so denominators of the first layer
come near zero; seeds were chosen where float32 still holds, and `cnn_unit` has inputs in [0, 1].
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

from models import builders
from models.writer import Array
from tools.peers import live_captum, live_zennit
from tools.peers.live_captum import captum_relevance
from tools.peers.live_zennit import zennit_relevance
from tools.peers.otsuki import otsuki_relevance
from tools.peers.torch_net import TorchNet

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden"
BATCH, TARGET, SEED = 2, 1, 11
UNIT = "cnn_unit"
SEEDS = {"cnn": 44, "cnn_bn": 39, "resnet": 17, "mlp": 13}
OTSUKI = tuple(
    f"otsuki:split={split},identity={identity},bn={bn}"
    for split in ("symmetric", "ratio")
    for identity in ("true", "false")
    for bn in ("fold", "identity")
)

Peer = Callable[[torch.dtype], NDArray[np.floating]]
Goldens = dict[str, Peer]
Builder = Callable[[Mapping[str, Array]], ModelProto]


def main() -> None:
    """Write every file."""
    OUT.mkdir(parents=True, exist_ok=True)
    for name, model in _plain_nets().items():
        x, target = _image(model, SEEDS.get(name, SEED)), np.full(BATCH, TARGET)
        if name == UNIT:
            x = np.abs(x) / 3
        goldens = _zennit(model, x, target)
        if name not in {"cnn_1d", "mixed_cnn"}:
            goldens |= _captum(model, x, target)
        _write(name, model, x, target, goldens)
    for name, model in _residual_nets().items():
        x = _image(model, SEED)
        _write(name, model, x, _likeliest(model, x), _otsuki(model, x))


def _plain_nets() -> dict[str, ModelProto]:
    return {
        "cnn": builders.small_cnn(seed=SEEDS["cnn"]),
        UNIT: builders.small_cnn(seed=SEED),
        "cnn_bn": builders.small_cnn(bn="keep", seed=SEEDS["cnn_bn"]),
        "resnet": builders.resnet(
            (1, 2), stem=3, shape=(3, 16, 16), width=8, classes=5, bn="keep", seed=SEEDS["resnet"]
        ),
        "mlp": builders.mlp((12,), (24, 24), classes=5, seed=SEEDS["mlp"]),
        "cnn_1d": builders.cnn_1d(seed=SEED),
        "mixed_cnn": builders.mixed_cnn(seed=SEED),
    }


def _residual_nets() -> dict[str, ModelProto]:
    def basic(weights: Mapping[str, Array]) -> ModelProto:
        return builders.resnet(
            (2, 2), shape=(3, 32, 32), width=8, classes=5, bn="keep", seed=SEED, weights=weights
        )

    def deep(weights: Mapping[str, Array]) -> ModelProto:
        return builders.resnet(
            (2, 2),
            bottleneck=True,
            shape=(3, 32, 32),
            width=6,
            classes=5,
            bn="keep",
            seed=SEED,
            weights=weights,
        )

    return {
        "otsuki_basic": basic({}),
        "otsuki_bottleneck": _with_scales(deep, _some_negative),
        "otsuki_zero_gamma": _with_scales(basic, _last_zero),
    }


def _with_scales(build: Builder, change: Callable[[str, Array], Array]) -> ModelProto:
    drawn = {t.name: numpy_helper.to_array(t) for t in build({}).graph.initializer}
    return build({name: change(name, array) for name, array in drawn.items()})


def _some_negative(name: str, array: Array) -> Array:
    signs = np.where(np.arange(array.size) % 3 == 1, -1, 1).astype(np.float32)
    return array * signs if name.endswith("bn.scale") else array


def _last_zero(name: str, array: Array) -> Array:
    """Make the second block of the first stage give nothing: its last scale and shift are zero."""
    zero = name.startswith("layer1.1.conv2.bn.") and name.endswith(("scale", "shift"))
    return array * np.float32(0 if zero else 1)


def _image(model: ModelProto, seed: int) -> NDArray[np.float32]:
    shape = [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim[1:]]
    drawn = np.random.default_rng(seed).normal(size=(BATCH, *shape))
    return np.clip(drawn, -3, 3).astype(np.float32)


def _likeliest(model: ModelProto, x: NDArray[np.float32]) -> NDArray[np.int64]:
    with torch.no_grad():
        return TorchNet(model)(torch.tensor(x).double()).argmax(1).numpy()


def _zennit(model: ModelProto, x: NDArray[np.float32], target: NDArray[np.int64]) -> Goldens:
    def peer(preset: str, *, fold: bool) -> Peer:
        def run(dtype: torch.dtype) -> NDArray[np.floating]:
            net = TorchNet(model, add=live_zennit.Add, fold=fold).to(dtype)
            return zennit_relevance(net, x, target, preset)

        return run

    goldens = {preset: peer(preset, fold=True) for preset in live_zennit.PRESETS}
    if any(node.op_type == "BatchNormalization" for node in model.graph.node):
        goldens["epsilon-plus:bn=identity"] = peer("epsilon-plus", fold=False)
    return goldens


def _captum(model: ModelProto, x: NDArray[np.float32], target: NDArray[np.int64]) -> Goldens:
    def peer(preset: str, *, fold: bool) -> Peer:
        def run(dtype: torch.dtype) -> NDArray[np.floating]:
            net = TorchNet(model, add=live_captum.Add, fold=fold).to(dtype)
            return captum_relevance(net, x, target, preset)

        return run

    if all(node.op_type != "BatchNormalization" for node in model.graph.node):
        return {preset: peer(preset, fold=False) for preset in live_captum.PRESETS}
    goldens = {f"{preset}:bn=fold": peer(preset, fold=True) for preset in live_captum.PRESETS}
    goldens["captum-epsilon:bn=epsilon"] = peer("captum-epsilon", fold=False)
    return goldens


def _otsuki(model: ModelProto, x: NDArray[np.float32]) -> Goldens:
    def peer(preset: str) -> Peer:
        return lambda dtype: otsuki_relevance(model, x, preset, dtype)

    return {preset: peer(preset) for preset in OTSUKI}


def _write(
    name: str,
    model: ModelProto,
    x: NDArray[np.float32],
    target: NDArray[np.int64],
    goldens: Goldens,
) -> None:
    found: dict[str, NDArray[np.generic]] = {
        "model": np.frombuffer(model.SerializeToString(), np.uint8),
        "x": x,
        "target": target.astype(np.int64),
    }
    for preset, peer in goldens.items():
        exact, coarse = peer(torch.float64), peer(torch.float32)
        assert exact.dtype == np.float64, preset
        scale = np.abs(exact).max()
        distance = np.abs(coarse - exact).max() / scale if scale else 0.0
        found[f"relevance/{preset}"] = exact
        found[f"distance/{preset}"] = np.float64(distance)
        print(f"{name:18} {preset:48} {distance:.1e}")
    np.savez_compressed(OUT / f"{name}.npz", **found)


if __name__ == "__main__":
    main()
