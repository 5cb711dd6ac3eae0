"""Times one model in this process: a JSON object in, one JSON object out.

    python -m onnxlrp.cli.bench.worker '{"model": ..., "provider": ..., "batch": ..., ...}'

Keys: `model` (path), `provider`, `batch`, `dims` (sizes of the other free axes by name), `seconds`
(no further run once they are spent) and `repeats` (most runs).
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from onnxlrp.errors import Error, InputError
from onnxlrp.runtime.batching import peak_memory, reset_peak, resident_memory
from onnxlrp.runtime.providers import (
    check_providers,
    failures,
    import_runtime,
    one_line,
    open_session,
)
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.signature import Dim, Port, read_signature

__all__ = ["draw_inputs", "main"]

_MS: Final = 1e3
_MIB: Final = 2**20


def main(arguments: Sequence[str]) -> int:
    """Print what was measured, or the reason why nothing was."""
    job = json.loads(arguments[0])
    expected: tuple[type[Exception], ...] = (Error, *failures())
    try:
        found = measure(job)
    except expected as error:
        found = {"error": one_line(error)}
    print(json.dumps(found))
    return 0


def measure(job: Mapping[str, Any]) -> dict[str, Any]:
    """Load a model, run it once, then until the time or the runs are spent.

    Raises:
        Error: The model cannot be loaded or fed.
    """
    import_runtime()
    idle = resident_memory()
    began = time.perf_counter()
    session = open_session(job["model"], [job["provider"]])
    load = time.perf_counter() - began
    check_providers([job["provider"]], session.get_providers())
    feed = draw_inputs(read_signature(session).inputs, job["batch"], job["dims"])
    reset_peak()
    began = time.perf_counter()
    session.run(None, feed)
    first = _MS * (time.perf_counter() - began)
    times: list[float] = []
    while len(times) < job["repeats"] and time.perf_counter() - began < job["seconds"]:
        start = time.perf_counter()
        session.run(None, feed)
        times.append(_MS * (time.perf_counter() - start))
    peak = peak_memory()
    return {
        "times": times or [first],
        "first_ms": first,
        "load_s": load,
        "peak_mib": None if idle is None or peak is None else (peak - idle) / _MIB,
    }


def draw_inputs(ports: Mapping[str, Port], batch: int, dims: Mapping[str, int]) -> dict[str, Array]:
    """Draw inputs that fit: normal numbers, integers of 0 and 1, masks of ones.

    Args:
        ports: The inputs of the model.
        batch: Size of a free axis 0.
        dims: Sizes of free axes by name, the batch's too.

    Raises:
        InputError: An axis is free, or the batch does not fit.
    """
    rng = np.random.default_rng(0)
    if batch > 1 and not any(_is_free(port, dims) for port in ports.values()):
        raise InputError(f"the model has no free batch axis: batch {batch} does not fit")
    found: dict[str, Array] = {}
    for name, port in ports.items():
        if port.dtype is None or port.dtype == object:
            raise InputError(f"input '{name}' is {port}: no values can be drawn for it")
        shape = [_size(port, axis, batch, dims) for axis in range(len(port.shape))]
        if port.dtype.kind == "f":
            found[name] = rng.standard_normal(shape).astype(port.dtype)
        else:
            drawn = np.ones(shape) if "mask" in name else rng.integers(0, 2, shape)
            found[name] = drawn.astype(port.dtype)
    return found


def _is_free(port: Port, dims: Mapping[str, int]) -> bool:
    return any(not isinstance(dim, int) and dim not in dims for dim in port.shape[:1])


def _size(port: Port, axis: int, batch: int, dims: Mapping[str, int]) -> int:
    dim: Dim = port.shape[axis]
    if isinstance(dim, int):
        return dim
    if dim in dims:
        return dims[str(dim)]
    if axis == 0:
        return batch
    raise InputError(
        f"axis {axis} of input '{port.name}' is free: pass --dim {dim or 'NAME'}=SIZE for {port}"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
