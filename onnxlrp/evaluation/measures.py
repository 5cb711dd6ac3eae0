"""The metrics that are asked for, with columns of their own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from onnxlrp.data.datasets.listing import Listing
from onnxlrp.errors import InputError
from onnxlrp.metrics import METRICS, Asked, Case, parse_metrics

ALL = "all"
"""In place of metrics: every one whose needs the data meets."""

_LACKING: Mapping[str, str] = {
    "label": "labels (a folder per class, images.csv, --label-file, or y in the .npz)",
    "mask": "masks (the column mask of images.csv, or mask in the .npz)",
    "boxes|mask": "boxes or masks (the columns box or mask of images.csv, or mask in the .npz)",
}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A metric that is asked for.

    Attributes:
        asked: The metric with its parameters.
        suffix: What tells its columns from those of another metric.
    """

    asked: Asked
    suffix: str = ""

    def column(self, name: str) -> str:
        """Return the name of a column or curve in the results."""
        return f"{name} ({self.suffix})" if self.suffix else name

    def columns(self) -> dict[str, str]:
        """Return the columns, each with `higher`, `lower` or nothing: what is better."""
        return {self.column(name): better for name, better in self.asked.metric.better.items()}

    def __call__(self, case: Case) -> tuple[dict[str, float], dict[str, list[float]]]:
        """Return the values and curves of a case; nan where it lacks what the metric needs."""
        if not all(_met(need, case) for need in self.asked.needs):
            return dict.fromkeys(self.columns(), float("nan")), {}
        score = self.asked.measure(case)
        curves = {self.column(name): _short(curve) for name, curve in score.curves.items()}
        return {self.column(name): float(v) for name, v in score.values.items()}, curves


def make_measures(text: str, listing: Listing) -> tuple[tuple[Measure, ...], tuple[str, ...]]:
    """Read the metrics asked for, and check that the data has what they need.

    Returns:
        The metrics; what `all` left out, in words.

    Raises:
        InputError: An unknown metric, or one that needs what the data does not have.
    """
    if text.strip() != ALL:
        asked = parse_metrics(text)
        for one in asked:
            lacking = _lacking(one, listing)
            if lacking:
                raise InputError(f"metric '{one.title}' needs {lacking}, and the data has none")
        return _named(asked), ()
    every = [parse_metrics(metric.name)[0] for metric in METRICS]
    left_out = [one.title for one in every if _lacking(one, listing)]
    notes = (f"left out for want of labels or masks: {', '.join(left_out)}",) if left_out else ()
    kept = [one.title for one in every if one.title not in left_out]
    return _named(parse_metrics(",".join(kept))), notes


def _lacking(asked: Asked, listing: Listing) -> str:
    has = {
        "label": listing.labelled,
        "mask": listing.masked,
        "boxes|mask": listing.boxed or listing.masked,
    }
    return next((_LACKING[need] for need in asked.needs if not has.get(need, True)), "")


def _met(need: str, case: Case) -> bool:
    if need == "label":
        return case.label is not None
    if need == "mask":
        return case.mask is not None
    if need == "boxes|mask":
        return case.mask is not None or bool(case.boxes)
    return need != "total" or (case.total is not None and case.start is not None)


def _named(asked: Sequence[Asked]) -> tuple[Measure, ...]:
    """Tell equal columns apart by the parameters of their metrics, at need by the whole title."""
    shared = [any(one is not other and _overlap(one, other) for other in asked) for one in asked]
    brief = tuple(
        Measure(asked=one, suffix=one.title.partition(":")[2] if clash else "")
        for one, clash in zip(asked, shared, strict=True)
    )
    names = [name for measure in brief for name in measure.columns()]
    if len(set(names)) == len(names):
        return brief
    return tuple(
        Measure(asked=one, suffix=one.title if clash else "")
        for one, clash in zip(asked, shared, strict=True)
    )


def _overlap(one: Asked, other: Asked) -> bool:
    return bool(one.metric.better.keys() & other.metric.better.keys())


def _short(curve: object) -> list[float]:
    """Six digits are enough for a drawing."""
    return [float(f"{value:.6g}") for value in np.asarray(curve, np.float64).reshape(-1)]
