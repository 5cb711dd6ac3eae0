"""Networks of published shapes: parameters, valid graphs, scales; every preset compiles."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, shape_inference

from models.convnext import ConvNeXt, convnext
from models.densenet import densenet121
from models.lstm import Stack, lstm
from models.mobilenet import mobilenet_v2
from models.transformer import BERT_BASE, VIT_B16, Size, bert, vit
from onnxlrp import compile as compile_model
from tests.engine import Session

LEAST, MOST = 1e-2, 1e2
"""Standard deviation of every activation; attention weights are small by nature."""

SMALL: dict[str, Callable[..., ModelProto]] = {
    "mobilenet_v2": lambda **k: mobilenet_v2(size=64, width=0.25, classes=7, **k),
    "densenet121": lambda **k: densenet121(size=64, growth=8, classes=7, **k),
    "convnext": lambda **k: convnext(
        shape=ConvNeXt(blocks=(1, 2), channels=(8, 16)), size=32, classes=7, **k
    ),
    "lstm": lambda **k: lstm(size=Stack(steps=6, inputs=5, hidden=8), **k),
}
PRESETS = ("epsilon", "epsilon-plus", "epsilon-gamma-box", "epsilon-alpha2-beta1", "attnlrp")


def feed(model: ModelProto, batch: int) -> dict[str, np.ndarray]:
    (info,) = model.graph.input
    sizes = [dim.dim_value or batch for dim in info.type.tensor_type.shape.dim]
    return {info.name: np.random.default_rng(0).normal(size=sizes).astype(np.float32)}


def with_every_value(model: ModelProto) -> ModelProto:
    """The model with every activation as an output."""
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    known = {info.name for info in model.graph.output}
    model.graph.output.extend(
        info
        for info in inferred.graph.value_info
        if info.name not in known and info.type.tensor_type.elem_type == TensorProto.FLOAT
    )
    return model


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("bias", [True, False])
def test_is_valid_and_sane(name: str, bias: bool) -> None:
    model = SMALL[name](bias=bias, seed=1)
    onnx.checker.check_model(model, full_check=True)
    assert (model.ir_version, model.opset_import[0].version) == (10, 21)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    found = Session(with_every_value(model))(feed(model, 2))
    constant = {"state"}  # the zeros that an LSTM starts with
    for value, array in found.items():
        if array.size > 1 and value not in constant:
            assert np.isfinite(array).all(), value
            assert LEAST < array.std() < MOST, value


@pytest.mark.parametrize("name", SMALL)
def test_batch_of_two_is_two_singles(name: str) -> None:
    model = SMALL[name]()
    run, inputs = Session(model), feed(model, 2)
    both = run(inputs)["logits"]
    for k in range(2):
        single = run({key: array[k : k + 1] for key, array in inputs.items()})["logits"]
        assert np.abs(single - both[k : k + 1]).max() <= 1e-5 * np.abs(both).max()


@pytest.mark.parametrize("name", SMALL)
def test_same_seed_same_bytes(name: str) -> None:
    first, again, other = (SMALL[name](seed=s).SerializeToString() for s in (1, 1, 2))
    assert first == again
    assert first != other


@pytest.mark.parametrize("name", SMALL)
def test_without_biases(name: str) -> None:
    names = [tensor.name for tensor in SMALL[name](bias=False).graph.initializer]
    assert not [name for name in names if name.endswith(("bias", ".B"))]


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", SMALL)
def test_every_preset(name: str, preset: str) -> None:
    model = SMALL[name]()
    inputs = feed(model, 2)
    found = Session(compile_model(model, composite=preset, target=1).model)(inputs)
    (source,) = inputs
    relevance = found[f"relevance/{source}"]
    assert relevance.shape == inputs[source].shape
    assert np.isfinite(relevance).all()
    assert np.abs(relevance).max() > 0


def parameters(model: ModelProto) -> int:
    kept = [t for t in model.graph.initializer if t.data_type == TensorProto.FLOAT and t.dims]
    return sum(int(np.prod(t.dims)) for t in kept)


def test_parameters_mobilenet_v2() -> None:
    """3,504,872 as published; of each batch norm's scale and shift one bias is left."""
    assert parameters(mobilenet_v2()) == 3_504_872 - batch_norm_channels(mobilenet_v2())


def test_parameters_densenet121() -> None:
    """7,978,856 as published; norms that stay hold a mean and a variance besides."""
    model = densenet121()
    folded = batch_norm_channels(model)
    norms = [node for node in model.graph.node if node.op_type == "BatchNormalization"]
    sizes = {tensor.name: tensor.dims[0] for tensor in model.graph.initializer if tensor.dims}
    statistics = sum(2 * sizes[node.input[1]] for node in norms)
    assert parameters(model) == 7_978_856 - folded + statistics


def batch_norm_channels(model: ModelProto) -> int:
    """Channels whose norm is folded: the biases of convolutions."""
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    sizes = {tensor.name: tensor.dims for tensor in model.graph.initializer}
    return sum(sizes[node.input[2]][0] for node in convolutions if len(node.input) > 2)


def test_parameters_convnext_t() -> None:
    """28,589,128 as published."""
    assert parameters(convnext()) == 28_589_128


def test_parameters_lstm() -> None:
    assert parameters(lstm()) == (
        4 * 256 * (128 + 256 + 2) + 4 * 256 * (256 + 256 + 2) + 10 * (256 + 1)
    )


def count_transformer(size: Size) -> int:
    """Parameters of the blocks by hand: four dense layers, the MLP, two norms."""
    width, hidden = size.width, size.hidden
    block = 4 * width * (width + 1) + (width + 1) * hidden + (hidden + 1) * width + 4 * width
    return size.depth * block


@pytest.mark.parametrize(("size", "published"), [(VIT_B16, 86_567_656), (BERT_BASE, 109_483_778)])
def test_parameters_of_transformers(size: Size, published: int) -> None:
    """ViT-B/16 as torchvision states it; BERT-base with a head of two classes as transformers does.

    Published BERT has a second row of token types, which ours leaves out, as it is not read.
    """
    width = size.width
    if size is VIT_B16:
        rest = (3 * size.patch**2 + 1) * width + width  # patches, class token
        rest += ((size.picture // size.patch) ** 2 + 1) * width + 2 * width  # positions, norm
        rest += (width + 1) * size.classes
    else:
        rest = (size.vocabulary + size.longest + 2) * width + 2 * width  # words, positions, types
        rest += (width + 1) * width + (width + 1) * size.classes  # pooler, head
    assert count_transformer(size) + rest == published


def test_the_counted_shapes_are_those_that_are_built() -> None:
    """The count by hand on a small size, where the network is quickly built."""
    size = Size()
    for build, rest in ((vit, 49 * 16 + 16 + 10 * 16 + 2 * 16 + 17 * 5),
                        (bert, (19 + 16 + 1) * 16 + 2 * 16 + 17 * 16 + 17 * 5)):  # fmt: skip
        assert parameters(build(size=size)) == count_transformer(size) + rest


def test_kinds_of_nodes() -> None:
    ops: dict[str, Any] = {
        name: [node.op_type for node in build().graph.node] for name, build in SMALL.items()
    }
    mobile = [node.op_type for node in mobilenet_v2().graph.node]
    assert (mobile.count("Conv"), mobile.count("Clip"), mobile.count("Add")) == (52, 35, 10)
    assert ops["densenet121"].count("Conv") == 120
    assert ops["densenet121"].count("BatchNormalization") == 62
    assert {"LayerNormalization", "Erf", "Transpose"} <= set(ops["convnext"])
    assert ops["lstm"].count("LSTM") == 2


def test_longer_tables_of_positions() -> None:
    run = Session(bert(size=Size(depth=1, longest=40)))
    ids = np.zeros((1, 40), np.int64)
    assert np.isfinite(run({"input_ids": ids, "attention_mask": ids + 1})["logits"]).all()
