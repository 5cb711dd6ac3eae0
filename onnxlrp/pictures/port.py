"""The input of an explanation graph that takes the picture."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from onnx import ModelProto

from onnxlrp.errors import ModelError
from onnxlrp.metadata import Metadata

__all__ = ["Dim", "Port", "find_port"]

Dim: TypeAlias = int | str


@dataclass(frozen=True)
class Port:
    """The input of the model that takes the picture."""

    name: str
    kind: int
    dims: tuple[Dim, ...]
    axes: str

    def dim(self, axis: str) -> Dim:
        """Size of an axis, by its letter."""
        return self.dims[self.axes.index(axis)]

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width where the model fixes them."""
        height, width = self.dim("H"), self.dim("W")
        return (height, width) if isinstance(height, int) and isinstance(width, int) else None

    @property
    def gray(self) -> bool:
        """Whether there is one channel."""
        return self.dim("C") == 1


def find_port(model: ModelProto, metadata: Metadata, entries: Mapping[str, object]) -> Port:
    """The explained input that is a picture of 1 or 3 channels."""
    for info in model.graph.input:
        if info.name in metadata.inputs:
            dims = tuple(
                d.dim_value if d.HasField("dim_value") else d.dim_param or f"{info.name}_{i}"
                for i, d in enumerate(info.type.tensor_type.shape.dim)
            )
            axes = _axes(dims, str(entries.get("layout") or "").upper())
            if axes:
                return Port(info.name, info.type.tensor_type.elem_type, dims, axes)
    names = ", ".join(metadata.inputs)
    raise ModelError(
        f"none of the explained inputs {names} is a picture [N, C, H, W] or [N, H, W, C] of 1 or 3 "
        "channels: prepare it outside of the graph"
    )


def _axes(dims: tuple[Dim, ...], said: str) -> str:
    """`NCHW`, `NHWC`, or nothing where the input is no picture."""
    for axes in ("NCHW", "NHWC"):
        fits = len(dims) == 4 and dims[axes.index("C")] in (1, 3)
        if fits and said in ("", axes, axes[1:]):
            return axes
    return ""
