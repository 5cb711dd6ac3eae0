"""Decides how a call is cut into runs: which inputs carry the batch, and how many samples fit."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from onnxlrp.errors import InputError
from onnxlrp.metadata import HEATMAP, IMAGE, LEDGER, RELEVANCE
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.signature import Dim, Port, Signature

_ANONYMOUS: Final = re.compile(r"unk__\d+")
_EXPLANATION: Final = (RELEVANCE, HEATMAP, IMAGE, LEDGER)


@dataclass(frozen=True, kw_only=True)
class Slot:
    """An input for all samples, and how a run takes its part of it.

    Attributes:
        array: The values for all samples.
        axis: The batch axis; None where every run gets the whole array.
        single: The model has no batch axis: every run gets one sample, without that axis.
    """

    array: Array
    axis: int | None
    single: bool = False

    def part(self, low: int, high: int) -> Array:
        """Return the values of the samples from `low` up to `high`."""
        if self.axis is None:
            return self.array
        if self.single:
            return np.ascontiguousarray(self.array[low])
        if self.array.shape[self.axis] == 1:
            return np.repeat(self.array, high - low, self.axis)
        return np.ascontiguousarray(self.array[(slice(None),) * self.axis + (slice(low, high),)])


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a call is cut into runs.

    Attributes:
        count: Number of samples.
        size: Samples per run.
        slots: The inputs.
        symbols: Names of the batch axis in the graph.
        stacked: The model has no batch axis: results are stacked along a new first axis.
    """

    count: int
    size: int
    slots: dict[str, Slot]
    symbols: frozenset[str] = frozenset()
    stacked: bool = False

    def spans(self) -> Iterator[tuple[int, int]]:
        """Yield the first sample of each run and the one after its last."""
        for low in range(0, self.count, self.size):
            yield low, min(low + self.size, self.count)


def make_plan(
    signature: Signature,
    explained: Sequence[str],
    output: str,
    arrays: Mapping[str, Array],
    batch_size: int,
) -> Plan:
    """Plan the runs for the given inputs.

    Inputs whose axis 0 carries the batch symbol are split, and so is the axis of the same name in
    other inputs. Where every explained input has a fixed axis 0 of 1, samples run singly; where a
    fixed model gets one axis more than it declares, sample by sample. Others are passed whole.

    Raises:
        InputError: An array does not fit, or inputs disagree about the number of samples.
    """
    if batch_size < 1:
        raise InputError(f"batch_size must be at least 1, got {batch_size}")
    ports = [signature.inputs[name] for name in explained]
    if _stacked(ports, arrays):
        plan = _plan_stacked(signature, arrays)
    elif all(port.shape[:1] == (1,) for port in ports):
        plan = _plan_singles(signature, explained, arrays)
    else:
        plan = _plan_batches(signature, ports, signature.outputs[output], arrays, batch_size)
    if plan.count < 1:
        raise InputError(f"input '{explained[0]}' has no samples")
    return plan


def _stacked(ports: Sequence[Port], arrays: Mapping[str, Array]) -> bool:
    fixed = all(isinstance(dim, int) for port in ports for dim in port.shape[:1])
    return fixed and any(arrays[port.name].ndim == len(port.shape) + 1 for port in ports)


def _plan_stacked(signature: Signature, arrays: Mapping[str, Array]) -> Plan:
    slots, counts = {}, {}
    for name, port in signature.inputs.items():
        array = arrays[name]
        single = array.ndim == len(port.shape) + 1
        _check(port, array.shape[1:] if single else array.shape)
        slots[name] = Slot(array=array, axis=0 if single else None, single=single)
        if single:
            counts[name] = len(array)
    return Plan(count=_agreed(counts), size=1, slots=slots, stacked=True)


def _plan_singles(
    signature: Signature, explained: Sequence[str], arrays: Mapping[str, Array]
) -> Plan:
    for name in explained:
        _check(signature.inputs[name], arrays[name].shape, free=0)
    lengths = {name: len(arrays[name]) for name in explained}
    count = _agreed({name: n for name, n in lengths.items() if n != 1} or lengths)
    slots = {}
    for name, port in signature.inputs.items():
        split = port.shape[:1] == (1,) and arrays[name].shape[:1] == (count,)
        _check(port, arrays[name].shape, free=0 if split else None)
        slots[name] = Slot(array=arrays[name], axis=0 if split else None)
    return Plan(count=count, size=1, slots=slots)


