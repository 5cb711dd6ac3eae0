"""Relevance Splitting as published: the Adds conserve, and what the method loses has a name."""

import numpy as np
import pytest

from models import builders
from onnxlrp import compile  # noqa: A004
from onnxlrp.metadata import LEDGER_COLUMNS
from tests.nets import run

CONSERVES = 1e-6
"""Of sum|in| at every Add."""

COLUMN = {name: index for index, name in enumerate(LEDGER_COLUMNS)}
MODES = [
    f"split={split},identity={identity}"
    for split in ("ratio", "symmetric")
    for identity in ("true", "false")
]


def ledger(model, composite):
    graph = compile(model, composite=composite, ledger=True, probes=["*"])
    x = np.abs(np.random.default_rng(0).normal(size=(2, 3, 64, 64))).astype(np.float32)
    outputs = run(graph, {graph.metadata.inputs[0]: x})
    return graph, outputs


@pytest.mark.parametrize("bn", ["fold", "identity"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("net", ["resnet18", "resnet50"])
def test_every_add_conserves(net, mode, bn):
    model = getattr(builders, net)(size=64, width=8, classes=5, bn="keep", seed=1)
    graph, outputs = ledger(model, f"otsuki:{mode},bn={bn}")
    adds = [i for i, name in enumerate(graph.metadata.ledger) if name.endswith(".add")]
    assert len(adds) >= 8
    made = {node.name: node.output[0] for node in model.graph.node}
    for index in adds:
        arrived = outputs[f"relevance/{made[graph.metadata.ledger[index]]}"]
        size = np.abs(arrived).reshape(2, -1).sum(axis=1)
        row = outputs["ledger"][:, index]
        assert (np.abs(row[:, COLUMN["in"]] - row[:, COLUMN["out"]]) <= CONSERVES * size).all()


def test_what_the_method_loses_is_named():
    """The 2 x 2 stand-in for max pooling, z+ where W+ x is zero: columns dead and stabilizer."""
    model = builders.resnet50(size=64, width=8, classes=5, bn="keep", seed=1)
    graph, outputs = ledger(model, "otsuki")
    table = outputs["ledger"]
    pool = next(i for i, name in enumerate(graph.metadata.ledger) if "pool" in name and i > 3)
    row = table[:, pool]
    lost = row[:, COLUMN["in"]] - row[:, COLUMN["out"]]
    named = row[:, COLUMN["dead"]] + row[:, COLUMN["stabilizer"]]
    assert (lost > 0).all()
    assert np.allclose(lost, named, atol=1e-5 * np.abs(row[:, COLUMN["in"]]).max())
    start = table[:, 0, COLUMN["in"]]
    total = outputs["relevance/image"].reshape(2, -1).sum(axis=1)
    columns = table[:, :, [COLUMN[c] for c in ("bias", "stabilizer", "padding", "dead", "rule")]]
    assert np.allclose(start - total, columns.sum(axis=(1, 2)), atol=1e-4 * np.abs(start).max())
