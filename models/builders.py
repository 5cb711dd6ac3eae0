"""Networks of known families with random weights, or with given ones, as ONNX models.

Every builder takes `bias` (False: no additive term anywhere), `seed` and `weights` (parameters by
name, for trained networks); those with batch norm take `bn` ("none", "fold" or "keep"). The input
is `image` with batch axis "N", the output `logits [N, classes]`, without softmax.
"""

from collections.abc import Mapping, Sequence

from onnx import ModelProto

from models.writer import Array, BatchNorm, Writer

VGG16 = (1, 1, "M", 2, 2, "M", 4, 4, 4, "M", 8, 8, 8, "M", 8, 8, 8, "M")
BRANCH_GAIN = 0.5  # keeps the sum of many residual branches near unit scale


def mlp(
    inputs: Sequence[int] = (16,),
    hidden: Sequence[int] = (32, 32),
    *,
    classes: int = 10,
    bias: bool = True,
    seed: int = 0,
    weights: Mapping[str, Array] | None = None,
) -> ModelProto:
    """Dense layers with Relu between them; inputs with more than one axis are flattened."""
    w = Writer(inputs, bias=bias, seed=seed, weights=weights)
    x = w.image if len(inputs) == 1 else w.flatten(w.image)
    for k, features in enumerate(hidden):
        x = w.relu(w.gemm(x, f"fc{k + 1}", features))
    return w.model(w.gemm(x, "head", classes), "mlp")


def small_cnn(
    *,
    size: int = 20,
    channels: int = 3,
    width: int = 8,
    classes: int = 5,
    bias: bool = True,
    bn: BatchNorm = "none",
    seed: int = 0,
    weights: Mapping[str, Array] | None = None,
) -> ModelProto:
    """Four convolutions (padded, strided), max and average pooling and two dense layers."""
    w = Writer((channels, size, size), bias=bias, bn=bn, seed=seed, weights=weights)
    x = w.relu(w.conv_bn(w.image, "conv1", width))
    x = w.relu(w.conv_bn(x, "conv2", width))
    x = w.max_pool(x, "pool1", 2, stride=2)
    x = w.relu(w.conv_bn(x, "conv3", 2 * width, 5, stride=2))
    x = w.average_pool(x, "pool2", 3, stride=1, pad=1)
    x = w.relu(w.conv_bn(x, "conv4", 2 * width))
    x = w.relu(w.gemm(w.flatten(x), "fc1", 4 * width))
    return w.model(w.gemm(x, "head", classes), "small_cnn")


def vgg(
    plan: Sequence[int | str] = VGG16,
    dense: Sequence[int] = (4096, 4096),
    *,
    shape: Sequence[int] = (3, 224, 224),
    width: int = 64,
    classes: int = 1000,
    bias: bool = True,
    bn: BatchNorm = "none",
    seed: int = 0,
    weights: Mapping[str, Array] | None = None,
) -> ModelProto:
    """3x3 convolutions of `width` times the numbers of `plan`, "M" a 2x2 max pool, dense layers."""
    w = Writer(shape, bias=bias, bn=bn, seed=seed, weights=weights)
    x, stage, k = w.image, 1, 0
    for step in plan:
        if step == "M":
            x = w.max_pool(x, f"pool{stage}", 2, stride=2)
            stage, k = stage + 1, 0
        else:
            k += 1
            x = w.relu(w.conv_bn(x, f"conv{stage}_{k}", width * int(step)))
    x = w.flatten(x)
    for k, features in enumerate(dense):
        x = w.relu(w.gemm(x, f"fc{k + 1}", features))
    return w.model(w.gemm(x, "head", classes), "vgg")


def vgg16(
    *,
    size: int = 224,
    width: int = 64,
    classes: int = 1000,
    bias: bool = True,
    bn: BatchNorm = "none",
    seed: int = 0,
) -> ModelProto:
    """VGG16's shape; 138 M parameters at width 64 and 224 pixels."""
    dense = (64 * width, 64 * width)
    shape = (3, size, size)
    return vgg(VGG16, dense, shape=shape, width=width, classes=classes, bias=bias, bn=bn, seed=seed)


