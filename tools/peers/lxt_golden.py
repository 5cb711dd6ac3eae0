"""Writes `tests/golden/lxt_*.npz`: small transformers and the relevance that LXT finds.

    python -m tools.peers.lxt_golden

A file holds `model` (the ONNX bytes as uint8), `x` (the first input, float32), `mask` (the 0 or 1
of `bert`'s tokens), `target` (an index of the output behind the batch) and for `attnlrp` and
`cp-lrp` LXT's relevance in float64 as `lxt/<preset>`.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models import transformer
from models.transformer import LOWEST, TINY
from tools.peers.lxt_blocks import lxt_relevance

OUT = Path(__file__).resolve().parents[2] / "tests" / "golden"
BATCH, LENGTH, CLASS = 2, 7, 2
SEEDS = {"vit": 0, "bert": 1, "llama": 0}
"""Those where float32 holds: no denominator is near 0."""


def main() -> None:
    """Write every file."""
    for name, seed in SEEDS.items():
        rng = np.random.default_rng(100 + seed)
        shape = (3, TINY.picture, TINY.picture) if name == "vit" else (LENGTH, TINY.width)
        x = rng.standard_normal((BATCH, *shape)).astype(np.float32)
        kept = np.ones((BATCH, LENGTH), np.int64)
        kept[1, 5:] = 0
        _write(name, seed, x, kept)


def _write(name: str, seed: int, x: NDArray[np.float32], kept: NDArray[np.int64]) -> None:
    options = {} if name == "vit" else {"embedded": True}
    model = getattr(transformer, name)(seed=seed, **options)
    masks = {
        "vit": (),
        "bert": (np.where(kept[:, None, None] == 0, LOWEST, 0.0),),
        "llama": (np.triu(np.full((LENGTH, LENGTH), LOWEST), 1),),
    }
    target = (LENGTH - 1, CLASS) if name == "llama" else (CLASS,)
    found = {
        "model": np.frombuffer(model.SerializeToString(), np.uint8),
        "x": x,
        "mask": kept,
        "target": np.array(target),
    }
    for preset in ("attnlrp", "cp-lrp"):
        options = {"heads": TINY.heads, "cp": preset == "cp-lrp"}
        _, relevance = lxt_relevance(name, model, (x, *masks[name]), target, **options)
        found[f"lxt/{preset}"] = relevance
        print(f"{name:6} {preset:8} {np.abs(relevance).max():.3f}")
    np.savez_compressed(OUT / f"lxt_{name}.npz", **found)


if __name__ == "__main__":
    main()
