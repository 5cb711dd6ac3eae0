"""How pictures enter a model of a page for people."""

from dataclasses import dataclass, replace
from typing import Final

from onnxlrp.data import Preprocessing
from onnxlrp.data.fit import Fitted, fit
from onnxlrp.errors import DataError
from onnxlrp.metadata import Metadata
from onnxlrp.runtime.signature import Signature

DEFAULT_SIDE: Final = 224


@dataclass(frozen=True, kw_only=True)
class PictureInput:
    """The input of a model that takes a picture.

    Attributes:
        name: Its name.
        fitted: How pictures are prepared.
        size: Height and width of what the model sees; None where every picture keeps its size.
        notes: What was assumed, in words.
    """

    name: str
    fitted: Fitted
    size: tuple[int, int] | None
    notes: tuple[str, ...]


def picture_input(
    signature: Signature, metadata: Metadata, steps: Preprocessing | None, layout: str | None
) -> PictureInput:
    """Find the picture input of a model, and how pictures are prepared for it.

    A model of free size sees `DEFAULT_SIDE` pixels squared unless the preprocessing says more.

    Raises:
        DataError: The model does not take one picture.
    """
    if len(signature.inputs) != 1 or tuple(metadata.inputs) != tuple(signature.inputs):
        raise DataError(
            f"pages show models of one picture; this one takes {', '.join(signature.inputs)}"
        )
    if metadata.maps != metadata.inputs:
        raise DataError("pages prepare pictures themselves: compile the graph without --picture")
    if steps is None and metadata.preprocessing:
        steps = Preprocessing.from_json(metadata.preprocessing)
    port = next(iter(signature.inputs.values()))
    fitted, notes = fit(steps, port, layout), []
    used = fitted.preprocessing
    if fitted.layout.size is None and used.crop is None and used.size is None:
        notes.append(
            f"assumed {DEFAULT_SIDE} x {DEFAULT_SIDE} pixels (change it with --preprocess)"
        )
        used = replace(used, crop=DEFAULT_SIDE)
        fitted = replace(fitted, preprocessing=used)
    crop = used.crop or fitted.layout.size or (used.size if isinstance(used.size, tuple) else None)
    size = (crop, crop) if isinstance(crop, int) else crop
    return PictureInput(name=port.name, fitted=fitted, size=size, notes=(*fitted.notes, *notes))
