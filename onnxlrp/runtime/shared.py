"""Weights that several sessions read from one place in memory."""

import hashlib
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from onnxlrp.runtime.initializers import read_weights
from onnxlrp.runtime.providers import import_runtime

if TYPE_CHECKING:
    from onnxlrp.runtime.result import Array

__all__ = ["Weights"]


@dataclass
class Weights:
    """Weights by their content: the model and its explanation graphs hold the same ones.

    Sessions that are opened with it take their matrices (weights of Gemm, MatMul and Gather) from
    here. Weights of convolutions are left to each session, for ONNX Runtime copies them into a
    layout of its own; and so are derived forms (|W|, max(W, 0)). Matrices are not packed: a session
    keeps no copy, and its products of many rows may be slower. Keep the object as long as its
    sessions. Source: `SessionOptions.add_initializer` of ONNX Runtime.

    Attributes:
        size: Bytes held.
        saved: Bytes that a session asked for and that were there.
    """

    size: int = 0
    saved: int = 0
    _values: dict[bytes, Any] = field(default_factory=dict, repr=False)

    def of(self, source: str | bytes | os.PathLike[str]) -> dict[str, object]:
        """Return the matrices of a model as OrtValues by name.

        Raises:
            ModelError: The file cannot be read.
        """
        path = os.fspath(source) if isinstance(source, os.PathLike) else source
        return {name: self._value(array) for name, array in read_weights(path, rank=2).items()}

    def _value(self, array: "Array") -> object:
        head = f"{array.dtype.str}{array.shape}".encode()
        key = hashlib.sha256(head + hashlib.sha256(array.data).digest()).digest()
        if key in self._values:
            self.saved += array.nbytes
        else:
            self.size += array.nbytes
            self._values[key] = import_runtime().OrtValue.ortvalue_from_numpy(array)
        return self._values[key]
