"""Ways to run a session once: plainly, through buffers on a device, or from a CUDA graph."""

import contextlib
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

import numpy as np

from onnxlrp.errors import ModelError
from onnxlrp.runtime.providers import CUDA, Session, failures, import_runtime
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.settings import TENSORRT, Settings

__all__ = ["Bound", "Captured", "Direct", "Runner", "choose_runner", "run_options"]

Feed: TypeAlias = Mapping[str, Array]
Key: TypeAlias = tuple[object, ...]

_MOST_SHAPES: Final = 8
_NO_CAPTURE: Final = "-1"


class Runner(Protocol):
    """Runs a session.

    Attributes:
        parallel: Runs that may be under way at once: one computes while another is copied.
    """

    parallel: int

    def run(self, names: Sequence[str], feed: Feed) -> list[Array]:
        """Return the outputs of the given names."""


def choose_runner(session: Session, settings: Settings, options: object = None) -> Runner:
    """Return what suits the providers: buffers are for a device, on the CPU they save nothing.

    A CUDA graph is replayed with options of its own.

    Raises:
        ModelError: A CUDA graph is asked for, but CUDA does not work, or a value is no tensor.
    """
    if not {CUDA, TENSORRT} & set(session.get_providers()[:1]):
        if settings.cuda_graph:
            raise ModelError("cuda_graph: CUDA does not work here; run without cuda_graph")
        return Direct(session, options)
    if settings.cuda_graph:
        return Captured(session)
    return Bound(session, "cuda", options)


class Direct:
    """Runs a session on arrays; on the CPU neither inputs nor outputs are copied."""

    parallel = 1

    def __init__(self, session: Session, options: object = None) -> None:
        self._session = session
        self._options = options

    def run(self, names: Sequence[str], feed: Feed) -> list[Array]:
        """Return the outputs of the given names."""
        return self._session.run(names, feed, self._options)


@dataclass(frozen=True)
class _Inputs:
    """Inputs of one set of shapes: buffers on the device, and the memory they are filled from.

    Attributes:
        binding: What ONNX Runtime reads them from.
        buffers: The buffers on the device by name.
        staging: Page-locked memory by name and its owner, where there is such memory.
    """

    binding: Any
    buffers: Mapping[str, Any]
    staging: Mapping[str, tuple[Array, object]]

    def fill(self, feed: Feed) -> None:
        for name, buffer in self.buffers.items():
            array = np.ascontiguousarray(feed[name])
            if name in self.staging:
                locked, _ = self.staging[name]
                np.copyto(locked, array)
                array = locked
            buffer.update_inplace(array)


class Bound:
    """Runs a session through input buffers on a device, kept per set of shapes and used again.

    Runs in several threads use buffers of their own. Outputs come back as arrays on the host.
    """

    parallel = 2

    def __init__(self, session: Session, device: str, options: object = None) -> None:
        self._session: Any = session
        self._device = device
        self._options = options
        self._free: OrderedDict[Key, list[_Inputs]] = OrderedDict()
        self._lock = threading.Lock()

    def run(self, names: Sequence[str], feed: Feed) -> list[Array]:
        """Return the outputs of the given names."""
        if any(array.dtype.kind in "OUS" for array in feed.values()):
            plain: list[Array] = self._session.run(names, feed, self._options)
            return plain
        key = _key((), feed)
        inputs = self._take(key) or _make_inputs(self._session, feed, self._device)
        inputs.fill(feed)
        for name in names:
            inputs.binding.bind_output(name, "cpu")
        self._session.run_with_iobinding(inputs.binding, self._options)
        found: list[Array] = inputs.binding.copy_outputs_to_cpu()
        # What stays bound is written over by the next run.
        inputs.binding.clear_binding_outputs()
        self._give_back(key, inputs)
        return found

    def _take(self, key: Key) -> _Inputs | None:
        with self._lock:
            free = self._free.get(key)
            return free.pop() if free else None

    def _give_back(self, key: Key, inputs: _Inputs) -> None:
        with self._lock:
            self._free.setdefault(key, []).append(inputs)
            self._free.move_to_end(key)
            while len(self._free) > _MOST_SHAPES:
                self._free.popitem(last=False)


