"""The networks of `models/` as torch modules, so that peers explain the very same weights."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from onnx import ModelProto, NodeProto, numpy_helper
from torch import Tensor, nn

from tools.peers.torch_ops import MODULES, Function, attributes_of, merged

Parameters = Mapping[str, Tensor]


class TorchNet(nn.Module):
    """A module per ONNX node, registered in graph order under the node's name with "_" for ".".

    What has no parameters and no module in torch is done by function, for captum refuses modules
    that it does not know. `add` makes the module of an Add (each peer library wants its own).
    `fold` merges every BatchNormalization behind a convolution into it, exactly, in float64, before
    the module is cast to another precision.
    """

    def __init__(
        self, model: ModelProto, *, add: Callable[[], nn.Module] | None = None, fold: bool = False
    ) -> None:
        super().__init__()
        graph = model.graph
        self.sources = [info.name for info in graph.input]
        self.output = graph.output[0].name
        rank = len(graph.input[0].type.tensor_type.shape.dim) - 2
        parameters = {t.name: _tensor(numpy_helper.to_array(t)) for t in graph.initializer}
        self.steps: list[tuple[str, list[str], str]] = []
        self.functions: dict[str, Function] = {}
        self.node_names: dict[str, str] = {}
        make = {**_MODULES, **MODULES}
        makers: dict[str, str] = {}
        for node in merged(graph.node, parameters):
            name = node.name.replace(".", "_")
            live = [i for i in node.input if i and i not in parameters]
            output = node.output[0]
            if fold and node.op_type == "BatchNormalization" and _follows(live[0], makers, self):
                _merge(getattr(self, makers[live[0]]), _batch_norm(node, parameters, rank))
                makers[output] = makers[live[0]]
                self.steps = [(n, i, output if o == live[0] else o) for n, i, o in self.steps]
            else:
                if node.op_type == "Add" and len(live) == 2:
                    self.add_module(name, (add or Plus)())
                elif node.op_type in make:
                    self.add_module(name, make[node.op_type](node, parameters, rank))
                    self.node_names[name] = node.name
                else:
                    self.functions[name] = Function(node, parameters)
                makers[output] = name
                self.steps.append((name, live, output))
        self.spent = _last_uses(self.steps, self.output)
        self.double().eval()

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the logits of a batch; values are let go behind their last use."""
        like = next(self.parameters())
        values = dict(zip(self.sources, inputs, strict=True))
        for (name, sources, output), spent in zip(self.steps, self.spent, strict=True):
            operands = [values[i] for i in sources]
            if name in self.functions:
                values[output] = self.functions[name](like, *operands)
            else:
                values[output] = getattr(self, name)(*operands)
            del operands
            for done in spent:
                del values[done]
        return values[self.output]

    def weights(self) -> dict[str, np.ndarray]:
        """Return the present parameters under their ONNX names."""
        found: dict[str, np.ndarray] = {}
        for name, node_name in self.node_names.items():
            module = getattr(self, name)
            keys = _BN_KEYS if hasattr(module, "running_mean") else _PLAIN_KEYS
            for torch_key, onnx_key in keys.items():
                value = getattr(module, torch_key, None)
                if isinstance(value, Tensor):
                    found[f"{node_name}.{onnx_key}"] = value.detach().numpy().astype(np.float32)
        return found


class Plus(nn.Module):
    """a + b."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the sum."""
        return a + b


_PLAIN_KEYS = {"weight": "weight", "bias": "bias"}
_BN_KEYS = {"weight": "scale", "bias": "shift", "running_mean": "mean", "running_var": "var"}


def _tensor(array: np.ndarray) -> Tensor:
    return torch.tensor(array.astype(np.float64) if array.dtype.kind == "f" else array)


def _follows(value: str, makers: Mapping[str, str], net: nn.Module) -> bool:
    """Whether a convolution makes a value."""
    maker = getattr(net, makers.get(value, ""), None)
    return isinstance(maker, nn.modules.conv._ConvNd)