def resnet(
    blocks: Sequence[int],
    *,
    bottleneck: bool = False,
    stem: int = 7,
    shape: Sequence[int] = (3, 224, 224),
    width: int = 64,
    classes: int = 1000,
    bias: bool = True,
    bn: BatchNorm = "none",
    seed: int = 0,
    weights: Mapping[str, Array] | None = None,
) -> ModelProto:
    """Stem, stages of residual blocks of doubling width, global average, one dense layer.

    The stem is a strided `stem` x `stem` convolution and a 3/2/1 max pool (7: as published), or,
    for 3, an unstrided convolution and the max pool, or, for 1, an unstrided 3x3 convolution alone.
    """
    w = Writer(shape, bias=bias, bn=bn, seed=seed, weights=weights)
    x = w.relu(w.conv_bn(w.image, "conv1", width, max(stem, 3), stride=2 if stem > 3 else 1))
    if stem > 1:
        x = w.max_pool(x, "pool1", 3, stride=2, pad=1)
    block = _bottleneck if bottleneck else _basic_block
    for stage, count in enumerate(blocks):
        for k in range(count):
            stride = 2 if stage and not k else 1
            x = block(w, x, f"layer{stage + 1}.{k}", width * 2**stage, stride)
    x = w.flatten(w.global_average_pool(x, "avgpool"))
    return w.model(w.gemm(x, "head", classes), "resnet")


def resnet18(
    *,
    size: int = 32,
    width: int = 8,
    classes: int = 10,
    bias: bool = True,
    bn: BatchNorm = "none",
    seed: int = 0,
) -> ModelProto:
    """A small BasicBlock network of ResNet-18's depth."""
    shape = (3, size, size)
    return resnet(
        (2, 2, 2, 2),
        stem=3,
        shape=shape,
        width=width,
        classes=classes,
        bias=bias,
        bn=bn,
        seed=seed,
    )


def resnet50(
    *,
    size: int = 224,
    width: int = 64,
    classes: int = 1000,
    bias: bool = True,
    bn: BatchNorm = "fold",
    seed: int = 0,
) -> ModelProto:
    """ResNet-50's shape, stride at the 3x3 convolution; 26 M parameters at width 64."""
    shape = (3, size, size)
    return resnet(
        (3, 4, 6, 3),
        bottleneck=True,
        shape=shape,
        width=width,
        classes=classes,
        bias=bias,
        bn=bn,
        seed=seed,
    )


def cnn_1d(
    *,
    length: int = 64,
    channels: int = 2,
    width: int = 8,
    classes: int = 4,
    bias: bool = True,
    bn: BatchNorm = "none",
    seed: int = 0,
) -> ModelProto:
    """1-D convolutions over a signal, max and global average pooling."""
    w = Writer((channels, length), bias=bias, bn=bn, seed=seed)
    x = w.relu(w.conv_bn(w.image, "conv1", width, 7, stride=2))
    x = w.max_pool(x, "pool1", 3, stride=2, pad=1)
    x = w.relu(w.conv_bn(x, "conv2", 2 * width, 5))
    x = w.relu(w.conv(x, "conv3", 2 * width, 3, dilation=2))
    x = w.flatten(w.global_average_pool(x, "avgpool"))
    return w.model(w.gemm(x, "head", classes), "cnn_1d")


def mixed_cnn(
    *, size: int = 17, width: int = 8, classes: int = 4, bias: bool = True, seed: int = 0
) -> ModelProto:
    """Grouped, depthwise, dilated, strided and transposed convolutions on odd sizes."""
    w = Writer((3, size, size), bias=bias, seed=seed)
    x = w.relu(w.conv(w.image, "conv1", width, 3, stride=2))
    x = w.relu(w.conv(x, "grouped", 2 * width, 3, group=2))
    x = w.relu(w.conv(x, "depthwise", 2 * width, 3, group=2 * width))
    x = w.relu(w.conv(x, "dilated", width, 3, dilation=2))
    x = w.relu(w.conv_transpose(x, "up1", width, 4, stride=2))
    x = w.relu(w.conv_transpose(x, "up2", width, 3, group=4))
    x = w.relu(w.conv(x, "conv2", width, 3, stride=3, pad=0))
    x = w.average_pool(x, "pool1", 2, stride=2)
    return w.model(w.gemm(w.flatten(x), "head", classes), "mixed_cnn")


def _basic_block(w: Writer, x: str, name: str, channels: int, stride: int) -> str:
    y = w.relu(w.conv_bn(x, f"{name}.conv1", channels, stride=stride))
    y = w.conv_bn(y, f"{name}.conv2", channels, gain=BRANCH_GAIN)
    return _residual(w, x, y, name, stride)


def _bottleneck(w: Writer, x: str, name: str, channels: int, stride: int) -> str:
    y = w.relu(w.conv_bn(x, f"{name}.conv1", channels, 1))
    y = w.relu(w.conv_bn(y, f"{name}.conv2", channels, stride=stride))
    y = w.conv_bn(y, f"{name}.conv3", 4 * channels, 1, gain=BRANCH_GAIN)
    return _residual(w, x, y, name, stride)


def _residual(w: Writer, x: str, y: str, name: str, stride: int) -> str:
    if w.shapes[x] != w.shapes[y]:
        x = w.conv_bn(x, f"{name}.downsample", w.shapes[y][0], 1, stride=stride)
    return w.relu(w.add(f"{name}.add", y, x))
