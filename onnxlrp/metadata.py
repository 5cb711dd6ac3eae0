"""Names of inputs, outputs and metadata keys of an explanation graph; reads them back."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from onnxlrp.errors import ModelError

PREFIX: Final = "onnxlrp."
RELEVANCE: Final = "relevance/"
HEATMAP: Final = "heatmap/"
IMAGE: Final = "image/"
MASK: Final = "mask/"
NOISE: Final = "noise/"
SCOPE: Final = "lrp/"
TARGET: Final = "target"
SEED: Final = "seed"
LEDGER: Final = "ledger"
SHADOW: Final = "shadow"
PICTURE: Final = "picture"
"""Input that takes a picture as files hold it; key of the composite that says what it becomes."""
OVERLAY: Final = "overlay/"
NOTES: Final = "relevance.notes"
"""Key under which a source model says what belongs beside each map: JSON, pairs of texts."""

LEDGER_COLUMNS: Final = (
    "in",
    "out",
    "bias",
    "stabilizer",
    "padding",
    "dead",
    "rule",
    "unexplained",
)


LATER: Final = frozenset({"labels", "notes", "shadow"})
"""Fields that older graphs lack."""

_FORMS: Final[Mapping[str, type]] = {
    **dict.fromkeys(("inputs", "ledger", "probes", "notes"), tuple),
    **dict.fromkeys(("composite", "preprocessing", "labels"), dict),
    "shadow": bool,
}
"""Types of the fields that are no text."""


@dataclass(frozen=True, kw_only=True)
class Metadata:
    """What an explanation graph says about itself; everything the runtime needs to know.

    Attributes:
        version: Version of onnxlrp that compiled the graph.
        source: Digest of the source model.
        composite: The composite with all its rows, as a JSON object.
        target: The target as given: `argmax`, an index, `input`, `seed`, ...
        inputs: Names of the explained inputs.
        output: Name of the explained output.
        explained: Name of the value in which relevance starts (before a final softmax).
        ledger: Row names of the output `ledger`, empty without one.
        probes: Names of the hidden values whose relevance is an output.
        preprocessing: The preprocessing of the picture, where the user gave one.
        shadow: Whether relevance runs on a float32 copy of a model that computes in half precision
            or in quantised numbers.
        labels: For each output that is one dictionary per sample, its keys in the order of the
            classes.
        notes: What the source model says of its maps, name and text.
    """

    version: str
    source: str
    composite: Mapping[str, object]
    target: str
    inputs: tuple[str, ...]
    output: str
    explained: str
    ledger: tuple[str, ...] = ()
    probes: tuple[str, ...] = ()
    preprocessing: Mapping[str, object] = field(default_factory=dict)
    shadow: bool = False
    labels: Mapping[str, Sequence[int | str]] = field(default_factory=dict)
    notes: Sequence[Sequence[str]] = ()

    @property
    def maps(self) -> tuple[str, ...]:
        """The names behind `relevance/`: the inputs, or what a picture became in the graph."""
        wrapped = self.composite.get(PICTURE)
        return (str(wrapped.get("input")),) if isinstance(wrapped, Mapping) else self.inputs

    def properties(self) -> dict[str, str]:
        """Return the entries of `metadata_props`: key `onnxlrp.<field>`, value JSON."""
        return {
            PREFIX + name: json.dumps(getattr(self, name), sort_keys=True)
            for name in self.__dataclass_fields__
        }

    @classmethod
    def read(cls, properties: Mapping[str, str]) -> "Metadata":
        """Read the entries back.

        Raises:
            ModelError: The properties are not those of an explanation graph.
        """
        if not is_explanation(properties):
            raise ModelError("not an explanation graph; make one with `onnxlrp compile`")
        fields: dict[str, object] = {}
        for name in cls.__dataclass_fields__:
            if name in LATER and PREFIX + name not in properties:
                continue
            try:
                value = json.loads(properties[PREFIX + name])
            except (KeyError, ValueError, RecursionError) as error:
                raise ModelError(f"metadata key '{PREFIX + name}' is missing or damaged") from error
            fields[name] = tuple(value) if isinstance(value, list) else value
            if not _fits(name, fields[name]):
                raise ModelError(f"metadata key '{PREFIX + name}' has a value of another form")
        return cls(**fields)  # type: ignore[arg-type]


def _fits(name: str, value: object) -> bool:
    if not isinstance(value, _FORMS.get(name, str)):
        return False
    if name == "labels":
        return isinstance(value, dict) and all(isinstance(each, list) for each in value.values())
    if name == "notes":
        return all(isinstance(each, list) and len(each) == 2 for each in _items(value))
    return all(isinstance(each, str) for each in _items(value))


def _items(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()


def is_explanation(properties: Mapping[str, str]) -> bool:
    """Tell whether the metadata properties are those of an explanation graph."""
    return PREFIX + "version" in properties
