"""Every real model of these families with every preset."""

import os

import numpy as np
import pytest

from onnxlrp import compile  # noqa: A004
from onnxlrp.composites import PRESETS
from onnxlrp.plan import Request, plan
from tests.cases import zoo

NAMES = zoo.names()
ALL = ("auto", *(preset.name for preset in PRESETS))
LARGE = {"detect_fastestdet", "imagenet_mobilenetv2_fp32", "imagenet_squeezenet_fp32"}
FEW = ("auto", "epsilon", "epsilon-gamma-box", "otsuki", "attnlrp", "dynamic-lrp", "gradient")
"""Presets for large pictures, unless EVERY_PRESET is set in the environment: half a minute each."""

PAIRS = [
    (name, preset)
    for name in NAMES
    for preset in (FEW if name in LARGE and "EVERY_PRESET" not in os.environ else ALL)
]
PREDICTION = 1e-5
"""Of max|y|, both graphs optimised: fusions differ where a value has a second consumer."""

CLOSES = 1e-5
"""Of sum|in| per node and sample: float32 sums over up to 10^6 elements."""

LOOSE = {("cifar_resnet20_optA", "captum-gamma"): 3e-5}
"""captum divides by U x + b, whose parts cancel: 10^9 times the score flows, and float32 leaves
1.8e-5 of it (measured)."""

OVERFLOWS = {("imagenet_mobilenetv2_fp32", "dynamic-lrp")}
"""52 convolutions one after the other divide by W x without the bias, plus 1e-11, as published: the
quotients leave the range of float32."""

pytestmark = pytest.mark.skipif(not NAMES, reason="no folder of cases beside the repository")


def relevance(outputs):
    return next(array for name, array in outputs.items() if name.startswith("relevance/"))


@pytest.mark.parametrize(("name", "preset"), PAIRS)
def test_prediction_and_ledger(name, preset):
    case = zoo.case(name)
    graph = compile(case.path, composite=preset, ledger=True, probes=["*"])
    feeds = case.sample()
    bare = zoo.run(graph.model, feeds, optimise=False)
    plain = zoo.predictions(name, optimise=False)
    for key in case.expected:
        assert np.array_equal(bare[key], plain[key])
    fast, source = zoo.run(graph.model, feeds), zoo.predictions(name, optimise=True)
    for key, value in source.items():
        assert np.abs(fast[key] - value).max() <= PREDICTION * np.abs(value).max()
        assert np.abs(fast[key] - case.expected[key][0]).max() <= PREDICTION * np.abs(value).max()
    finite = all(np.isfinite(array).all() for array in fast.values())
    if (name, preset) in OVERFLOWS:
        assert not finite
        return
    assert finite
    assert relevance(fast).any()
    assert_closed(case, preset, graph, fast)


def assert_closed(case, preset, graph, outputs):
    planned = plan(case.path, Request(composite=preset))
    sites = {site.name: site for site in planned.kinds}
    rows = zip(graph.metadata.ledger, outputs["ledger"][0], strict=True)
    for name, row in rows:
        arrived = [outputs.get(f"relevance/{v.name}") for v in sites[name].outputs if v is not None]
        size = sum(float(np.abs(array).sum()) for array in arrived if array is not None)
        bound = LOOSE.get((case.name, preset), CLOSES) * size
        assert abs(row[7]) <= bound, f"{name}: {row} of {size}"