class Captured:
    """Replays a CUDA graph per set of shapes; inputs and outputs keep their addresses.

    The first run of a set of shapes goes without a graph and shows the shapes of the outputs, the
    second is recorded, later ones are replayed. Source: ONNX Runtime, CUDA execution provider.
    """

    parallel = 1

    def __init__(self, session: Session, device: str = "cuda") -> None:
        """Keep the session; ONNX Runtime has checked its nodes when it was opened.

        Raises:
            ModelError: An input or output is no tensor, or one of strings.
        """
        self._session: Any = session
        self._device = device
        self._known: dict[Key, tuple[_Inputs, list[Any], object]] = {}
        self._lock = threading.Lock()
        _check_tensors(session)

    def run(self, names: Sequence[str], feed: Feed) -> list[Array]:
        """Return the outputs of the given names."""
        with self._lock:
            key = _key(names, feed)
            if key not in self._known:
                self._known[key] = self._first(names, feed)
            inputs, outputs, options = self._known[key]
            inputs.fill(feed)
            self._session.run_with_iobinding(inputs.binding, options)
            return [np.array(value.numpy()) for value in outputs]

    def _first(self, names: Sequence[str], feed: Feed) -> tuple[_Inputs, list[Any], object]:
        inputs = _make_inputs(self._session, feed, self._device)
        inputs.fill(feed)
        binding = inputs.binding
        for name in names:
            binding.bind_output(name, self._device)
        self._session.run_with_iobinding(binding, _graph_options(_NO_CAPTURE))
        outputs = list(binding.get_outputs())
        binding.clear_binding_outputs()
        for name, value in zip(names, outputs, strict=True):
            binding.bind_ortvalue_output(name, value)
        return inputs, outputs, _graph_options(str(len(self._known) + 1))


def _check_tensors(session: Session) -> None:
    for port in (*session.get_inputs(), *session.get_outputs()):
        if not port.type.startswith("tensor(") or port.type == "tensor(string)":
            raise ModelError(f"cuda_graph: '{port.name}' is {port.type}, which no buffer holds")


def _make_inputs(session: Any, feed: Feed, device: str) -> _Inputs:
    value = import_runtime().OrtValue
    binding = session.io_binding()
    buffers, staging = {}, {}
    for name, array in feed.items():
        buffers[name] = value.ortvalue_from_shape_and_type(array.shape, array.dtype, device, 0)
        binding.bind_ortvalue_input(name, buffers[name])
        locked = _locked(array) if device == "cuda" else None
        if locked is not None:
            staging[name] = locked
    return _Inputs(binding=binding, buffers=buffers, staging=staging)


def _locked(array: Array) -> tuple[Array, object] | None:
    """Page-locked memory of the same shape and type, which a GPU reads faster, and its owner."""
    runtime = import_runtime()
    with contextlib.suppress(*failures(), AttributeError, TypeError):
        kind = runtime.OrtDeviceMemoryType.HOST_ACCESSIBLE
        devices = [d for d in runtime.get_ep_devices() if d.ep_name == CUDA]
        info = devices[0].memory_info(kind) if devices else None
        if info is None:
            return None
        make = runtime.OrtValue.ortvalue_from_shape_and_type
        value = make(array.shape, array.dtype, memory_info=info)
        view: Array = value.numpy()
        if view.ctypes.data == value.data_ptr():
            return view, value
    return None


def _key(names: Sequence[str], feed: Feed) -> Key:
    return (*names, *((name, array.shape, array.dtype.str) for name, array in feed.items()))


def _graph_options(number: str) -> object:
    options = import_runtime().RunOptions()
    options.add_run_config_entry("gpu_graph_id", number)
    return options


def run_options(session: Session, settings: Settings) -> Any:
    """Return the options of all runs; setting their `terminate` breaks off what is under way."""
    options = import_runtime().RunOptions()
    if settings.shrink:
        device = "gpu:0;cpu:0" if CUDA in session.get_providers() else "cpu:0"
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", device)
    return options