def _last_uses(steps: list[tuple[str, list[str], str]], output: str) -> list[list[str]]:
    """For each step the values that no later one reads."""
    last = {name: k for k, (_, sources, _) in enumerate(steps) for name in sources}
    found: list[list[str]] = [[] for _ in steps]
    for name, k in last.items():
        if name != output:
            found[k].append(name)
    return found


def _set(module: nn.Module, **values: Tensor) -> nn.Module:
    for key, value in values.items():
        current = getattr(module, key)
        fresh = nn.Parameter(value.clone()) if isinstance(current, nn.Parameter) else value.clone()
        setattr(module, key, fresh)
    return module


def _window(attributes: dict[str, Any], *, dilation: bool) -> dict[str, Any]:
    pads = attributes["pads"]
    half = len(pads) // 2
    if pads[:half] != pads[half:]:
        raise ValueError(f"torch has no asymmetric padding: {pads}")
    window = {"stride": tuple(attributes["strides"]), "padding": tuple(pads[:half])}
    return window | {"dilation": tuple(attributes["dilations"])} if dilation else window


def _convolution(node: NodeProto, parameters: Parameters, rank: int) -> nn.Module:
    weight, *bias = (parameters[i] for i in node.input[1:])
    ones = [1] * rank
    usual = {"group": 1, "strides": ones, "dilations": ones, "pads": [0] * 2 * rank}
    attributes = usual | attributes_of(node)
    group, kernel = attributes["group"], tuple(weight.shape[2:])
    first, second = weight.shape[0], weight.shape[1] * group
    channels = (first, second) if node.op_type == "ConvTranspose" else (second, first)
    window = _window(attributes, dilation=True)
    module = getattr(nn, f"{node.op_type}{rank}d")(
        *channels, kernel, **window, groups=group, bias=bool(bias)
    )
    return _set(module, weight=weight, **({"bias": bias[0]} if bias else {}))


def _linear(node: NodeProto, parameters: Parameters, _: int) -> nn.Module:
    weight, *bias = (parameters[i] for i in node.input[1:])
    module = nn.Linear(weight.shape[1], weight.shape[0], bias=bool(bias))
    return _set(module, weight=weight, **({"bias": bias[0]} if bias else {}))


def _batch_norm(node: NodeProto, parameters: Parameters, rank: int) -> nn.Module:
    scale, shift, mean, var = (parameters[i] for i in node.input[1:])
    module = getattr(nn, f"BatchNorm{rank}d")(len(scale), eps=attributes_of(node)["epsilon"])
    return _set(module, weight=scale, bias=shift, running_mean=mean, running_var=var)


def _merge(conv: nn.Module, norm: nn.Module) -> None:
    """Put a batch norm into the convolution before it."""
    k = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    old = torch.zeros_like(k) if conv.bias is None else conv.bias
    weight = conv.weight * k.reshape(-1, *[1] * (conv.weight.ndim - 1))
    conv.weight = nn.Parameter(weight.detach())
    conv.bias = nn.Parameter(((old - norm.running_mean) * k + norm.bias).detach())


def _pool(node: NodeProto, _: Parameters, rank: int) -> nn.Module:
    attributes = attributes_of(node)
    kernel = tuple(attributes["kernel_shape"])
    name = f"{node.op_type.replace('Average', 'Avg')}{rank}d"
    return getattr(nn, name)(kernel, **_window(attributes, dilation=False))


_MODULES: dict[str, Callable[[NodeProto, Parameters, int], nn.Module]] = {
    "Conv": _convolution,
    "ConvTranspose": _convolution,
    "Gemm": _linear,
    "BatchNormalization": _batch_norm,
    "Relu": lambda *_: nn.ReLU(),
    "MaxPool": _pool,
    "AveragePool": _pool,
    "GlobalAveragePool": lambda _, __, rank: getattr(nn, f"AdaptiveAvgPool{rank}d")(1),
}
