"""Gradients of the zoo's PyTorch networks, by autograd in float64."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tools.peers import zoo_recurrent, zoo_text, zoo_vision
from tools.peers.zoo_golden import TOKENS
from tools.peers.zoo_job import Feeds
from tools.peers.zoo_torch import Network, cast, known, prepared

__all__ = ["slope"]

Array = NDArray[np.generic]


def slope(stem: str, feeds: Feeds, seed: Array) -> tuple[Array, Feeds]:
    """The first output, and the gradients of sum(seed * output)."""
    network = _network(stem)
    torch.set_default_dtype(torch.float32)
    module, sample = prepared(network)
    if "fp16" in stem:
        module.half()
    torch.set_default_dtype(torch.float64)
    module.double()
    held = {name: torch.tensor(np.asarray(feeds[name])) for name in sample if name in feeds}
    sample = cast(sample | held, torch.float64)
    floats = {n: v.requires_grad_() for n, v in sample.items() if v.is_floating_point()}
    looked: list[tuple[Tensor, Tensor]] = []
    _watch(module, looked)
    output = module(*sample.values())
    output = output if isinstance(output, Tensor) else output[0]
    (output * torch.tensor(seed, dtype=torch.float64)).sum().backward()
    slopes = {name: v.grad.numpy() for name, v in floats.items() if v.grad is not None}
    first = next(iter(sample.values()))
    if not first.is_floating_point():
        found = [y.grad for ids, y in looked if ids.shape == first.shape and ids.equal(first)]
        slopes[TOKENS] = torch.stack(found).sum(0).numpy()
    return output.detach().numpy(), slopes


def _network(stem: str) -> Network:
    """The network whose name a file begins with; the longest where several do."""
    every = known(
        item for part in (zoo_vision, zoo_recurrent, zoo_text) for item in part.networks()
    )
    named = {"-".join(filter(None, (item.name, item.variant))): item for item in every}
    return named[max((name for name in named if stem.startswith(f"{name}-")), key=len)]


def _watch(module: nn.Module, looked: list[tuple[Tensor, Tensor]]) -> None:
    """Collect what every embedding is given and gives."""

    def keep(_: nn.Module, given: tuple[Tensor, ...], found: Tensor) -> None:
        if found.requires_grad:
            found.retain_grad()
            looked.append((given[0], found))

    for part in module.modules():
        if isinstance(part, nn.Embedding):
            part.register_forward_hook(keep)
