"""What one call of an `Explainer` returns."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.generic]]


@dataclass(frozen=True, kw_only=True)
class Result:
    """Prediction and relevance of a batch; what was not asked for at compile time is empty or None.

    Attributes:
        outputs: The outputs of the source model by name.
        relevance: Relevance by name of the explained input or probed value, `[N, ...]`, or
            `[N, T, ...]` for T targets per sample.
        heatmap: Relevance summed over the channels, `[N, H, W]`.
        image: Coloured heatmaps, uint8 RGB `[N, H, W, 3]`.
        target: The explained indices where known: `[N]`, `[N, r]`, `[N, T]` or `[N, T, r]`.
        ledger: Where relevance went, `[N, nodes, 8]`.
    """

    outputs: dict[str, Array]
    relevance: dict[str, Array]
    heatmap: dict[str, Array] = field(default_factory=dict)
    image: dict[str, Array] = field(default_factory=dict)
    target: Array | None = None
    ledger: Array | None = None
