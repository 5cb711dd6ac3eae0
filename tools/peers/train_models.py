"""Trains the networks of `models/` and writes them as ONNX, with their pictures and labels.

    python -m tools.peers.train_models [NAME ...]

Needs torch and scikit-learn. Deterministic on one machine; minutes on two cores.
"""

import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn

from models import builders, shapes
from models.writer import Array
from tools.peers.torch_net import TorchNet

OUT = Path(__file__).resolve().parents[2] / "models"
SHAPES_TRAIN, SHAPES_TEST = (12_000, 1), (1_200, 2)  # number of pictures, seed
PICTURES = {"star": (5, 6), "cross": (3, 8)}  # label -> class, seed
PICTURE_SIZE = 256

Data = tuple[Array, NDArray[np.int64]]
Build = Callable[..., ModelProto]


@dataclass(frozen=True)
class Plan:
    """What is trained, on what, for how long, and how its batch norms are shipped."""

    build: Build
    data: Callable[[], tuple[Data, Data]]
    epochs: int
    bn: str | None
    rate: float = 3e-3


def digits() -> tuple[Data, Data]:
    """Return scikit-learn's digits `[n, 1, 8, 8]` in [0, 1], a fifth of them held out."""
    x, y = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    x, x_test, y, y_test = train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    return (x, y), (x_test, y_test)


def shape_pictures() -> tuple[Data, Data]:
    """Return the shapes pictures to train with and to test with."""
    (x, y, _), (x_test, y_test, _) = shapes.make(*SHAPES_TRAIN), shapes.make(*SHAPES_TEST)
    return (x, y), (x_test, y_test)


def digits_mlp(**options: object) -> ModelProto:
    """Two hidden layers on 64 pixels."""
    return builders.mlp((1, 8, 8), (64, 32), classes=10, **options)


def digits_resnet(**options: object) -> ModelProto:
    """Three stages of one BasicBlock, no pooling in the stem."""
    return builders.resnet((1, 1, 1), stem=1, shape=(1, 8, 8), width=16, classes=10, **options)


def shapes_vgg(**options: object) -> ModelProto:
    """Four stages of two convolutions, one hidden dense layer."""
    plan = (1, 1, "M", 2, 2, "M", 4, 4, "M", 4, 4, "M")
    return builders.vgg(
        plan, (64,), shape=(3, 64, 64), width=16, classes=len(shapes.LABELS), **options
    )


def shapes_resnet(**options: object) -> ModelProto:
    """Three stages of two BasicBlocks after an unstrided stem with max pool."""
    return builders.resnet(
        (2, 2, 2), stem=3, shape=(3, 64, 64), width=16, classes=len(shapes.LABELS), **options
    )


PLANS = {
    "digits_mlp": Plan(digits_mlp, digits, 60, None),
    "digits_resnet": Plan(digits_resnet, digits, 30, "keep"),
    "shapes_vgg": Plan(shapes_vgg, shape_pictures, 8, "fold"),
    "shapes_resnet": Plan(shapes_resnet, shape_pictures, 8, "fold"),
}


def train(plan: Plan, seed: int = 0) -> tuple[ModelProto, float]:
    """Return the trained model and its accuracy on held-out data."""
    torch.manual_seed(seed)
    learned = {} if plan.bn is None else {"bn": "keep"}
    net = TorchNet(plan.build(seed=seed, **learned)).float().train()
    for module in net.modules():
        if hasattr(module, "running_mean"):
            module.reset_parameters()
    (x, y), (x_test, y_test) = ((torch.tensor(a), torch.tensor(b)) for a, b in plan.data())
    optimizer = torch.optim.AdamW(net.parameters(), weight_decay=1e-3)
    steps = plan.epochs * (len(x) // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, plan.rate, total_steps=steps)
    loss = nn.CrossEntropyLoss(label_smoothing=0.05)
    for epoch in range(plan.epochs):
        total = 0.0
        for batch, target in _batches(x, y, seed=epoch):
            optimizer.zero_grad()
            value = loss(net(batch), target)
            value.backward()
            optimizer.step()
            schedule.step()
            total += value.item()
        print(f"  epoch {epoch + 1}: loss {total * 64 / len(x):.4f}", flush=True)
    options = {} if plan.bn is None else {"bn": plan.bn}
    net.eval()
    with torch.no_grad():
        found = torch.cat([net(part).argmax(1) for part in x_test.split(128)])
    accuracy = (found == y_test).double().mean().item()
    return plan.build(seed=seed, weights=net.weights(), **options), accuracy


def _batches(x: Tensor, y: Tensor, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    for part in order[: len(x) // 64 * 64].split(64):
        yield x[part], y[part]


def write_extras() -> None:
    """Write labels and the example pictures."""
    (OUT / "shapes_labels.txt").write_text("\n".join(shapes.LABELS) + "\n")
    (OUT / "digits_labels.txt").write_text("\n".join("0123456789") + "\n")
    folder = OUT / "pictures"
    folder.mkdir(exist_ok=True)
    for label, (index, seed) in PICTURES.items():
        picture, _ = shapes.draw(index, np.random.default_rng(seed), PICTURE_SIZE)
        pixels = (picture.transpose(1, 2, 0) * 255).round().astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"shapes_{label}.png")


def main(names: list[str]) -> None:
    """Train the named networks, or all."""
    write_extras()
    for name in names or PLANS:
        start = time.perf_counter()
        print(name, flush=True)
        model, accuracy = train(PLANS[name])
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, OUT / f"{name}.onnx")
        size = (OUT / f"{name}.onnx").stat().st_size / 1e6
        seconds = time.perf_counter() - start
        print(f"{name}: accuracy {accuracy:.4f}, {size:.2f} MB, {seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
