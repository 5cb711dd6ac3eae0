"""AttnLRP and CP-LRP against LXT: its stored relevance, and LXT itself where it is installed."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

import onnxlrp
from models.transformer import LOWEST
from tests.engine import Session
from tests.transformers import test_blocks as blocks

FOLDER = Path(__file__).parents[1] / "golden"
COMPOSITES = ("attnlrp", "cp-lrp")

AGREES = 1e-5
"""Of max|R|, float32 against float64."""

SAME = 1e-9
"""Of max|R|, two float64 walks."""


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", ["vit", "bert", "llama"])
def test_agrees_with_the_stored_relevance(name: str, composite: str) -> None:
    with np.load(FOLDER / f"lxt_{name}.npz") as data:
        model, x, mask = data["model"].tobytes(), data["x"], data["mask"]
        target, wanted = tuple(map(int, data["target"])), data[f"lxt/{composite}"]
    first = "image" if name == "vit" else "inputs_embeds"
    feeds = {first: x} | ({"attention_mask": mask} if name == "bert" else {})
    graph = onnxlrp.compile(model, composite=composite, target=target, inputs=[first])
    found = Session(graph.model)(feeds)[f"relevance/{first}"]
    assert blocks.distance(found, wanted) <= AGREES


@pytest.mark.skipif(find_spec("lxt") is None, reason="lxt is not installed")
@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("seed", [3, 7, 9])
@pytest.mark.parametrize("name", ["vit", "bert", "llama"])
def test_the_reference_is_lxt(name: str, seed: int, composite: str) -> None:
    """Every seed will do: both walks are in float64."""
    from tools.peers.lxt_blocks import lxt_relevance

    cp = composite == "cp-lrp"
    model, feeds = blocks.BLOCKS[name](seed, LOWEST)
    logits, wanted = blocks.expected(name, model, feeds, LOWEST, composite)
    kept = blocks.mask()[:, None, None]
    causal = np.triu(np.full((blocks.LENGTH, blocks.LENGTH), LOWEST), 1)
    masks = {"bert": [np.where(kept == 0, LOWEST, 0.0)], "llama": [causal]}.get(name, [])
    target = (blocks.LENGTH - 1, blocks.CLASS) if name == "llama" else (blocks.CLASS,)
    inputs = (next(iter(feeds.values())), *masks)
    theirs, found = lxt_relevance(name, model, inputs, target, heads=blocks.TINY.heads, cp=cp)
    np.testing.assert_allclose(theirs, logits, rtol=0, atol=SAME)
    assert blocks.distance(found, wanted) <= SAME
