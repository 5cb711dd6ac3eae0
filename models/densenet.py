"""DenseNet-121 with random weights, as an ONNX model."""

from onnx import ModelProto

from models.writer import Writer

__all__ = ["densenet121"]

BLOCKS = (6, 12, 24, 16)
BOTTLENECK = 4
"""Channels of the 1x1 convolution per channel that a layer adds."""


def densenet121(
    *,
    size: int = 224,
    growth: int = 32,
    classes: int = 1000,
    bias: bool = True,
    seed: int = 0,
) -> ModelProto:
    """DenseNet-121's shape; 8 M parameters at growth 32.

    As exporters write it for inference: a batch norm behind a convolution is folded into it, one
    behind a Concat stays a node, and every layer concatenates all features before it.
    """
    w = Writer((3, size, size), bias=bias, bn="fold", seed=seed)
    x = w.relu(w.conv_bn(w.image, "stem", 2 * growth, 7, stride=2))
    x = w.max_pool(x, "pool0", 3, stride=2, pad=1)
    for k, count in enumerate(BLOCKS):
        x = _dense_block(w, x, f"block{k + 1}", count, growth)
        if k < len(BLOCKS) - 1:
            x = _transition(w, x, f"transition{k + 1}")
    x = w.relu(w.batch_norm(x, "norm"))
    x = w.flatten(w.global_average_pool(x, "avgpool"))
    return w.model(w.gemm(x, "head", classes), "densenet121")


def _dense_block(w: Writer, x: str, name: str, count: int, growth: int) -> str:
    features = [x]
    for k in range(count):
        layer = f"{name}.layer{k + 1}"
        y = x if k == 0 else w.concat(f"{layer}.concat", features)
        y = w.relu(w.batch_norm(y, f"{layer}.norm1"))
        y = w.relu(w.conv_bn(y, f"{layer}.conv1", BOTTLENECK * growth, 1))
        features.append(w.conv(y, f"{layer}.conv2", growth, 3, bias=False))
    return w.concat(f"{name}.concat", features)


def _transition(w: Writer, x: str, name: str) -> str:
    y = w.relu(w.batch_norm(x, f"{name}.norm"))
    y = w.conv(y, f"{name}.conv", w.shapes[y][0] // 2, 1, bias=False)
    return w.average_pool(y, f"{name}.pool", 2, stride=2)
