"""Open Inference Protocol v2 over REST: requests to arrays, arrays to answers.

Tensors come as JSON or, with the binary tensor extension, behind the JSON as raw little-endian
numbers (`Inference-Header-Content-Length`, `binary_data_size`, `binary_data`).
Source: https://github.com/kserve/open-inference-protocol and Triton's `extension_binary_data`.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, NoReturn, TypeAlias

import numpy as np

from onnxlrp.errors import InputError
from onnxlrp.metadata import HEATMAP, IMAGE, LEDGER, MASK, RELEVANCE, SEED, TARGET
from onnxlrp.runtime import Request, Result
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.signature import Port, Signature
from onnxlrp.serve.datatypes import DATATYPES

Json: TypeAlias = Mapping[str, object]

HEADER_LENGTH: Final = "Inference-Header-Content-Length"
_NAMES: Final = {
    "bool": "BOOL",
    "float16": "FP16",
    "float32": "FP32",
    "float64": "FP64",
    "object": "BYTES",
}
_MOST_AXES: Final = 16


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request as read.

    Attributes:
        request: What is run.
        name: Its `id`, sent back.
        outputs: Names of the wanted outputs, and whether each comes as raw numbers.
    """

    request: Request
    name: str | None
    outputs: Mapping[str, bool]


def describe(name: str, signature: Signature) -> dict[str, object]:
    """Return the metadata of a model: its inputs and outputs with types and shapes."""
    inputs = {**signature.inputs, **signature.extra}
    return {
        "name": name,
        "versions": ["1"],
        "platform": "onnxruntime_onnx",
        "inputs": [_port(port) for port in inputs.values()],
        "outputs": [_port(port) for port in signature.outputs.values()],
    }


def read_request(body: bytes, header: str | None, signature: Signature) -> Asked:
    """Read the body of an inference request.

    Args:
        body: JSON, with raw numbers behind it where `header` says how long the JSON is.
        header: The value of `Inference-Header-Content-Length`.
        signature: Inputs and outputs of the graph.

    Raises:
        InputError: It is not a request of the protocol, or a tensor does not fit; NaN and
            infinity are refused.
    """
    length = _header_length(header, len(body))
    entries = _object(_parse(body[:length]), "the request")
    known = {**signature.inputs, **signature.extra}
    raw, arrays = memoryview(body)[length:], {}
    for entry in _list(entries.get("inputs"), "inputs"):
        name, array, used = _tensor(_object(entry, "an input"), known, raw)
        if name in arrays:
            raise InputError(f"input '{name}' is given twice")
        arrays[name], raw = array, raw[used:]
    if len(raw):
        raise InputError(f"{len(raw)} bytes are left behind the last tensor")
    said = entries.get("id")
    return Asked(
        request=_request(arrays),
        name=said if isinstance(said, str) else None,
        outputs=_wanted(entries, signature),
    )


