"""Operators of transformers and recurrent networks for `TorchNet`: functions and modules."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from onnx import NodeProto, TensorProto, helper
from torch import Tensor, nn

__all__ = ["MODULES", "Function", "attributes_of", "merged"]

Attributes = Mapping[str, Any]
Parameters = Mapping[str, Tensor]


def attributes_of(node: NodeProto) -> dict[str, Any]:
    """Return the attributes of a node."""
    return {item.name: helper.get_attribute_value(item) for item in node.attribute}


class Function:
    """An operator without parameters of its own; constant inputs are kept in their places.

    It is no module, as functions in a forward pass are none: captum refuses modules that it does
    not know.
    """

    def __init__(self, node: NodeProto, parameters: Parameters) -> None:
        self._function = FUNCTIONS[node.op_type]
        self._attributes = attributes_of(node)
        self._constants = [parameters.get(name) for name in node.input]

    def __call__(self, like: Tensor, *live: Tensor) -> Tensor:
        """Return the output; floating-point constants get the type and device of `like`."""
        self._constants = [_alike(value, like) for value in self._constants]
        rest = iter(live)
        inputs = [next(rest) if value is None else value for value in self._constants]
        return self._function({**self._attributes, "like": like}, *inputs)


def _alike(value: Tensor | None, like: Tensor) -> Tensor | None:
    return value if value is None or not value.is_floating_point() else value.to(like)


def _reshape(_: Attributes, x: Tensor, shape: Tensor) -> Tensor:
    sizes = [x.shape[k] if size == 0 else size for k, size in enumerate(shape.tolist())]
    return x.reshape(sizes)


def _gather(a: Attributes, x: Tensor, index: Tensor) -> Tensor:
    axis = a.get("axis", 0)
    if index.ndim == 0:
        return x.select(axis, int(index))
    if axis == 0 and x.is_floating_point():
        return nn.functional.embedding(index.to(x.device), x)
    flat = x.index_select(axis, index.flatten().to(x.device))
    return flat.unflatten(axis, index.shape) if index.ndim > 1 else flat


def _slice(_: Attributes, x: Tensor, start: Tensor, end: Tensor, axes: Tensor) -> Tensor:
    for low, high, axis in zip(start.tolist(), end.tolist(), axes.tolist(), strict=True):
        x = x.narrow(axis, low, min(high, x.shape[axis]) - low)
    return x


def _shape(a: Attributes, x: Tensor) -> Tensor:
    return torch.tensor(x.shape[a.get("start", 0) : a.get("end", x.ndim)])


def _unsqueeze(_: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    for axis in axes.tolist():
        x = x.unsqueeze(axis)
    return x


def _squeeze(_: Attributes, x: Tensor, axes: Tensor) -> Tensor:
    return x.squeeze(tuple(axes.tolist()))


def _cast(a: Attributes, x: Tensor) -> Tensor:
    return x.to(a["like"].dtype) if a["to"] == TensorProto.FLOAT else x.long()


def _zeros(a: Attributes, shape: Tensor) -> Tensor:
    return a["like"].new_zeros(shape.tolist())


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda _, x, y: x + y,
    "Cast": _cast,
    "Concat": lambda a, *parts: torch.cat(parts, a["axis"]),
    "ConstantOfShape": _zeros,
    "Div": lambda _, x, y: x / y,
    "Expand": lambda _, x, shape: x.expand(shape.tolist()),
    "Flatten": lambda _, x: x.flatten(1),
    "Gather": _gather,
    "MatMul": lambda _, x, y: x @ y,
    "Mul": lambda _, x, y: x * y,
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Squeeze": _squeeze,
    "Sub": lambda _, x, y: x - y,
    "Transpose": lambda a, x: x.permute(*a["perm"]),
    "Unsqueeze": _unsqueeze,
}


class _Recurrent(nn.Module):
    """ONNX's LSTM of one direction by torch's, which orders the gates i, f, g, o."""

    def __init__(self, w: Tensor, r: Tensor, b: Tensor | None) -> None:
        super().__init__()
        self.cell = nn.LSTM(w.shape[-1], r.shape[-1], bias=b is not None)
        values = {"weight_ih_l0": w[0], "weight_hh_l0": r[0]}
        if b is not None:
            values |= dict(zip(("bias_ih_l0", "bias_hh_l0"), b[0].chunk(2), strict=True))
        for name, value in values.items():
            i, o, f, c = value.chunk(4)
            setattr(self.cell, name, nn.Parameter(torch.cat([i, f, c, o])))

    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> Tensor:
        """Return the state after each turn, `[L, 1, N, H]`."""
        return self.cell(x, (h, c))[0].unsqueeze(1)


def _lstm(node: NodeProto, parameters: Parameters, _: int) -> nn.Module:
    return _Recurrent(*(parameters.get(name) for name in node.input[1:4]))


def _layer_norm(node: NodeProto, parameters: Parameters, _: int) -> nn.Module:
    scale = parameters[node.input[1]]
    module = nn.LayerNorm(len(scale), eps=attributes_of(node)["epsilon"])
    module.weight = nn.Parameter(scale.clone())
    shift = parameters[node.input[2]] if len(node.input) > 2 else torch.zeros_like(scale)
    module.bias = nn.Parameter(shift.clone())
    return module


def _dense(node: NodeProto, parameters: Parameters, _: int) -> nn.Module:
    weight, *bias = (parameters[name] for name in node.input[1:])
    module = nn.Linear(*weight.shape, bias=bool(bias), device="meta")
    module.weight = nn.Parameter(weight.T.contiguous())
    if bias:
        module.bias = nn.Parameter(bias[0].clone())
    return module


def _clip(node: NodeProto, parameters: Parameters, _: int) -> nn.Module:
    bounds = [float(parameters[name]) for name in node.input[1:]]
    if bounds != [0, 6]:
        raise ValueError(f"node {node.name!r} clips to {bounds}, not to [0, 6]")
    return nn.ReLU6()


MODULES: dict[str, Callable[[NodeProto, Parameters, int], nn.Module]] = {
    "Clip": _clip,
    "Dense": _dense,
    "Gelu": lambda *_: nn.GELU(),
    "LSTM": _lstm,
    "LayerNormalization": _layer_norm,
    "Softmax": lambda node, *_: nn.Softmax(attributes_of(node)["axis"]),
    "Tanh": lambda *_: nn.Tanh(),
}


def merged(nodes: Sequence[NodeProto], parameters: Parameters) -> list[NodeProto]:
    """Return the nodes with the modules that torch has: MatMul (and Add): `Dense`, Erf: `Gelu`."""
    readers: dict[str, list[NodeProto]] = {}
    for node in nodes:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    makers = {node.output[0]: node for node in nodes}
    found: dict[str, NodeProto] = {}
    gone: set[str] = set()
    for node in nodes:
        if node.op_type == "Erf":
            *parts, last = _gelu(node, makers, readers)
            source = next(x for x in makers[node.input[0]].input if x not in parameters)
            new = helper.make_node("Gelu", [source], list(last.output), name=last.name)
        elif node.op_type == "MatMul" and node.input[1] in parameters:
            *parts, last = _biased(node, parameters, readers)
            bias = [x for x in last.input if x in parameters] if parts else []
            new = helper.make_node("Dense", [*node.input, *bias], list(last.output), name=last.name)
        else:
            continue
        gone |= {part.name for part in parts}
        found[last.name] = new
    return [found.get(node.name, node) for node in nodes if node.name not in gone]


def _gelu(
    node: NodeProto, makers: Mapping[str, NodeProto], readers: Mapping[str, list[NodeProto]]
) -> list[NodeProto]:
    """Div, Erf, Add, Mul, Mul."""
    parts = [makers[node.input[0]], node]
    for _ in range(3):
        parts.append(readers[parts[-1].output[0]][0])
    return parts


def _biased(
    node: NodeProto, parameters: Parameters, readers: Mapping[str, list[NodeProto]]
) -> list[NodeProto]:
    """A product, and the Add of a constant that alone reads it."""
    following = readers.get(node.output[0], [])
    constant = len(following) == 1 and any(name in parameters for name in following[0].input)
    return [node, following[0]] if constant and following[0].op_type == "Add" else [node]
