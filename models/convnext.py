"""ConvNeXt-T with random weights, as an ONNX model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

from models.writer import Writer

__all__ = ["ConvNeXt", "convnext"]

NORM_EPSILON = 1e-6
LAYER_SCALE = 0.3
"""Trained values lie between 0.01 and 1; published networks start at 1e-6."""


@dataclass(frozen=True, kw_only=True)
class ConvNeXt:
    """Blocks and channels of each stage."""

    blocks: tuple[int, ...] = (3, 3, 9, 3)
    channels: tuple[int, ...] = (96, 192, 384, 768)


TINY = ConvNeXt()
"""The published ConvNeXt-T, 29 M parameters."""


def convnext(
    *,
    shape: ConvNeXt = TINY,
    size: int = 224,
    classes: int = 1000,
    bias: bool = True,
    seed: int = 0,
) -> ModelProto:
    """ConvNeXt: 7x7 depthwise convolutions, LayerNormalization over channels, Gelu by Erf.

    As exporters write it: Transpose to channels-last and back around every norm and MLP, whose
    dense layers are MatMul and Add.
    """
    w = _Writer((3, size, size), bias=bias, seed=seed)
    x = w.norm_2d(w.patches(w.image, "stem", shape.channels[0], 4), "stem.norm")
    for k, (count, channels) in enumerate(zip(shape.blocks, shape.channels, strict=True)):
        if k:
            x = w.patches(w.norm_2d(x, f"down{k}.norm"), f"down{k}", channels, 2)
        for j in range(count):
            x = w.block(x, f"stage{k}.{j}")
    x = w.flatten(w.norm_2d(w.global_average_pool(x, "avgpool"), "norm"))
    return w.model(w.gemm(x, "head", classes), "convnext")


class _Writer(Writer):
    """The layers that only this family has."""

    def patches(self, x: str, name: str, channels: int, side: int) -> str:
        """A convolution whose windows do not overlap."""
        return self.conv(x, name, channels, side, stride=side, pad=0)

    def block(self, x: str, name: str) -> str:
        """The sum x + scale * MLP(norm(depthwise(x)))."""
        channels = self.shapes[x][0]
        y = self.conv(x, f"{name}.depthwise", channels, 7, group=channels)
        y = self.norm(self.turned(y, f"{name}.last", (0, 2, 3, 1)), f"{name}.norm")
        y = self.dense(y, f"{name}.up", 4 * channels)
        y = self.dense(self.gelu(y, f"{name}.gelu"), f"{name}.down", channels)
        y = self.turned(y, f"{name}.first", (0, 3, 1, 2))
        scale = self._constant(f"{name}.scale", np.full((channels, 1, 1), LAYER_SCALE))
        y = self._add_node("Mul", f"{name}.scaled", [scale, y], self.shapes[y])
        return self.add(f"{name}.add", y, x)

    def norm_2d(self, x: str, name: str) -> str:
        """A norm over the channels of `[N, C, H, W]`."""
        y = self.norm(self.turned(x, f"{name}.last", (0, 2, 3, 1)), name)
        return self.turned(y, f"{name}.first", (0, 3, 1, 2))

    def turned(self, x: str, name: str, perm: Sequence[int]) -> str:
        """The axes in another order."""
        shape = tuple(self.shapes[x][axis - 1] for axis in perm[1:])
        return self._add_node("Transpose", name, [x], shape, perm=list(perm))

    def norm(self, x: str, name: str) -> str:
        """LayerNormalization over the last axis."""
        channels = self.shapes[x][-1]
        parameters = [self._constant(f"{name}.scale", self._rng.uniform(0.6, 1.4, channels))]
        if self.bias:
            parameters.append(self._normal(f"{name}.shift", (channels,), 0.1))
        return self._add_node(
            "LayerNormalization",
            name,
            [x, *parameters],
            self.shapes[x],
            axis=-1,
            epsilon=NORM_EPSILON,
        )

    def dense(self, x: str, name: str, features: int) -> str:
        """MatMul and Add over the last axis."""
        *lead, inner = self.shapes[x]
        weight = self._he(f"{name}.weight", (inner, features), fan_in=inner)
        product = f"{name}.product" if self.bias else name
        y = self._add_node("MatMul", product, [x, weight], (*lead, features))
        if not self.bias:
            return y
        bias = self._normal(f"{name}.bias", (features,), 0.1)
        return self._add_node("Add", name, [bias, y], self.shapes[y])

    def gelu(self, x: str, name: str) -> str:
        """Gelu, x / 2 (1 + erf(x / sqrt 2)), as primitives."""
        root, one, half = (
            self._constant(f"gelu.{key}", np.array(value))
            for key, value in (("root", np.sqrt(2)), ("one", 1.0), ("half", 0.5))
        )
        shape = self.shapes[x]
        part = self._add_node("Div", f"{name}.arg", [x, root], shape)
        part = self._add_node("Erf", f"{name}.erf", [part], shape)
        part = self._add_node("Add", f"{name}.sum", [part, one], shape)
        part = self._add_node("Mul", f"{name}.product", [x, part], shape)
        return self._add_node("Mul", name, [part, half], shape)

    def _constant(self, name: str, value: np.ndarray) -> str:
        self.parameters[name] = value.astype(np.float32)
        return name
