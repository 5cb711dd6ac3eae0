"""What a canonizer says of attention, for whatever runs without it."""

from dataclasses import replace

import pytest

from onnxlrp.ops.kinds import Product
from onnxlrp.ops.registry import OPS


@pytest.fixture(autouse=True)
def _attention_weights_are_switches(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the canonizer of attention says of the product of weights and values."""
    old = OPS["MatMul"]

    def matmul(site):
        kind = old(site)
        if isinstance(kind, Product) and site.name.endswith(".mixed"):
            return replace(kind, switch=0)
        return kind

    monkeypatch.setitem(OPS, "MatMul", matmul)
