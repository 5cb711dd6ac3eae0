"""The networks that are measured: published shapes with random weights, and small ones."""

from collections.abc import Callable

from onnx import ModelProto

from models import builders

NETS: dict[str, Callable[..., ModelProto]] = {
    "vgg16": builders.vgg16,
    "resnet50": builders.resnet50,
    "mlp": builders.mlp,
    "small_cnn": builders.small_cnn,
    "mixed_cnn": builders.mixed_cnn,
    "resnet18": builders.resnet18,
    "cnn_1d": builders.cnn_1d,
}
LARGE = ("vgg16", "resnet50")
SMALL = tuple(name for name in NETS if name not in LARGE)


def build(name: str, *, bias: bool = True) -> ModelProto:
    """Build a network by name."""
    return NETS[name](bias=bias)


def image_shape(model: ModelProto, batch: int) -> list[int]:
    """Return the shape of the input for a batch."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return [batch, *(dim.dim_value for dim in dims[1:])]
