"""Imports ONNX Runtime late, chooses a provider that really works and opens sessions."""

import base64
import contextlib
import ctypes
import functools
import importlib
import logging
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any, Final, Protocol

import numpy as np

from onnxlrp.errors import InputError, ModelError, RuntimeMissing
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.settings import CPU, CUDA, Provider, Settings, with_options

__all__ = ["CPU", "CUDA", "Provider", "Session", "open_session"]

# y = Conv(x, x) with x [1, 1, 1, 1]: without cuDNN it opens on CUDA but does not run.
_PROBE: Final = base64.b64decode(
    "CAg6UAoRCgF4CgF4EgF5IgRDb252OgASAXBaGwoBeBIWChQIARIQCgIIAQoCCAEKAggBCgIIAWIbCgF5EhYKFAgBEhAK"
    "AggBCgIIAQoCCAEKAggBQgQKABAN"
)

_log = logging.getLogger(__name__)


class Argument(Protocol):
    """Name, type and shape of an input or output, as ONNX Runtime describes it."""

    name: str
    type: str
    shape: list[int | str | None]


class ModelMeta(Protocol):
    """Metadata of a model, as ONNX Runtime describes it."""

    custom_metadata_map: dict[str, str]


class AssignedNode(Protocol):
    """A node of the optimised graph."""

    name: str
    op_type: str


class Assignment(Protocol):
    """Nodes that run on one provider."""

    ep_name: str

    def get_nodes(self) -> list[AssignedNode]:
        """Return the nodes."""


class Session(Protocol):
    """The part of `onnxruntime.InferenceSession` that we use."""

    def run(
        self, names: Sequence[str] | None, feeds: Mapping[str, Array], options: object = None
    ) -> list[Array]:
        """Run the model once."""

    def get_inputs(self) -> list[Argument]:
        """Return the inputs that must be fed."""

    def get_overridable_initializers(self) -> list[Argument]:
        """Return the inputs that have a default."""

    def get_outputs(self) -> list[Argument]:
        """Return the outputs."""

    def get_providers(self) -> list[str]:
        """Return the providers in use."""

    def get_modelmeta(self) -> ModelMeta:
        """Return the metadata of the model."""

    def get_provider_graph_assignment_info(self) -> list[Assignment]:
        """Return which node runs where."""


def import_runtime() -> ModuleType:
    """Import ONNX Runtime.

    Raises:
        RuntimeMissing: It is not installed, or two of its packages overwrote each other.
    """
    try:
        module = importlib.import_module("onnxruntime")
    except ImportError as error:
        raise RuntimeMissing(
            "ONNX Runtime is not installed: run `pip install onnxlrp[cpu]`, or "
            f"`pip install onnxlrp[gpu]` for NVIDIA GPUs ({one_line(error)})"
        ) from error
    if not hasattr(module, "InferenceSession"):
        raise RuntimeMissing(
            "ONNX Runtime is damaged, as when both onnxruntime and onnxruntime-gpu were installed: "
            "uninstall both, then reinstall the extra `cpu` or `gpu` of onnxlrp"
        )
    return module


def failures() -> tuple[type[Exception], ...]:
    """Return the exceptions that ONNX Runtime raises for a model or input it cannot use."""
    import_runtime()
    state = importlib.import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    own = [
        member
        for member in vars(state).values()
        if isinstance(member, type) and issubclass(member, Exception)
    ]
    return (*own, RuntimeError, ValueError, OSError)


def open_session(
    source: str | bytes,
    providers: Sequence[Provider] | None = None,
    settings: Settings | None = None,
    weights: Mapping[str, object] | None = None,
) -> Session:
    """Open a session on the given providers, or on CUDA where it works, else on the CPU.

    Args:
        source: Path or bytes of the model.
        providers: Providers as ONNX Runtime takes them.
        settings: How the session runs.
        weights: Weights that several sessions read, OrtValues by name; kept alive by the caller. A
            packed copy in each session would make them needless: none is made.

    Raises:
        InputError: The settings need another provider.
        ModelError: ONNX Runtime refuses the model or the providers.
    """
    runtime, settings = import_runtime(), settings or Settings()
    if providers is None:
        providers = [CUDA, CPU] if cuda_works() else [CPU]
    elif any(CUDA in (each, each[0]) for each in providers):
        cuda_works()  # loads the libraries of the pip packages
    options = _options(runtime)
    options.enable_mem_pattern = settings.pattern
    options.intra_op_num_threads = settings.threads or 0
    if weights is not None or not settings.pack:
        options.add_session_config_entry("session.disable_prepacking", "1")
    for name, value in (weights or {}).items():
        options.add_initializer(name, value)
    where = f"'{source}'" if isinstance(source, str) else "the model"
    try:
        session: Session = runtime.InferenceSession(
            source,
            options,
            providers=with_options(providers, settings),
            enable_fallback=int(not settings.cuda_graph),
        )
    except failures() as error:
        raise ModelError(f"ONNX Runtime cannot load {where}: {one_line(error)}") from error
    if settings.trim:
        _trim()
    _log.info("providers: %s", ", ".join(session.get_providers()))
    return session


def _trim() -> None:
    """Give freed memory back to the system, where the C library can."""
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def check_providers(asked: Sequence[str], used: Sequence[str] | None = None) -> None:
    """Check that providers asked for by name exist, or, given those in use, that they work.

    Raises:
        InputError: A provider is not part of the installed ONNX Runtime, or does not work here.
    """
    known = import_runtime().get_available_providers() if used is None else used
    for name in asked:
        if name not in known:
            state = "not part of the installed ONNX Runtime" if used is None else "not working here"
            raise InputError(f"provider '{name}' is {state}; there is {', '.join(known)}")


@functools.cache
def cuda_works() -> bool:
    """Tell whether a convolution runs on a CUDA device; prints nothing."""
    runtime = import_runtime()
    if CUDA not in runtime.get_available_providers() or not _driver_loads():
        return False
    with _silence():
        try:
            if hasattr(runtime, "preload_dlls"):
                runtime.preload_dlls()
            session = runtime.InferenceSession(_PROBE, _options(runtime), providers=[CUDA])
            session.disable_fallback()
            session.run(None, {"x": np.ones((1, 1, 1, 1), np.float32)})
        except failures() as error:
            _log.info("CUDA does not work, using the CPU: %s", one_line(error))
            return False
        return CUDA in session.get_providers()


def one_line(error: BaseException) -> str:
    """Return the text of an exception on one line, without ONNX Runtime's error codes."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError]"):
        text = text.split(" : ", 3)[-1]
    return text or type(error).__name__


def _options(runtime: ModuleType) -> Any:
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return options


def _driver_loads() -> bool:
    try:
        ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Send what native code and Python print to the null device."""
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        with open(os.devnull, "w") as sink, contextlib.redirect_stdout(sink):
            os.dup2(null, 1)
            os.dup2(null, 2)
            yield
    finally:
        os.dup2(kept[0], 1)
        os.dup2(kept[1], 2)
        for handle in (*kept, null):
            os.close(handle)
