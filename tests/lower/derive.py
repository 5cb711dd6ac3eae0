"""Finite differences of a model, and what its explanation graphs say of them."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from onnx import ModelProto

import onnxlrp
from tests.engine import Run, Session

Feeds = Mapping[str, np.ndarray]

STEP = 1e-2
SMOOTH = 2e-3
"""Of max|gradient|: how far central differences of two steps may lie apart; kinks lie further."""
AGREES = 2e-3
"""Of max|gradient|: float32 differences over 2e-2 lose 5 digits, and h^2 f''' / 6 is 1e-4."""
CLOSED = 1e-5
"""Of the largest entry of the ledger: its unexplained rest."""


@dataclass(frozen=True)
class Slope:
    """The derivative of sum(seed * output) by one input, and where it is trusted."""

    value: np.ndarray
    smooth: np.ndarray


def slope(run: Run, feeds: Feeds, name: str, output: str, seed: np.ndarray) -> Slope:
    """Central differences with two steps; they differ at kinks."""
    found = []
    for step in (STEP, STEP / 2):
        result = np.zeros(feeds[name].shape)
        for where in np.ndindex(result.shape):
            ends = []
            for sign in (1, -1):
                moved = feeds[name].copy()
                moved[where] += sign * step
                y = run({**feeds, name: moved})[output].astype(np.float64)
                ends.append((seed * y).sum())
            result[where] = (ends[0] - ends[1]) / (2 * step)
        found.append(result)
    size = max(float(np.abs(found[1]).max()), 1e-3)
    return Slope(found[1], np.abs(found[0] - found[1]) <= SMOOTH * size)


def check_gradient(
    model: ModelProto, feeds: Feeds, *, least: float = 0.9, **options
) -> dict[str, np.ndarray]:
    """The gradient composite equals finite differences; the prediction keeps its bits.

    `least` is the share of elements at which the differences must be trusted.
    """
    graph = onnxlrp.compile(model, composite="gradient", target="seed", **options)
    run, explained = Session(model), Session(graph.model)
    output = graph.metadata.output
    before = run(feeds)
    seed = np.random.default_rng(7).standard_normal(before[output].shape).astype(np.float32)
    found = explained({**feeds, "seed": seed})
    for name, value in before.items():
        np.testing.assert_array_equal(found[name], value)
    trusted = []
    for name in graph.metadata.inputs:
        want = slope(run, feeds, name, output, seed)
        size = max(float(np.abs(want.value).max()), 1e-3)
        error = np.abs(found[f"relevance/{name}"] - want.value)[want.smooth]
        assert error.max(initial=0) <= AGREES * size, f"{name}: {error.max()} of {size}"
        trusted.append(want.smooth.ravel())
    assert np.concatenate(trusted).mean() >= least
    return found


def check_ledger(model: ModelProto, feeds: Feeds, composite: str, **options) -> np.ndarray:
    """The ledger closes; returns it, `[N, nodes, 8]`."""
    graph = onnxlrp.compile(model, composite=composite, target="seed", ledger=True, **options)
    run = Session(graph.model)
    y = Session(model)(feeds)[graph.metadata.output]
    seed = np.random.default_rng(7).standard_normal(y.shape).astype(np.float32)
    found = run({**feeds, "seed": seed})
    ledger = found["ledger"]
    assert np.abs(ledger[..., 7]).max() <= CLOSED * np.abs(ledger[..., :7]).max()
    arrived = sum(v.sum() for k, v in found.items() if k.startswith("relevance/"))
    lost = ledger[..., 2:7].sum()
    largest = float(np.abs(ledger[..., 0]).max())
    assert abs(float(seed.sum()) - arrived - lost) <= 1e-4 * max(1.0, largest)
    return ledger
