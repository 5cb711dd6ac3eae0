"""The ledger sees an adjoint that is wrong by one percent, whatever the operator."""

from dataclasses import fields, replace

import numpy as np
import pytest

import onnxlrp
from onnxlrp.ops import OPS
from onnxlrp.ops.kinds import Kind
from tests.engine import Session
from tests.ops.case import Case
from tests.rules.dense import BY_NAME

CLOSED = 1e-5
"""Bound on unexplained / sum|in| that `tests/ops` asserts of every right adjoint."""


CASES = (
    "conv bias",
    "conv groups strides",
    "tconv bias",
    "gemm",
    "matmul 3",
    "batchnorm 4",
    "avgpool overlap pads",
    "global avgpool",
    "resize linear half_pixel up",
    "maxpool overlap",
    "lppool 2",
    "lrn 3",
    "ReduceMean last 0",
    "ReduceL2 last 1",
    "transpose",
    "concat",
    "split sizes",
    "pad edge",
    "depth to space CRD",
    "gather 1",
    "matmul live 4",
)


def corrupted(kind: Kind) -> Kind:
    """The same map with every way backwards one percent too large."""
    names = {"adjoint", "winner", "frozen", "derivative", "adjoints"} & {
        f.name for f in fields(kind)
    }

    def larger(function):
        def call(t, *arguments):
            result = function(t, *arguments)
            if isinstance(result, tuple):
                return tuple(None if part is None else t.op("Mul", part, 1.01) for part in result)
            return t.op("Mul", result, 1.01)

        return call

    changed = {}
    for name in names:
        old = getattr(kind, name)
        changed[name] = tuple(map(larger, old)) if isinstance(old, tuple) else larger(old)
    assert changed, "a kind without a way backwards"
    return replace(kind, **changed)


def worst(case: Case) -> float:
    """Largest unexplained share of what came in, over nodes and samples."""
    feeds = case.feeds()
    y = Session(case.model())(feeds)["y"]
    seed = (case.rng().uniform(0.5, 1.5, y.shape) * (np.abs(y) > 0.1)).astype(np.float32)
    model = onnxlrp.compile(case.model(), composite="epsilon", target="seed", ledger=True).model
    table = Session(model)({**feeds, "seed": seed})["ledger"].astype(np.float64)
    return float(np.max(np.abs(table[:, :, 7]) / np.abs(seed).reshape(len(y), 1, -1).sum(axis=2)))


@pytest.mark.parametrize("name", CASES)
def test_a_corrupted_adjoint_is_unexplained(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    case = BY_NAME[name]
    assert worst(case) <= CLOSED
    for op, describe in list(OPS.items()):
        if f"{op}(" in case.body or f"{op}<" in case.body:
            monkeypatch.setitem(OPS, op, lambda site, old=describe: corrupted(old(site)))
    assert worst(case) > 100 * CLOSED
