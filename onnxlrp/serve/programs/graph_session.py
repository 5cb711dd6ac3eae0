"""An ONNX Runtime session whose failures are errors of one line."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state

Array = npt.NDArray[Any]

_OWN = [each for each in vars(onnxruntime_pybind11_state).values() if isinstance(each, type)]
_FAILURES: tuple[type[BaseException], ...] = (
    *(each for each in _OWN if issubclass(each, Exception)),
    RuntimeError,
    ValueError,
    TypeError,
    MemoryError,
)


def open_session(path: Path, providers: Sequence[Sequence[Any]], threads: int = 0) -> Any:
    """Open a session on providers, each a name and its options; 0 threads: one per core."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = threads
    if len(providers) > 1 and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()
    pairs = [(name, own) for name, own in providers]
    return onnxruntime.InferenceSession(str(path), options, providers=pairs)


def run(session: Any, names: Sequence[str], feeds: Mapping[str, Array]) -> dict[str, Array]:
    """Return the outputs by name.

    Raises:
        ValueError: The graph cannot be run on these values.
    """
    try:
        return dict(zip(names, session.run(names, feeds), strict=True))
    except _FAILURES as error:
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def check_input(name: str, array: Array, most: int) -> None:
    """Check that an input is not too large, and finite.

    Raises:
        ValueError: It is not.
    """
    if array.size > most:
        raise ValueError(f"input '{name}' has {array.size} values, more than {most}")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise ValueError(f"input '{name}' has values that are not finite (NaN or infinity)")


def check_target(outputs: Mapping[str, Array]) -> None:
    """Check the relevance of a run with a target: the graph answers NaN to one out of range.

    Raises:
        ValueError: It is not finite.
    """
    maps = [array for name, array in outputs.items() if name.startswith("relevance/")]
    if not all(np.isfinite(array).all() for array in maps):
        raise ValueError("relevance is not finite: 'target' is out of range")
