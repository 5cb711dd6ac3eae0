"""What one call of an `Explainer` returns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np

from onnxlrp.metadata import HEATMAP, IMAGE, LEDGER, RELEVANCE

Array: TypeAlias = np.ndarray[tuple[int, ...], np.dtype[np.generic]]

_FIELDS: Final = {RELEVANCE: "relevance", HEATMAP: "heatmap", IMAGE: "image"}


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


def is_explanation(name: str) -> bool:
    """Tell whether an output belongs to the explanation, not to the source model."""
    return name == LEDGER or name.startswith(tuple(_FIELDS))


def make_result(found: Mapping[str, Array], target: Array | None) -> Result:
    """Sort outputs by what they are.

    Args:
        found: The outputs of the graph by name.
        target: The explained indices.
    """
    sorted_: dict[str, dict[str, Array]] = {name: {} for name in ("outputs", *_FIELDS.values())}
    for name, array in found.items():
        prefix = next((prefix for prefix in _FIELDS if name.startswith(prefix)), "")
        if name != LEDGER:
            sorted_[_FIELDS.get(prefix, "outputs")][name.removeprefix(prefix)] = array
    return Result(**sorted_, target=target, ledger=found.get(LEDGER))
