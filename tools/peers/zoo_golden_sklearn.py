"""Gradients of the zoo's scikit-learn models, by formulas over what was fitted."""

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, is_regressor
from sklearn.neural_network import MLPClassifier

from tools.peers.zoo_job import Feeds
from tools.peers.zoo_sklearn import fitted, models

__all__ = ["slope"]

Array = NDArray[np.generic]


def slope(stem: str, feeds: Feeds, seed: Array) -> tuple[Array, Feeds]:
    """The scores or probabilities, and the gradient of sum(seed * output) by the input."""
    known = {f"sklearn_{name}": estimator for name, _, _, estimator, _ in models()}
    estimator = known[stem.split("-")[0]]
    fitted(estimator)
    x, seed = np.asarray(feeds["X"], np.float64), np.asarray(seed, np.float64)
    scale, last = np.ones(x.shape[1]), estimator
    if hasattr(estimator, "steps"):
        scaler, last = (step for _, step in estimator.steps)
        x, scale = (x - scaler.mean_) / scaler.scale_, scaler.scale_
    output, found = (_layers if isinstance(last, MLPClassifier) else _linear)(last, x, seed)
    return output, {"X": found / scale}


def _linear(model: BaseEstimator, x: Array, seed: Array) -> tuple[Array, Array]:
    """Of y = x W' + b, or p = softmax(y): dp = p (s - sum p s)."""
    weight = np.atleast_2d(model.coef_)
    scores = x @ weight.T + model.intercept_
    if is_regressor(model):
        return scores, seed @ weight
    chances = _softmax(scores)
    return chances, _through_softmax(chances, seed) @ weight


def _layers(model: MLPClassifier, x: Array, seed: Array) -> tuple[Array, Array]:
    """Of h = tanh(h W + b) for every layer but the last; back through each in turn."""
    hidden = [x]
    for weight, bias in zip(model.coefs_[:-1], model.intercepts_[:-1], strict=True):
        hidden.append(np.tanh(hidden[-1] @ weight + bias))
    chances = _softmax(hidden[-1] @ model.coefs_[-1] + model.intercepts_[-1])
    found = _through_softmax(chances, seed) @ model.coefs_[-1].T
    for weight, value in zip(model.coefs_[-2::-1], hidden[:0:-1], strict=True):
        found = (found * (1 - value**2)) @ weight.T
    return chances, found


def _softmax(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(-1, keepdims=True))
    return powers / powers.sum(-1, keepdims=True)


def _through_softmax(chances: Array, seed: Array) -> Array:
    return chances * (seed - (chances * seed).sum(-1, keepdims=True))
