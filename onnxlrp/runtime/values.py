"""Turns what the user passes into arrays of the declared type; refuses what would change values."""

import numpy as np
import numpy.typing as npt

from onnxlrp.errors import InputError
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.signature import Port


def as_declared(name: str, value: npt.ArrayLike, port: Port) -> Array:
    """Return the value as an array of the declared type.

    Floats may be rounded to a shorter float, integers become floats where they are exact, and an
    integer type changes where every value fits; nothing else is converted.

    Raises:
        InputError: The value is no array, or does not fit the type.
    """
    array = _array(name, value, port)
    if port.dtype is None:
        raise InputError(f"input '{name}' has type {port.kind}, which numpy cannot hold")
    if array.dtype == port.dtype:
        return array
    if port.kind == "string" and array.dtype.kind in "US":
        return array.astype(object)
    if array.dtype.kind not in "fiub" or not _safe(array, port.dtype):
        raise InputError(
            f"input '{name}' expects {port}, got {array.dtype} of shape {list(array.shape)} whose "
            f"values do not all fit {port.kind}; convert it first"
        )
    return array.astype(port.dtype)


def _array(name: str, value: npt.ArrayLike, port: Port) -> Array:
    try:
        array: Array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"input '{name}' expects {port}, got rows of unequal length") from error
    return array


def _safe(array: Array, dtype: np.dtype[np.generic]) -> bool:
    kinds = array.dtype.kind + dtype.kind
    if kinds == "ff":
        with np.errstate(over="ignore"):
            rounded = array.astype(dtype).astype(np.float64)
        return bool(np.array_equal(np.isfinite(array.astype(np.float64)), np.isfinite(rounded)))
    if kinds[0] not in "iub" or kinds[1] not in "iuf":
        return False
    if kinds[1] in "iu":
        return _in_range(array, dtype)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.array_equal(array.astype(dtype).astype(array.dtype), array))


def _in_range(array: Array, dtype: np.dtype[np.generic]) -> bool:
    if not array.size:
        return True
    limits = np.iinfo(dtype.name)
    low, high = int(array.min()), int(array.max())
    return limits.min <= low and high <= limits.max