def make_answer(model: str, asked: Asked, result: Result) -> tuple[bytes, int | None]:
    """Return the body of the answer, and the length of its JSON where raw numbers follow it.

    Raises:
        InputError: An output is not finite, which JSON cannot hold, or has no raw form.
    """
    arrays = _arrays(result)
    outputs, raw = [], []
    for name, binary in asked.outputs.items():
        array = arrays[name]
        entry: dict[str, object] = {"name": name, "datatype": _datatype(array)}
        entry["shape"] = list(array.shape)
        if binary:
            raw.append(_raw(name, array))
            entry["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            entry["data"] = array.reshape(-1).tolist()
        outputs.append(entry)
    answer = {"model_name": model, "model_version": "1", "outputs": outputs}
    if asked.name is not None:
        answer["id"] = asked.name
    try:
        text = json.dumps(answer, allow_nan=False, separators=(",", ":")).encode()
    except ValueError as error:
        raise InputError(
            "an output has NaN or infinity, which JSON cannot hold: ask for binary_data, or for "
            "other outputs"
        ) from error
    return b"".join([text, *raw]), len(text) if raw else None


def _port(port: Port) -> dict[str, object]:
    shape = [dim if isinstance(dim, int) else -1 for dim in port.shape]
    return {"name": port.name, "datatype": DATATYPES.get(port.kind, port.kind), "shape": shape}


def _header_length(header: str | None, size: int) -> int:
    if header is None:
        return size
    if not (header.isascii() and header.isdigit() and len(header) < 16) or int(header) > size:
        raise InputError(f"header {HEADER_LENGTH} must be a length up to {size}, got '{header}'")
    return int(header)


def _parse(text: bytes) -> object:
    try:
        parsed: object = json.loads(text, parse_constant=_not_finite)
    except RecursionError as error:
        raise InputError("the JSON of the request is nested too deeply") from error
    except ValueError as error:
        raise InputError(f"the request is not JSON: {error}") from error
    return parsed


def _not_finite(text: str) -> NoReturn:
    raise InputError(f"{text} is not JSON, and no input may hold it")


def _tensor(entry: Json, known: Mapping[str, Port], raw: memoryview) -> tuple[str, Array, int]:
    """Return the name and values of a tensor, and how many raw bytes it took."""
    name = entry.get("name")
    if not isinstance(name, str) or name not in known:
        raise InputError(f"the model has no input {name!r}; its inputs: {', '.join(known)}")
    port, shape = known[name], _shape(entry.get("shape"), name)
    wanted = DATATYPES.get(port.kind)
    if entry.get("datatype") != wanted or port.dtype is None:
        raise InputError(f"input '{name}' has datatype {wanted}, got {entry.get('datatype')!r}")
    size = _object(entry.get("parameters", {}), "parameters").get("binary_data_size")
    text = port.dtype.hasobject
    array = (
        _from_json(entry, name, text=text)
        if size is None
        else _from_raw(raw, size, name, port.dtype)
    )
    if array.size != math.prod(shape):
        raise InputError(f"input '{name}' of shape {list(shape)} comes with {array.size} values")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise InputError(f"input '{name}' has values that are not finite (NaN or infinity)")
    used = size if isinstance(size, int) else 0
    return name, array.reshape(shape), used


def _shape(value: object, name: str) -> tuple[int, ...]:
    dims = _list(value, f"shape of input '{name}'")
    whole = [dim for dim in dims if type(dim) is int and 0 <= dim < 2**40]
    if len(whole) != len(dims) or len(dims) > _MOST_AXES:
        raise InputError(f"input '{name}' needs a shape of at most {_MOST_AXES} whole numbers")
    return tuple(whole)


def _from_json(entry: Json, name: str, *, text: bool) -> Array:
    data = _list(entry.get("data"), f"data of input '{name}'")
    uneven = f"input '{name}': its data has rows of unequal length"
    try:
        # As objects first: numpy gives every text the length of the longest.
        array: Array = np.array(data, object)
        kinds = set(map(type, array.reshape(-1)))
        if not text and kinds <= {int, float, bool}:
            array = np.asarray(data)
    except (ValueError, OverflowError) as error:
        raise InputError(uneven) from error
    if list in kinds:
        raise InputError(uneven)
    if array.size and array.dtype.kind not in "biuf" and not (text and kinds == {str}):
        raise InputError(f"input '{name}': its data must be {'text' if text else 'numbers'}")
    return array


def _from_raw(raw: memoryview, size: object, name: str, dtype: np.dtype[np.generic]) -> Array:
    if dtype.hasobject:
        raise InputError(f"input '{name}' is text: send it as JSON, not as binary data")
    if type(size) is not int or not 0 <= size <= len(raw) or size % dtype.itemsize:
        raise InputError(
            f"input '{name}': binary_data_size {size!r} is no multiple of {dtype.itemsize} within "
            f"the {len(raw)} bytes that are left"
        )
    return np.frombuffer(raw[:size], dtype.newbyteorder("<"))


def _request(arrays: dict[str, Array]) -> Request:
    special = {TARGET, SEED, *(name for name in arrays if name.startswith(MASK))}
    return Request(
        inputs={name: array for name, array in arrays.items() if name not in special},
        target=arrays.get(TARGET),
        seed=arrays.get(SEED),
        masks={name: array for name, array in arrays.items() if name.startswith(MASK)},
    )


def _wanted(entries: Json, signature: Signature) -> dict[str, bool]:
    default = _flag(entries, "binary_data_output", default=False)
    if not entries.get("outputs"):
        return dict.fromkeys(signature.outputs, default)
    wanted = {}
    for entry in _list(entries["outputs"], "outputs"):
        output = _object(entry, "an output")
        name = output.get("name")
        if not isinstance(name, str) or name not in signature.outputs:
            known = ", ".join(signature.outputs)
            raise InputError(f"the model has no output {name!r}; its outputs: {known}")
        wanted[name] = _flag(output, "binary_data", default=default)
    return wanted


def _flag(entry: Json, name: str, *, default: bool) -> bool:
    value = _object(entry.get("parameters", {}), "parameters").get(name, default)
    if not isinstance(value, bool):
        raise InputError(f"parameter '{name}' is true or false, not {value!r}")
    return value


def _object(value: object, what: str) -> Json:
    if not isinstance(value, dict):
        raise InputError(f"{what} must be a JSON object")
    return value


def _list(value: object, what: str) -> list[object]:
    if not isinstance(value, list):
        raise InputError(f"{what} must be a JSON list")
    return value


def _arrays(result: Result) -> dict[str, Array]:
    """Return the outputs under their names in the graph."""
    parts = ((RELEVANCE, result.relevance), (HEATMAP, result.heatmap), (IMAGE, result.image))
    arrays = {**result.outputs}
    for prefix, part in parts:
        arrays.update({prefix + name: array for name, array in part.items()})
    return arrays if result.ledger is None else {**arrays, LEDGER: result.ledger}


def _datatype(array: Array) -> str:
    return _NAMES.get(array.dtype.name, array.dtype.name.upper())


def _raw(name: str, array: Array) -> bytes:
    if array.dtype.hasobject:
        raise InputError(f"output '{name}' is text: ask for it as JSON, not as binary data")
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
