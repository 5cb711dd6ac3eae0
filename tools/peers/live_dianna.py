"""DIANNA's RISE and KernelSHAP with its defaults, on the ONNX file itself (DIANNA 1.8).

RISE runs 100 masks for each of nine values of p_keep, then 1000 masks in batches of 100, and opens
a session for every batch. KernelSHAP runs 2 * segments + 2048 masked pictures; DIANNA gives them to
one `run`, which takes tens of GiB: here they come in parts of 100. Both explain one picture.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from dianna.methods.kernelshap_image import KERNELSHAPImage
from dianna.methods.rise_image import RISEImage
from numpy.typing import NDArray

__all__ = ["dianna_engine"]

PART = 100
CHANNELS_FIRST = {0: "channels"}
TARGET = 1


class _InParts(KERNELSHAPImage):
    """KernelSHAP whose pictures come in parts."""

    def _runner(self, features: NDArray[Any]) -> NDArray[Any]:
        parts = range(0, len(features), PART)
        return np.concatenate(
            [super(_InParts, self)._runner(features[k : k + PART]) for k in parts]
        )


def dianna_engine(job: Mapping[str, Any]) -> Callable[[Mapping[str, NDArray[Any]]], Any]:
    """Return what explains the one picture of a feed; `preset` is `rise` or `kernelshap`."""
    path = job["model"]

    def explain(picture: NDArray[Any]) -> object:
        if job["preset"] == "rise":
            return RISEImage(axis_labels=CHANNELS_FIRST).explain(path, picture, [TARGET])
        return _InParts(axis_labels=CHANNELS_FIRST).explain(path, picture, [TARGET])

    def prepare(feed: Mapping[str, NDArray[Any]]) -> Callable[[], object]:
        (batch,) = feed.values()
        if len(batch) > 1 or batch.ndim != 4:
            raise ValueError("DIANNA explains one picture per call")
        return lambda: explain(batch[0])

    return prepare
