"""MobileNetV2 with random weights, as an ONNX model."""

from onnx import ModelProto

from models.writer import BatchNorm, Writer

__all__ = ["mobilenet_v2"]

STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, channels, blocks, stride of the first block (Sandler et al. 2018, table 2)."""

LINEAR_GAIN = 0.5
"""Of a projection that no Relu follows and that residual sums add up."""


def mobilenet_v2(
    *,
    size: int = 224,
    width: float = 1.0,
    classes: int = 1000,
    bias: bool = True,
    bn: BatchNorm = "fold",
    seed: int = 0,
) -> ModelProto:
    """MobileNetV2's shape: depthwise convolutions, Relu6 as Clip; 3.5 M parameters at width 1."""
    w = Writer((3, size, size), bias=bias, bn=bn, seed=seed)
    x = w.relu6(w.conv_bn(w.image, "stem", _channels(32, width), 3, stride=2))
    number = 0
    for expansion, channels, count, stride in STAGES:
        for k in range(count):
            step = stride if k == 0 else 1
            x = _block(w, x, f"block{number}", (expansion, _channels(channels, width), step))
            number += 1
    x = w.relu6(w.conv_bn(x, "last", _channels(1280, max(width, 1.0)), 1))
    x = w.flatten(w.global_average_pool(x, "avgpool"))
    return w.model(w.gemm(x, "head", classes), "mobilenet_v2")


def _block(w: Writer, x: str, name: str, plan: tuple[int, int, int]) -> str:
    """Expand, convolve each channel, project; the sum where shapes are equal."""
    expansion, channels, stride = plan
    inner, y = w.shapes[x][0] * expansion, x
    if expansion > 1:
        y = w.relu6(w.conv_bn(y, f"{name}.expand", inner, 1))
    y = w.relu6(w.conv_bn(y, f"{name}.depthwise", inner, 3, stride=stride, group=inner))
    y = w.conv_bn(y, f"{name}.project", channels, 1, gain=LINEAR_GAIN)
    return w.add(f"{name}.add", x, y) if w.shapes[x] == w.shapes[y] else y


def _channels(number: int, width: float) -> int:
    """A number of channels that 8 divides, as published."""
    scaled = number * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded
