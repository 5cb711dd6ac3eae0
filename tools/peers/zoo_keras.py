"""The zoo's Keras networks, by Keras' own exporter and by tf2onnx."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras
import numpy as np
import tensorflow
import tf2onnx
from keras import layers

from tools.peers.zoo_job import SEED, Feeds, Job, Written

__all__ = ["jobs", "networks", "prepared"]

OPSETS = {"keras": (0,), "tf2onnx": (17, 13, 18)}
CLASSES = 4
Build = Callable[[], keras.Model]


def jobs(*, quick: bool) -> Iterator[Job]:
    """Yield a job per network, exporter and opset."""
    for name, family, build in networks():
        for exporter, opsets in OPSETS.items():
            for opset in opsets[: 1 if quick else None]:
                yield Job(
                    name=f"keras_{name}",
                    family=family,
                    exporter=exporter,
                    opset=opset,
                    write=_writer(build, exporter, opset),
                )


def _writer(build: Build, exporter: str, opset: int) -> Callable[[Path], Written]:
    def write(path: Path) -> Written:
        model, feeds = prepared(build)
        if exporter == "keras":
            model.export(str(path), format="onnx", verbose=False)
        else:
            signature = [tensorflow.TensorSpec(model.input_shape, feeds["input"].dtype, "input")]
            call = tensorflow.function(model.call, input_signature=signature)
            tf2onnx.convert.from_function(
                call, input_signature=signature, opset=opset, output_path=str(path)
            )
        return Written(feeds)

    return write


def prepared(build: Build) -> tuple[keras.Model, Feeds]:
    """The model that is exported and its inputs, the same at every call."""
    keras.utils.set_random_seed(SEED)
    model = build()
    values = np.random.default_rng(SEED).normal(size=(2, *model.input_shape[1:]))
    feeds: Feeds = {"input": values.astype(model.inputs[0].dtype)}
    if model.inputs[0].dtype == "int32":
        feeds = {"input": np.abs(values * 4).astype(np.int32)}
    for part in model.layers:
        if isinstance(part, layers.BatchNormalization):
            part.momentum = 0.5
    for _ in range(4):
        model(feeds["input"], training=True)
    return model, feeds


def networks() -> Iterator[tuple[str, str, Build]]:
    """Yield the name, the family and the builder of every network."""
    yield "dense", "Dense", lambda: _after((6,), layers.Dense(8, "relu"), layers.Dense(8, "tanh"))
    yield "cnn", "CNN", _cnn
    yield "cnn_1d", "CNN", lambda: _after(
        (16, 3),
        layers.Conv1D(8, 3, activation="relu", padding="causal"),
        layers.MaxPooling1D(),
        layers.GlobalAveragePooling1D(),
    )  # fmt: skip
    yield "separable", "CNN", _separable
    yield "unet", "U-Net", _unet
    for cell in (layers.LSTM, layers.GRU, layers.SimpleRNN):
        name = cell.__name__.lower()
        yield name, cell.__name__, lambda cell=cell: _after((7, 6), cell(8))
        yield f"{name}_words", cell.__name__, lambda cell=cell: _words(cell)
    yield "gru_before", "GRU", lambda: _after((7, 6), layers.GRU(8, reset_after=False))
    yield "attention", "Transformer", _attention
    yield (
        "mobilenet_v2",
        "MobileNet",
        lambda: keras.applications.MobileNetV2(
            input_tensor=keras.Input((32, 32, 3), name="input"),
            alpha=0.35,
            weights=None,
            classes=CLASSES,
        ),
    )


def _after(shape: tuple[int, ...], *parts: layers.Layer) -> keras.Model:
    x = begin = keras.Input(shape, name="input")
    for part in parts:
        x = part(x)
    return keras.Model(begin, layers.Dense(CLASSES, "softmax")(x))


def _cnn() -> keras.Model:
    return _after(
        (16, 16, 3),
        layers.Conv2D(8, 3, activation="relu"),
        layers.BatchNormalization(),
        layers.MaxPooling2D(),
        layers.Conv2D(8, 3, activation="elu", padding="same", strides=2),
        layers.Dropout(0.5),
        layers.Flatten(),
        layers.Dense(16, "relu"),
    )


def _separable() -> keras.Model:
    return _after(
        (16, 16, 3),
        layers.SeparableConv2D(8, 3, activation="swish"),
        layers.DepthwiseConv2D(3, padding="same"),
        layers.LeakyReLU(),
        layers.AveragePooling2D(2),
        layers.LayerNormalization(),
        layers.GlobalMaxPooling2D(),
    )


def _unet() -> keras.Model:
    begin = keras.Input((16, 16, 3), name="input")
    one = layers.Conv2D(8, 3, activation="relu", padding="same")(begin)
    two = layers.Conv2D(16, 3, activation="relu", padding="same")(layers.MaxPooling2D()(one))
    up = layers.Conv2DTranspose(8, 2, strides=2)(two)
    joined = layers.Concatenate()([up, one, layers.UpSampling2D()(two)])
    return keras.Model(begin, layers.Conv2D(CLASSES, 1)(joined))


def _words(cell: Callable[..., layers.Layer]) -> keras.Model:
    begin = keras.Input((7,), dtype="int32", name="input")
    x = layers.Embedding(20, 6)(begin)
    x = layers.Bidirectional(cell(8, return_sequences=True))(x)
    return keras.Model(begin, layers.TimeDistributed(layers.Dense(CLASSES))(x))


def _attention() -> keras.Model:
    begin = keras.Input((7, 8), name="input")
    x = layers.Add()([begin, layers.MultiHeadAttention(2, 4)(begin, begin)])
    x = layers.LayerNormalization()(x)
    x = layers.Add()([x, layers.Dense(8)(layers.Dense(16, "gelu")(x))])
    return keras.Model(begin, layers.Dense(CLASSES)(layers.GlobalAveragePooling1D()(x)))
