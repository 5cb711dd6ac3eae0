"""The result of one sample, and how it is taken from that of a run."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from onnxlrp.data.datasets.arrays import Array
from onnxlrp.distribute.items import Item
from onnxlrp.distribute.job import Values
from onnxlrp.errors import DataError
from onnxlrp.metadata import HEATMAP, RELEVANCE
from onnxlrp.render.heat import channel_layout, heatmap
from onnxlrp.runtime import Result

__all__ = ["Row", "make_row"]


@dataclass(frozen=True, kw_only=True)
class Row:
    """What is written of one sample.

    Attributes:
        index: Its position in the data set.
        name: Its name.
        target: The explained index or index tuple, empty where it is not known.
        arrays: Outputs, relevance and heatmaps by name, without a batch axis.
        heat: The map that is drawn.
    """

    index: int
    name: str
    target: tuple[int, ...]
    arrays: Mapping[str, Array]
    heat: Array


def make_row(item: Item, result: Result, values: Values) -> Row:
    """Take the only sample of a result.

    Raises:
        DataError: Its relevance is not finite.
    """
    maps = {HEATMAP + name: array[0] for name, array in result.heatmap.items()}
    maps |= {RELEVANCE + name: array[0] for name, array in result.relevance.items()}
    for name, array in maps.items():
        if not np.isfinite(array).all():
            raise DataError(f"'{name}' is not finite (a target out of range, or an overflow)")
    heat = _heat(next(iter(maps.values())))
    if values == "heatmap":
        maps = {HEATMAP + name.partition("/")[2]: _heat(array) for name, array in maps.items()}
    numbers = {n: a[0] for n, a in result.outputs.items() if a.dtype.kind in "fiub" and a.ndim}
    target = () if result.target is None else result.target[0].ravel()
    return Row(
        index=item.index,
        name=item.name,
        target=tuple(int(k) for k in target),
        arrays={**numbers, **maps},
        heat=heat,
    )


def _heat(relevance: Array) -> Array:
    """Relevance summed over the channels of a picture; other relevance as it is."""
    if relevance.ndim != 3:
        return relevance
    summed: Array = heatmap(relevance, channel_layout(relevance.shape, None)).astype(np.float32)
    return summed
