"""Relevance Splitting for ResNet (Otsuki et al. 2024) from its formulas, on an ONNX ResNet.

Nothing here knows the compiler or another peer: a forward pass keeps every value, a backward pass
applies one formula per operator, all in one precision. Weights enter as their positive part,
biases never. `EPSILON` is added unsigned to every denominator.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5
SPLITS = ("symmetric", "ratio")


@dataclass
class Net:
    """The nodes of a ResNet, its parameters, and the values of one forward pass."""

    nodes: list[NodeProto]
    parameters: dict[str, Tensor]
    image: str
    values: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Method:
    """How an Add is split, whether identity skips take part, and what a batch norm is."""

    split: str
    identity: bool
    bn: str


def otsuki_relevance(
    model: ModelProto,
    x: NDArray[np.floating],
    preset: str,
    dtype: torch.dtype = torch.float64,
) -> NDArray[np.floating]:
    """Return the relevance of `x` `[N, 3, H, W]` for the likeliest class, from its probability on.

    `preset` is "otsuki:split=symmetric|ratio,identity=true|false,bn=fold|identity".
    """
    given = dict(part.split("=") for part in preset.partition(":")[2].split(","))
    method = Method(given["split"], given["identity"] == "true", given["bn"])
    net = _load(model, dtype, fold=method.bn == "fold")
    _forward(net, torch.tensor(x, dtype=dtype))
    logits = net.values[net.nodes[-1].output[0]]
    probability = torch.softmax(logits, 1)
    chosen = functional.one_hot(probability.argmax(1), logits.shape[1]).to(dtype)
    relevance: dict[str, Any] = defaultdict(float)
    relevance[net.nodes[-1].output[0]] = probability * chosen
    for node in reversed(net.nodes):
        arrived = relevance[node.output[0]]
        live = [i for i in node.input if i in net.values]
        for name, part in zip(live, _backward(net, method, node, arrived), strict=True):
            relevance[name] = relevance[name] + part
    return relevance[net.image].numpy()


def _load(model: ModelProto, dtype: torch.dtype, *, fold: bool) -> Net:
    graph = model.graph
    parameters = {
        t.name: torch.tensor(numpy_helper.to_array(t), dtype=torch.float64)
        for t in graph.initializer
    }
    nodes = list(graph.node)
    if fold:
        nodes = _folded(nodes, parameters)
    parameters = {name: value.to(dtype) for name, value in parameters.items()}
    return Net(nodes, parameters, graph.input[0].name)


def _folded(nodes: list[NodeProto], parameters: dict[str, Tensor]) -> list[NodeProto]:
    """Merge every BatchNormalization into its convolution: w <- k w, b <- (b - mean) k + shift."""
    made = {node.output[0]: node for node in nodes}
    for node in nodes:
        if node.op_type != "BatchNormalization":
            continue
        conv = made[node.input[0]]
        scale, shift, mean, var = (parameters[i] for i in node.input[1:])
        k = scale / torch.sqrt(var + helper.get_node_attr_value(node, "epsilon"))
        weight, *bias = conv.input[1:]
        old = parameters[bias[0]] if bias else 0
        parameters[weight] = parameters[weight] * k[:, None, None, None]
        name = f"{conv.name}.folded_bias"
        parameters[name] = (old - mean) * k + shift
        merged = helper.make_node("Conv", [conv.input[0], weight, name], node.output)
        merged.attribute.extend(conv.attribute)
        made[node.output[0]] = merged
    replaced = {node.input[0] for node in nodes if node.op_type == "BatchNormalization"}
    return [made[node.output[0]] for node in nodes if node.output[0] not in replaced]


def _forward(net: Net, x: Tensor) -> None:
    net.values[net.image] = x
    for node in net.nodes:
        operands = [net.values[i] for i in node.input if i in net.values]
        parameters = [net.parameters[i] for i in node.input if i in net.parameters]
        net.values[node.output[0]] = _value(node, operands, parameters)


def _value(node: NodeProto, operands: list[Tensor], parameters: list[Tensor]) -> Tensor:
    x, *other = operands
    match node.op_type:
        case "Conv":
            y = _conv(node, x, *parameters)
        case "BatchNormalization":
            scale, shift, mean, var = (p[:, None, None] for p in parameters)
            epsilon = helper.get_node_attr_value(node, "epsilon")
            y = (x - mean) * scale / torch.sqrt(var + epsilon) + shift
        case "Gemm":
            y = functional.linear(x, *parameters)
        case "Relu":
            y = x.clamp(min=0)
        case "Add":
            y = x + other[0]
        case "MaxPool":
            y = functional.max_pool2d(x, *_window(node))
        case "GlobalAveragePool":
            y = x.mean((2, 3), keepdim=True)
        case "Flatten":
            y = x.flatten(1)
        case _:
            raise ValueError(f"a ResNet has no {node.op_type}")
    return y


def _backward(net: Net, method: Method, node: NodeProto, r: Tensor) -> tuple[Tensor, ...]:
    """Return the relevance of every live input of a node."""
    if node.op_type == "Add":
        return _split(net, method, node, r)
    x = net.values[node.input[0]]
    match node.op_type:
        case "Conv":
            weight = net.parameters[node.input[1]].clamp(min=0)
            x = torch.ones_like(x) if node.input[0] == net.image else x
            message = r / (_conv(node, x, weight) + EPSILON)
            r = x * _transposed(node, message, weight, x.shape)
        case "Gemm":
            weight = net.parameters[node.input[1]].clamp(min=0)
            r = x * ((r / (x @ weight.T + EPSILON)) @ weight)
        case "GlobalAveragePool":
            size = x.shape[2] * x.shape[3]
            r = x * (r / (x.mean((2, 3), keepdim=True) + EPSILON)) / size
        case "MaxPool":
            message = r / (functional.avg_pool2d(x, 2) + EPSILON)
            r = x * message.repeat_interleave(2, 2).repeat_interleave(2, 3) / 4
        case "Flatten":
            r = r.reshape(x.shape)
    return (r,)


def _split(net: Net, method: Method, node: NodeProto, r: Tensor) -> tuple[Tensor, Tensor]:
    """Share relevance between the branch (first input) and the skip (second).

    A skip that is the block's own input, a Relu, is an identity skip.
    """
    made = {other.output[0]: other.op_type for other in net.nodes}
    branch, skip = (net.values[i].abs() for i in node.input)
    if not method.identity and made[node.input[1]] in {"Relu", "MaxPool"}:
        return r, torch.zeros_like(r)
    half = torch.full_like(r, 0.5)
    if method.split == "symmetric":
        return r * half, r * half
    total = branch + skip
    rho = torch.where(total > 0, branch / total, half)
    return r * rho, r * (1 - rho)


def _window(node: NodeProto) -> tuple[list[int], list[int], list[int]]:
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return found["kernel_shape"], found["strides"], found["pads"][:2]


def _conv(node: NodeProto, x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    _, stride, padding = _window(node)
    return functional.conv2d(x, weight, bias, stride, padding)


def _transposed(node: NodeProto, s: Tensor, weight: Tensor, shape: torch.Size) -> Tensor:
    _, stride, padding = _window(node)
    return torch.nn.grad.conv2d_input(shape, weight, s, stride, padding)