def _plan_batches(
    signature: Signature,
    explained: Sequence[Port],
    output: Port,
    arrays: Mapping[str, Array],
    batch_size: int,
) -> Plan:
    for port in signature.inputs.values():
        _check(port, arrays[port.name].shape)
    symbols, first = _batch_symbols(explained, output)
    if not first:
        return _plan_whole(signature, explained[0], symbols, arrays)
    count = _agreed({port.name: len(arrays[port.name]) for port in first})
    slots = {}
    for port in signature.inputs.values():
        axis = 0 if port in first else _batch_axis(port, symbols, arrays[port.name].shape, count)
        slots[port.name] = Slot(array=arrays[port.name], axis=axis)
        if axis is not None and port not in explained:
            _agreed({first[0].name: count, port.name: arrays[port.name].shape[axis]}, one=True)
    whole = any(slots[port.name].axis is None for port in explained)
    lacking = whole or any(_lacks_batch(p, symbols) for p in signature.outputs.values())
    return Plan(count=count, size=1 if lacking else batch_size, slots=slots, symbols=symbols)


def _plan_whole(
    signature: Signature, port: Port, symbols: frozenset[str], arrays: Mapping[str, Array]
) -> Plan:
    shape = arrays[port.name].shape
    axis = _batch_axis(port, symbols, shape, 0) or 0
    count = shape[axis] if shape else 1
    slots = {name: Slot(array=arrays[name], axis=None) for name in signature.inputs}
    return Plan(count=count, size=max(count, 1), slots=slots, symbols=symbols)


def _batch_symbols(explained: Sequence[Port], output: Port) -> tuple[frozenset[str], list[Port]]:
    """Return the names of the batch axis and the explained inputs whose axis 0 it is."""
    name = output.shape[0] if output.shape else None
    if isinstance(name, str) and any(name in port.shape for port in explained):
        return frozenset({name}), [port for port in explained if port.shape[0] == name]
    first = [port for port in explained if port.shape and not isinstance(port.shape[0], int)]
    return frozenset(port.shape[0] for port in first if isinstance(port.shape[0], str)), first


def _batch_axis(
    port: Port, symbols: frozenset[str], shape: Sequence[int], count: int
) -> int | None:
    for axis, dim in enumerate(port.shape):
        if isinstance(dim, str) and dim in symbols:
            return axis
    if port.shape and _is_anonymous(port.shape[0]) and shape[0] == count:
        return 0
    return None


def _is_anonymous(dim: Dim) -> bool:
    return dim is None or (isinstance(dim, str) and _ANONYMOUS.fullmatch(dim) is not None)


def _lacks_batch(port: Port, symbols: frozenset[str]) -> bool:
    if port.name.startswith(_EXPLANATION):
        return False
    if any(isinstance(dim, str) and dim in symbols for dim in port.shape):
        return False
    return not port.shape or isinstance(port.shape[0], int)


def _agreed(counts: Mapping[str, int], *, one: bool = False) -> int:
    """Return the number of samples that all inputs have; `one`: a single one is repeated."""
    found = {n for n in counts.values() if not (one and n == 1)}
    if len(found) > 1:
        said = ", ".join(f"'{name}' has {n}" for name, n in counts.items())
        raise InputError(f"inputs disagree about the number of samples: {said}")
    return next(iter(counts.values()))


def _check(port: Port, shape: Sequence[int], free: int | None = None) -> None:
    fits = len(shape) == len(port.shape) and all(
        axis == free or not isinstance(want, int) or want == came
        for axis, (want, came) in enumerate(zip(port.shape, shape, strict=False))
    )
    if fits:
        return
    hint = ""
    if len(shape) == len(port.shape) - 1 and not (
        isinstance(port.shape[0], int) and port.shape[0] > 1
    ):
        hint = "; add the batch axis: x[None]"
    raise InputError(f"input '{port.name}' expects {port}, got shape {list(shape)}{hint}")
