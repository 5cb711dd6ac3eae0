"""Peers as the benchmark times them: a job and a feed in, a function that runs once out.

All run the torch module of the very same ONNX network, in float32, without TF32 unless the job says
so. A run ends when its values are there: on a GPU it waits for the device.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn

from tools.peers.torch_net import TorchNet

__all__ = ["ENGINES"]

Job = Mapping[str, Any]
Feed = Mapping[str, NDArray[Any]]
Run = Callable[[], object]
Prepare = Callable[[Feed], Run]

TARGET = 1
NORMS = frozenset({"LayerNormalization", "LSTM"})
"""Networks with these have no canonizer of the peers: their sums stay plain."""


class First(nn.Module):
    """A network as a function of its first input, the others being given."""

    def __init__(self, net: nn.Module, rest: list[Tensor]) -> None:
        super().__init__()
        self.net, self.rest = net, rest

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        return self.net(x, *self.rest)


def torch_engine(job: Job) -> Prepare:
    """The forward pass."""
    net = _net(job)

    def forward(module: nn.Module, x: Tensor) -> object:
        with torch.no_grad():
            return module(x)

    return lambda feed: _run(job, net, feed, forward)


def gradient_engine(job: Job) -> Prepare:
    """Forward and backward pass with the gradient of the target at the input."""
    net = _net(job)
    for parameter in net.parameters():
        parameter.requires_grad_(False)

    def gradient(module: nn.Module, x: Tensor) -> object:
        leaf = x.detach().requires_grad_()
        return torch.autograd.grad(module(leaf)[:, TARGET].sum(), leaf)

    return lambda feed: _run(job, net, feed, gradient)


def zennit_engine(job: Job) -> Prepare:
    """The composite that zennit has for the preset."""
    from tools.peers.live_zennit import Add, relevance

    net = _net(job, Add)

    def explain(module: nn.Module, x: Tensor) -> object:
        return relevance(module, x, np.full(len(x), TARGET), job["preset"])

    return lambda feed: _run(job, net, feed, explain)


def captum_engine(job: Job) -> Prepare:
    """LRP of captum with the rule of the preset."""
    from captum.attr import LRP

    from tools.peers.live_captum import RULES, Add

    net, rule = _net(job, Add), RULES[job["preset"]]
    for part in net.modules():
        if rule is not None and isinstance(part, nn.Conv2d | nn.Linear):
            part.rule = rule()

    def explain(module: nn.Module, x: Tensor) -> object:
        return LRP(module).attribute(x, target=TARGET)

    return lambda feed: _run(job, net, feed, explain)


def lxt_engine(job: Job) -> Prepare:
    """LXT's explicit functions in the order of our transformers."""
    from tools.peers.lxt_blocks import Block

    torch.set_num_threads(job["threads"])
    model = onnx.load(job["model"])
    if model.graph.name not in {"bert", "vit"}:
        raise ValueError(f"LXT has no functions for '{model.graph.name}'")
    split = next(t for t in model.graph.initializer if t.name.endswith("attention.split"))
    heads = int(onnx.numpy_helper.to_array(split)[2])
    block = Block(model, heads, cp=job["preset"] == "cp-lrp")
    device = _device(job)
    block.p = {name: value.float().to(device) for name, value in block.p.items()}

    def explain(x: Tensor, *rest: Tensor) -> object:
        leaf = x.detach().requires_grad_()
        masks = [(1 - kept[:, None, None]).float() for kept in rest]
        logits = getattr(block, model.graph.name)(leaf, *masks)
        seed = torch.zeros_like(logits)
        seed[:, TARGET] = logits.detach()[:, TARGET]
        return torch.autograd.grad(logits, leaf, seed)

    def prepare(feed: Feed) -> Run:
        inputs = [torch.tensor(array, device=device) for array in feed.values()]
        return _finished(job, lambda: explain(*inputs))

    return prepare


ENGINES: dict[str, Callable[[Job], Prepare]] = {
    "torch": torch_engine,
    "torch-gradient": gradient_engine,
    "zennit": zennit_engine,
    "captum": captum_engine,
    "lxt": lxt_engine,
}


def _net(job: Job, add: Callable[[], nn.Module] | None = None) -> nn.Module:
    torch.set_num_threads(job["threads"])
    torch.backends.cuda.matmul.allow_tf32 = job["precision"] == "tf32"
    torch.backends.cudnn.allow_tf32 = job["precision"] == "tf32"
    model = onnx.load(job["model"])
    plain = _is_plain(model)
    net = TorchNet(model, add=None if plain else add, fold=True).float().eval()
    return net.to(_device(job))


def _is_plain(model: ModelProto) -> bool:
    return any(node.op_type in NORMS for node in model.graph.node)


def _device(job: Job) -> str:
    return "cpu" if job["provider"] == "cpu" else "cuda"


def _run(job: Job, net: nn.Module, feed: Feed, step: Callable[[nn.Module, Tensor], object]) -> Run:
    first, *rest = (torch.tensor(array, device=_device(job)) for array in feed.values())
    module = First(net, rest) if rest else net
    return _finished(job, lambda: step(module, first))


def _finished(job: Job, step: Run) -> Run:
    """The step, waiting for the device."""
    if _device(job) == "cpu":
        return step

    def run() -> object:
        found = step()
        torch.cuda.synchronize()
        return found

    return run
