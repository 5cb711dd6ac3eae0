"""An explanation graph as a server sees it: its inputs, outputs, labels and pictures."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from onnxlrp.data.fit import Fitted, fit
from onnxlrp.data.layout import find_layout
from onnxlrp.data.preprocess import Preprocessing
from onnxlrp.errors import DataError, InputError
from onnxlrp.metadata import HEATMAP, RELEVANCE, Metadata
from onnxlrp.render.style import Style
from onnxlrp.runtime.providers import CPU, open_session
from onnxlrp.runtime.signature import Port, Signature, read_signature

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, kw_only=True)
class Artefact:
    """What is served.

    Attributes:
        name: The name under which the server knows it.
        signature: Its inputs and outputs.
        metadata: What the graph says about itself.
        labels: Names of the classes of the explained output, or none.
    """

    name: str
    signature: Signature
    metadata: Metadata
    labels: tuple[str, ...] = ()

    @property
    def required(self) -> tuple[Port, ...]:
        """Return the inputs without a default."""
        ports = self.signature.inputs | self.signature.extra
        return tuple(port for name, port in ports.items() if name not in self.signature.optional)

    @property
    def outputs(self) -> tuple[Port, ...]:
        """Return the outputs."""
        return tuple(self.signature.outputs.values())

    @property
    def predictions(self) -> tuple[str, ...]:
        """Return the names of the outputs of the source model, which come first."""
        names = list(self.signature.outputs)
        added = [name for name in names if name.startswith((RELEVANCE, HEATMAP))]
        return tuple(names[: names.index(added[0])] if added else names)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """How a picture comes in and its relevance goes out.

    Attributes:
        port: The input that takes the picture.
        fitted: How a picture is prepared for it.
        relevance: The output that is drawn.
        sum_axis: Axis of the channels in one sample of that output; None: a heatmap already.
        style: Colours and scaling of the heatmap.
    """

    port: Port
    fitted: Fitted
    relevance: str
    sum_axis: int | None
    style: Style = field(default_factory=Style)


def read_artefact(model: str | Path | bytes, name: str, labels: tuple[str, ...] = ()) -> Artefact:
    """Read what an explanation graph says about itself.

    Raises:
        ModelError: It is no explanation graph, or ONNX Runtime cannot load it.
        InputError: The name is none that a server takes.
    """
    if not _NAME.fullmatch(name):
        raise InputError(f"'{name}' is no name for a served model: use letters, digits, . _ and -")
    source = model if isinstance(model, bytes) else str(model)
    session = open_session(source, [CPU])
    metadata = Metadata.read(session.get_modelmeta().custom_metadata_map)
    signature = read_signature(session)
    return Artefact(name=name, signature=signature, metadata=metadata, labels=labels)


def find_pictures(
    artefact: Artefact, steps: Preprocessing | None, style: Style | None = None
) -> Pictures:
    """Find the input that takes pictures, and the output that is drawn in a style.

    Raises:
        InputError: The graph needs further inputs, or has no relevance of a picture.
        DataError: The preprocessing does not fit the input.
    """
    if steps is None and artefact.metadata.preprocessing:
        steps = Preprocessing.from_json(artefact.metadata.preprocessing)
    takers = [port for port in artefact.signature.inputs.values() if _takes_picture(port)]
    others = [port.name for port in artefact.required if port not in takers[:1]]
    if not takers or others:
        reason = f"it also needs {_quoted(others)}" if takers else "no input takes one"
        raise InputError(f"'{artefact.name}' cannot be asked with a picture alone: {reason}")
    port = takers[0]
    fitted = fit(steps, port)
    _check_crop(fitted)
    for name, axes in ((RELEVANCE + port.name, fitted.layout.axes), (HEATMAP + port.name, "")):
        if name in artefact.signature.outputs:
            spatial = axes.removeprefix("N")
            axis = spatial.index("C") if "C" in spatial else None
            return Pictures(
                port=port, fitted=fitted, relevance=name, sum_axis=axis, style=style or Style()
            )
    raise InputError(f"'{artefact.name}' does not explain its picture input '{port.name}'")


def _check_crop(fitted: Fitted) -> None:
    crop, size = fitted.preprocessing.crop, fitted.layout.size
    pair = (crop, crop) if isinstance(crop, int) else crop
    if pair is not None and size is not None and pair != size:
        raise DataError(
            f"preprocessing crops {pair[0]}x{pair[1]} pixels, the model takes {size[0]}x{size[1]}"
        )


def _takes_picture(port: Port) -> bool:
    try:
        find_layout(port)
    except DataError:
        return False
    return True


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
