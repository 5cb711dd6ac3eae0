"""What `onnxlrp explain` says about one sample: prediction, score, conservation."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from onnxlrp.data.labels import Floats, label, shares
from onnxlrp.metadata import Metadata
from onnxlrp.render import Caption
from onnxlrp.runtime import Result


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One explained sample.

    Attributes:
        name: Its name.
        target: The explained index, as text; empty where unknown.
        label: Name of the explained class; empty without labels.
        top: Best classes: label, score, probability-like share for a bar.
        score: The value whose relevance was shared out; None where unknown.
        relevance: Sum of the relevance of all explained inputs; None for methods of one channel.
        composite: The method.
        output: Name of the explained output.
        notes: What the model says of its maps, name and text.
    """

    name: str
    target: str
    label: str
    top: tuple[tuple[str, float, float], ...]
    score: float | None
    relevance: float | None
    composite: str
    output: str
    notes: tuple[tuple[str, str], ...] = ()

    @property
    def conservation(self) -> float | None:
        """Sum of relevance over score."""
        return self.relevance / self.score if self.score and self.relevance is not None else None

    def caption(self) -> Caption:
        """Return what stands beside the drawing."""
        numbers = []
        if self.score is not None:
            numbers.append(("explained score f", _number(self.score)))
        if self.relevance is not None:
            numbers.append(("sum of relevance R", _number(self.relevance)))
        if self.conservation is not None:
            numbers.append(("conservation R / f", f"{self.conservation:.4g}"))
        numbers += self.notes
        target = f"target {self.target}, " if self.target else ""
        return Caption(
            title=self.label or (f"class {self.target}" if self.target and self.top else self.name),
            subtitle=f"{self.name}: {target}composite {self.composite}",
            top=tuple((name, _score(score, share), share) for name, score, share in self.top),
            heading=f"output '{self.output}'" + ("" if self._probable else " (bars: softmax)"),
            numbers=tuple(numbers),
        )

    @property
    def _probable(self) -> bool:
        return all(score == share for _, score, share in self.top)

    def text(self) -> str:
        """Return the lines that are printed."""
        said = self.label or (f"target {self.target}" if self.target else "explained")
        index = f" ({self.target})" if self.label and self.target else ""
        lines = [f"{self.name}: {said}{index}"]
        width = max((len(name) for name, _, _ in self.top), default=0)
        lines += [f"  {name:<{width}}  {_score(score, s)}" for name, score, s in self.top]
        numbers = self.caption().numbers
        width = max(18, *(len(name) for name, _ in numbers)) if numbers else 0
        lines += [f"  {name:<{width}}  {value}" for name, value in numbers]
        return "\n".join(lines)

    def to_json(self) -> dict[str, object]:
        """Return the finding as a JSON object."""
        return {
            "name": self.name,
            "target": self.target or None,
            "label": self.label or None,
            "top": [{"label": name, "score": score} for name, score, _ in self.top],
            "score": self.score,
            "relevance": self.relevance,
            "conservation": self.conservation,
            "composite": self.composite,
            "notes": dict(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class Reader:
    """Reads findings from results.

    Attributes:
        metadata: Metadata of the graph.
        labels: Class names; may be empty.
        top: How many best classes are listed.
    """

    metadata: Metadata
    labels: Sequence[str] = field(default=())
    top: int = 5

    def read(self, result: Result, index: int, name: str) -> Finding:
        """Read the finding for one sample of a result."""
        output = np.asarray(result.outputs[self.metadata.output], np.float64)
        scores = output[index] if output.ndim else output
        target = _index(result, index)
        classes = scores.reshape(-1) if scores.size == max((1, *scores.shape)) else None
        parts = [float(np.sum(result.relevance[key][index])) for key in self._inputs(result)]
        return Finding(
            name=name,
            target=",".join(map(str, target)),
            label=self._said(target),
            top=() if classes is None or classes.size < 2 else self._best(classes),
            score=self._score(result, index, scores, target),
            relevance=sum(parts) if parts else None,
            composite=str(self.metadata.composite.get("name", "")),
            output=self.metadata.output,
            notes=tuple((name, text) for name, text in self.metadata.notes),
        )

    def _inputs(self, result: Result) -> list[str]:
        return [name for name in self.metadata.maps if name in result.relevance]

    def _score(
        self, result: Result, index: int, scores: Floats, target: Sequence[int]
    ) -> float | None:
        """Return the relevance that started; a probe of the explained value knows it exactly."""
        metadata = self.metadata
        if metadata.explained in result.relevance:
            return float(np.sum(result.relevance[metadata.explained][index]))
        known = metadata.explained == metadata.output and len(target) == np.sum(
            np.array(scores.shape) != 1
        )
        if not known or metadata.composite.get("start", "logit") != "logit":
            return None
        return float(scores.reshape([n for n in scores.shape if n != 1])[tuple(target)])

    def _said(self, target: Sequence[int]) -> str:
        kind, *classes = self.metadata.target.split(":")
        if kind == "contrast":
            return " minus ".join(label(self.labels, int(index)) for index in classes)
        return label(self.labels, target[0]) if self.labels and len(target) == 1 else ""

    def _best(self, scores: Floats) -> tuple[tuple[str, float, float], ...]:
        order = np.argsort(-scores, kind="stable")[: self.top]
        parts, names = shares(scores), self.labels
        return tuple((label(names, int(k)), float(scores[k]), float(parts[k])) for k in order)


def _index(result: Result, index: int) -> list[int]:
    if result.target is None:
        return []
    return [int(part) for part in np.asarray(result.target[index], np.int64).reshape(-1)]


def _score(score: float, share: float) -> str:
    return f"{score:.1%}" if score == share else f"{score:.4g}"


def _number(value: float) -> str:
    return f"{value:.5g}"
