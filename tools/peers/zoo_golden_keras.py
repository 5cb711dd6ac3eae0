"""Gradients of the zoo's Keras networks, by TensorFlow's `GradientTape` in float64."""

import keras
import numpy as np
import tensorflow
from numpy.typing import NDArray

from tools.peers.zoo_job import Feeds
from tools.peers.zoo_keras import networks, prepared

__all__ = ["slope"]

Array = NDArray[np.generic]


def slope(stem: str, feeds: Feeds, seed: Array) -> tuple[Array, Feeds]:
    """The output, and the gradient of sum(seed * output) by the input."""
    builds = {f"keras_{name}": build for name, _, build in networks()}
    build = builds[stem.split("-")[0]]
    keras.config.set_dtype_policy("float32")
    weights = prepared(build)[0].get_weights()
    keras.config.set_dtype_policy("float64")
    model = build()
    model.set_weights(weights)
    x = tensorflow.Variable(np.asarray(feeds["input"], np.float64))
    with tensorflow.GradientTape() as tape:
        output = model(x, training=False)
        score = tensorflow.reduce_sum(output * np.asarray(seed, np.float64))
    return output.numpy(), {"input": tape.gradient(score, x).numpy()}
