"""The networks that are measured: published shapes with random weights, and small ones."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from models import builders, transformer
from models.convnext import convnext
from models.densenet import densenet121
from models.lstm import lstm
from models.mobilenet import mobilenet_v2

Spec = Mapping[str, Any]
"""An input as JSON: `name`, `shape` with "N" for the batch, `dtype`, `high` of integers."""


def _vit(*, bias: bool = True) -> ModelProto:  # noqa: ARG001 - transformers have biases
    return transformer.vit(size=transformer.VIT_B16)


def _bert(*, bias: bool = True) -> ModelProto:  # noqa: ARG001
    return transformer.bert(size=transformer.BERT_BASE)


NETS: dict[str, Callable[..., ModelProto]] = {
    "vgg16": builders.vgg16,
    "resnet50": builders.resnet50,
    "mobilenet_v2": mobilenet_v2,
    "densenet121": densenet121,
    "convnext_t": convnext,
    "vit_b16": _vit,
    "bert_base": _bert,
    "lstm": lstm,
    "mlp": builders.mlp,
    "small_cnn": builders.small_cnn,
    "mixed_cnn": builders.mixed_cnn,
    "resnet18": builders.resnet18,
    "cnn_1d": builders.cnn_1d,
}
SMALL = ("mlp", "small_cnn", "mixed_cnn", "resnet18", "cnn_1d")
LARGE = ("vgg16", "resnet50")
PUBLISHED = tuple(name for name in NETS if name not in SMALL)
"""Those of published shapes; `LARGE` are the ones that conserve without biases."""

LENGTH = 128
"""Tokens where the length is symbolic."""

VOCABULARY = 1000
"""Token ids are drawn below it."""


def build(name: str, *, bias: bool = True) -> ModelProto:
    """Build a network by name; transformers have biases in any case."""
    return NETS[name](bias=bias)


def embedded(name: str, plain: ModelProto) -> ModelProto:
    """Return the network for peers: BERT with words already embedded, else the network itself."""
    if name != "bert_base":
        return plain
    return transformer.bert(size=transformer.BERT_BASE, embedded=True)


def first_classes(plain: ModelProto, count: int) -> ModelProto:
    """Return the network with its first outputs only, for peers that explain every class."""
    model = ModelProto()
    model.CopyFrom(plain)
    graph = model.graph
    name = graph.output[0].name
    for key, value in (("few.start", 0), ("few.end", count), ("few.axis", 1)):
        graph.initializer.append(numpy_helper.from_array(np.array([value]), key))
    inputs = [name, "few.start", "few.end", "few.axis"]
    graph.node.append(helper.make_node("Slice", inputs, ["few"], name="few"))
    graph.output[0].name = "few"
    graph.output[0].type.tensor_type.shape.dim[1].dim_value = count
    return model


def half(plain: ModelProto) -> ModelProto:
    """Return the network in float16 with float32 inputs and outputs, by ONNX Runtime's converter.

    The converter appends the Casts of inputs behind the nodes that read them: they go first.
    """
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = ModelProto()
    copy.CopyFrom(plain)
    found: ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    given = {info.name for info in found.graph.input}
    nodes = sorted(
        found.graph.node, key=lambda n: not (n.op_type == "Cast" and n.input[0] in given)
    )
    del found.graph.node[:]
    found.graph.node.extend(nodes)
    return found


def image_shape(model: ModelProto, batch: int) -> list[int]:
    """Return the shape of the first input for a batch."""
    dims = model.graph.input[0].type.tensor_type.shape.dim
    return [batch, *(dim.dim_value for dim in dims[1:])]


def specs(model: ModelProto) -> list[dict[str, Any]]:
    """Return what is fed to a network of this file: noise, token ids, masks of ones."""
    return [
        {
            "name": info.name,
            "shape": [
                _size(dim.dim_param, dim.dim_value) for dim in info.type.tensor_type.shape.dim
            ],
            "dtype": "int64" if _is_integer(info.type.tensor_type.elem_type) else "float32",
            "high": 0 if "mask" in info.name else VOCABULARY,
        }
        for info in model.graph.input
    ]


def draw(spec: Spec, batch: int) -> NDArray[Any]:
    """Draw an input, equal in every process; integers up to `high` 0 are ones."""
    shape = [batch if size == "N" else size for size in spec["shape"]]
    rng = np.random.default_rng(0)
    if spec["dtype"] != "int64":
        return rng.standard_normal(shape, dtype=np.float32).astype(spec["dtype"])
    return rng.integers(0, spec["high"], shape) if spec["high"] else np.ones(shape, np.int64)


def _size(symbol: str, value: int) -> int | str:
    if symbol == "L":
        return LENGTH
    return "N" if symbol else value


def _is_integer(kind: int) -> bool:
    return kind in {TensorProto.INT32, TensorProto.INT64}
