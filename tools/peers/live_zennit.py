"""What zennit says about a torch module, under our preset names."""

import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

GRADIENT_FAMILY = ("gradient", "guided-backprop", "deconvnet")
PRESETS = (
    "epsilon-gamma-box:low=-3,high=3",
    "epsilon-plus",
    "epsilon-plus-flat",
    "epsilon-alpha2-beta1",
    "epsilon-alpha2-beta1-flat",
    "excitation-backprop",
    *GRADIENT_FAMILY,
)


def zennit_relevance(
    module: nn.Module, x: NDArray[np.floating], target: NDArray[np.int64], preset: str
) -> NDArray[np.floating]:
    """Return the relevance of `x` `[N, ...]` for the outputs `target` `[N]`, in the module's dtype.

    The walk starts at the logit of the target, at one for the gradient family. `preset` is a name
    of `PRESETS`, with zennit's parameters behind a colon ("epsilon-plus:epsilon=1e-3"). Batch
    norms must be folded (`TorchNet(model, fold=True)`); else they pass relevance on. Additions are
    `Add` modules (`TorchNet(model, add=Add)`).
    """
    parameter = next(module.parameters())
    image = torch.tensor(x, dtype=parameter.dtype, device=parameter.device)
    return relevance(module, image, target, preset).cpu().numpy()


def relevance(module: nn.Module, image: Tensor, target: NDArray[np.int64], preset: str) -> Tensor:
    """As `zennit_relevance`, of a tensor on the module's device."""
    name, given = split_name(preset)
    image = image.detach().requires_grad_()
    if name == "gradient":
        return _backward(module(image), image, target, name)
    composites = _zennit().composites.COMPOSITES
    composite = composites[name.replace("-", "_")](**given)
    with composite.context(module) as hooked:
        return _backward(hooked(image), image, target, name)


def Add() -> nn.Module:  # noqa: N802 - stands for a class that needs zennit
    """Make an addition that zennit gives its Norm rule."""

    class ZennitAdd(nn.Module):
        """a + b as zennit's Sum over a stacked axis."""

        def __init__(self) -> None:
            super().__init__()
            self.sum = _zennit().layer.Sum()

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            """Return the sum."""
            return self.sum(torch.stack([a, b], -1))

    return ZennitAdd()


def split_name(preset: str) -> tuple[str, dict[str, float]]:
    """Split "name:key=value,..." into the name and its numbers."""
    name, _, rest = preset.partition(":")
    pairs = (part.split("=") for part in rest.split(",") if part)
    return name, {key: float(value) for key, value in pairs}


def _backward(logits: Tensor, image: Tensor, target: NDArray[np.int64], name: str) -> Tensor:
    chosen = nn.functional.one_hot(torch.tensor(target), logits.shape[1]).to(logits)
    seed = chosen if name in GRADIENT_FAMILY else chosen * logits.detach()
    (found,) = torch.autograd.grad(logits, image, seed)
    return found.detach()


def _zennit() -> Any:
    """Import zennit, also where torchvision, which it needs for its canonizers only, is missing."""
    if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        classes = {
            "BasicBlock": type("BasicBlock", (), {}),
            "Bottleneck": type("Bottleneck", (), {}),
        }
        for name in ("torchvision", "torchvision.models", "torchvision.models.resnet"):
            sys.modules[name] = ModuleType(name)
        vars(sys.modules["torchvision.models.resnet"]).update(classes)
    return importlib.import_module("zennit")
