"""Writes a feed-forward ONNX network node by node; parameters are seeded or given."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

OPSET = 21
IR_VERSION = 10
BN_EPSILON = 1e-5

BatchNorm = Literal["none", "fold", "keep"]
Array = NDArray[np.float32]


class Writer:
    """Collects nodes, parameters and shapes; a method per layer returns the name of its output.

    `bias=False` leaves out every additive term, those of batch norms included, so that relevance
    is conserved. `bn` says what follows a convolution of `conv_bn`: nothing, a
    BatchNormalization node, or the same one folded into the convolution. A network of one seed is
    the same function for "fold" and "keep". `weights` replaces drawn parameters by name.
    """

    def __init__(
        self,
        shape: Sequence[int],
        *,
        bias: bool = True,
        bn: BatchNorm = "none",
        seed: int = 0,
        weights: Mapping[str, Array] | None = None,
        image: str = "image",
    ) -> None:
        self.image = image
        self.bias = bias
        self.bn = bn
        self.nodes: list[NodeProto] = []
        self.parameters: dict[str, Array] = {}
        self.shapes: dict[str, tuple[int, ...]] = {image: tuple(shape)}
        self._rng = np.random.default_rng(seed)
        self._given = weights or {}

    def conv(
        self,
        x: str,
        name: str,
        channels: int,
        kernel: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        group: int = 1,
        pad: int | None = None,
        bias: bool | None = None,
    ) -> str:
        """Convolve, with "same" padding unless `pad` says otherwise."""
        inner, *size = self.shapes[x]
        rank = len(size)
        pad = dilation * (kernel - 1) // 2 if pad is None else pad
        weight = (channels, inner // group, *[kernel] * rank)
        parameters = [f"{name}.weight"]
        self._he(f"{name}.weight", weight, fan_in=int(np.prod(weight[1:])))
        if self.bias if bias is None else bias:
            parameters.append(self._normal(f"{name}.bias", (channels,), 0.1))
        out = [_pooled(n, kernel, stride, 2 * pad, dilation) for n in size]
        window = _window(rank, kernel, stride, pad, dilation)
        return self._add_node(
            "Conv", name, [x, *parameters], (channels, *out), group=group, **window
        )

    def conv_bn(
        self,
        x: str,
        name: str,
        channels: int,
        kernel: int = 3,
        *,
        gain: float = 1.0,
        stride: int = 1,
        group: int = 1,
    ) -> str:
        """Convolve, then normalise as `bn` says; `gain` scales the result."""
        bias = self.bias and self.bn == "none"
        y = self.conv(x, name, channels, kernel, stride=stride, group=group, bias=bias)
        weight = f"{name}.weight"
        if self.bn == "none":
            self._scale(weight, gain)
            return y
        parameters = self._batch_norm(f"{name}.bn", channels, gain)
        if self.bn == "keep":
            return self._normalise(y, f"{name}.bn", parameters)
        self._fold(weight, parameters)
        if self.bias:
            self.nodes[-1].input.append(f"{name}.bias")
        return y

    def conv_transpose(
        self, x: str, name: str, channels: int, kernel: int, *, stride: int = 1, group: int = 1
    ) -> str:
        """Convolve transposed, padded by half the surplus of the kernel over the stride."""
        inner, *size = self.shapes[x]
        rank = len(size)
        pad = (kernel - stride) // 2
        weight = (inner, channels // group, *[kernel] * rank)
        fan_in = inner // group * kernel**rank // stride**rank
        parameters = [self._he(f"{name}.weight", weight, fan_in=fan_in)]
        if self.bias:
            parameters.append(self._normal(f"{name}.bias", (channels,), 0.1))
        out = [(n - 1) * stride + kernel - 2 * pad for n in size]
        window = _window(rank, kernel, stride, pad, 1)
        return self._add_node(
            "ConvTranspose", name, [x, *parameters], (channels, *out), group=group, **window
        )

    def gemm(self, x: str, name: str, features: int) -> str:
        """Multiply rows by a dense weight `[features, inner]`."""
        (inner,) = self.shapes[x]
        parameters = [self._he(f"{name}.weight", (features, inner), fan_in=inner)]
        if self.bias:
            parameters.append(self._normal(f"{name}.bias", (features,), 0.1))
        return self._add_node("Gemm", name, [x, *parameters], (features,), transB=1)

    def batch_norm(self, x: str, name: str) -> str:
        """Normalise by itself: behind no convolution that it could be folded into."""
        return self._normalise(x, name, self._batch_norm(name, self.shapes[x][0], 1.0))

    def concat(self, name: str, parts: Sequence[str]) -> str:
        """Stack values by their channels."""
        channels = sum(self.shapes[part][0] for part in parts)
        shape = (channels, *self.shapes[parts[0]][1:])
        return self._add_node("Concat", name, parts, shape, axis=1)

    def relu6(self, x: str) -> str:
        """Clip to [0, 6]."""
        for name, bound in (("zero", 0.0), ("six", 6.0)):
            self.parameters[name] = np.array(bound, np.float32)
        return self._add_node("Clip", f"{x}.relu6", [x, "zero", "six"], self.shapes[x])

    def relu(self, x: str) -> str:
        """Rectify."""
        return self._add_node("Relu", f"{x}.relu", [x], self.shapes[x])

    def add(self, name: str, a: str, b: str) -> str:
        """Add two values of one shape."""
        return self._add_node("Add", name, [a, b], self.shapes[a])

    def flatten(self, x: str) -> str:
        """Flatten everything but the batch."""
        return self._add_node("Flatten", f"{x}.flat", [x], (int(np.prod(self.shapes[x])),), axis=1)

    def max_pool(self, x: str, name: str, kernel: int, *, stride: int, pad: int = 0) -> str:
        """Take the maximum of every window."""
        return self._pool("MaxPool", x, name, (kernel, stride, pad), {})

    def average_pool(self, x: str, name: str, kernel: int, *, stride: int, pad: int = 0) -> str:
        """Take the mean of every window; padding counts."""
        return self._pool("AveragePool", x, name, (kernel, stride, pad), {"count_include_pad": 1})

    def global_average_pool(self, x: str, name: str) -> str:
        """Take the mean over all positions, kept as axes of length one."""
        channels, *size = self.shapes[x]
        return self._add_node("GlobalAveragePool", name, [x], (channels, *[1] * len(size)))

    def model(self, output: str, name: str = "net") -> ModelProto:
        """Return the network `image [N, ...] -> logits [N, K]`."""
        self.nodes[-1].output[0] = "logits"
        graph = helper.make_graph(
            self.nodes,
            name,
            [_value(self.image, self.shapes[self.image])],
            [_value("logits", self.shapes[output])],
            [numpy_helper.from_array(array, key) for key, array in self.parameters.items()],
        )
        return helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="onnxlrp-models",
        )

    def _pool(
        self, op: str, x: str, name: str, window: tuple[int, int, int], extra: dict[str, int]
    ) -> str:
        channels, *size = self.shapes[x]
        kernel, stride, pad = window
        out = [_pooled(n, kernel, stride, 2 * pad) for n in size]
        attributes = _window(len(size), kernel, stride, pad) | extra
        return self._add_node(op, name, [x], (channels, *out), **attributes)

    def _add_node(
        self,
        op: str,
        name: str,
        inputs: Iterable[str],
        shape: tuple[int, ...],
        **attributes: Any,
    ) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        self.shapes[name] = shape
        return name

    def _parameter(self, name: str, drawn: NDArray[np.floating]) -> str:
        given = self._given.get(name, drawn)
        if given.shape != drawn.shape:
            raise ValueError(f"parameter {name!r} has shape {given.shape}, needs {drawn.shape}")
        self.parameters[name] = np.ascontiguousarray(given, dtype=np.float32)
        return name

    def _he(self, name: str, shape: tuple[int, ...], fan_in: int) -> str:
        drawn = self._rng.standard_normal(shape, dtype=np.float32)
        drawn *= np.float32(np.sqrt(2 / fan_in))
        return self._parameter(name, drawn)

    def _normal(self, name: str, shape: tuple[int, ...], deviation: float) -> str:
        return self._parameter(name, self._rng.normal(0, deviation, shape))

    def _scale(self, name: str, gain: float) -> None:
        if gain != 1.0 and name not in self._given:
            self.parameters[name] *= np.float32(gain)

    def _batch_norm(self, name: str, channels: int, gain: float) -> list[str]:
        rng = self._rng
        draws: list[tuple[str, Callable[[], NDArray[np.float64]]]] = [
            ("scale", lambda: gain * rng.uniform(0.5, 1.3, channels)),
            ("shift", lambda: self.bias * rng.normal(0, 0.1, channels)),
            ("mean", lambda: self.bias * rng.normal(0, 0.1, channels)),
            ("var", lambda: rng.uniform(0.5, 1.5, channels)),
        ]
        return [self._parameter(f"{name}.{key}", draw()) for key, draw in draws]

    def _normalise(self, x: str, name: str, parameters: Sequence[str]) -> str:
        inputs = [x, *parameters]
        return self._add_node(
            "BatchNormalization", name, inputs, self.shapes[x], epsilon=BN_EPSILON
        )

    def _fold(self, weight: str, names: Sequence[str]) -> None:
        w = self.parameters[weight].astype(np.float64)
        scale, shift, mean, var = (self.parameters.pop(k).astype(np.float64) for k in names)
        k = scale / np.sqrt(var + BN_EPSILON)
        self.parameters[weight] = (w * k.reshape(-1, *[1] * (w.ndim - 1))).astype(np.float32)
        if self.bias:
            bias = weight.removesuffix("weight") + "bias"
            self.parameters[bias] = (shift - mean * k).astype(np.float32)


def _pooled(n: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
    return (n + padding - dilation * (kernel - 1) - 1) // stride + 1


def _window(
    rank: int, kernel: int, stride: int, pad: int, dilation: int | None = None
) -> dict[str, list[int]]:
    window = {
        "kernel_shape": [kernel] * rank,
        "strides": [stride] * rank,
        "pads": [pad] * 2 * rank,
    }
    return window if dilation is None else window | {"dilations": [dilation] * rank}


def _value(name: str, shape: Sequence[int]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
