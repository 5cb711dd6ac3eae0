"""How a session runs: threads, precision, layout and memory, the same words for every provider."""

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from onnxlrp.errors import InputError

Provider: TypeAlias = str | tuple[str, Mapping[str, object]]

CPU: Final = "CPUExecutionProvider"
CUDA: Final = "CUDAExecutionProvider"
TENSORRT: Final = "TensorrtExecutionProvider"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Choices that change speed, memory or rounding, never the meaning of a result.

    Attributes:
        threads: Threads of one operator on the CPU; None: one per physical core.
        tf32: CUDA may round the factors of products to 10 bits (TensorFloat-32): faster, but
            relevance misses its sum by about 1e-3. TensorRT has no such option: there, set the
            environment variable `NVIDIA_TF32_OVERRIDE=0` before the process starts.
        channels_last: CUDA runs convolutions in the layout `[N, H, W, C]` (`prefer_nhwc`).
        cuda_graph: CUDA records the kernels of a run once per set of input shapes and replays them:
            static shapes, every node on CUDA, no Loop, Scan or If.
        fp16: TensorRT may compute in half precision.
        engines: Folder where TensorRT keeps its engines; None: it builds them anew each time.
        pattern: ONNX Runtime allocates all values of a run as one block, planned from a former run
            of equal shapes. The block comes on top of what the first run took: it costs up to
            twice the memory.
        shrink: Give memory back after every run, at the price of taking it again.
        pack: Keep a copy of the weights of dense products, packed for the processor. Without, one
            copy less is held, and products of many rows take longer.
        trim: Give back, once the graph is loaded, what loading it took (glibc only).
    """

    threads: int | None = None
    tf32: bool = False
    channels_last: bool = False
    cuda_graph: bool = False
    fp16: bool = False
    engines: str | os.PathLike[str] | None = None
    pattern: bool = False
    shrink: bool = False
    pack: bool = True
    trim: bool = True

    def __post_init__(self) -> None:
        """Check the number of threads.

        Raises:
            InputError: It is not positive.
        """
        if self.threads is not None and self.threads < 1:
            raise InputError(f"threads={self.threads} must be at least 1, or None for all cores")


def with_options(providers: Sequence[Provider], settings: Settings) -> list[Provider]:
    """Return the providers with the options that the settings ask for.

    Options that come with a provider win over the settings. CUDA takes what TensorRT cannot.
    """
    names = [_name(provider) for provider in providers]
    if settings.cuda_graph and CUDA not in names and TENSORRT not in names:
        raise InputError(f"cuda_graph needs '{CUDA}', got {', '.join(names) or 'no provider'}")
    if TENSORRT in names and CUDA not in names:
        at = names.index(TENSORRT) + 1
        providers = [*providers[:at], CUDA, *providers[at:]]
    if TENSORRT in names and not settings.tf32 and os.environ.get("NVIDIA_TF32_OVERRIDE") != "0":
        _log.warning("TensorRT uses TF32 unless NVIDIA_TF32_OVERRIDE=0 is set before the start")
    return [_with_own(provider, settings) for provider in providers]


def _name(provider: Provider) -> str:
    return provider if isinstance(provider, str) else provider[0]


def _with_own(provider: Provider, settings: Settings) -> Provider:
    name = _name(provider)
    given = {} if isinstance(provider, str) else dict(provider[1])
    own = {CUDA: _cuda, TENSORRT: _tensorrt}.get(name)
    if own is None:
        return provider
    return name, own(settings) | given


def _cuda(settings: Settings) -> dict[str, object]:
    return {
        "use_tf32": str(int(settings.tf32)),
        "prefer_nhwc": str(int(settings.channels_last)),
        "enable_cuda_graph": str(int(settings.cuda_graph)),
        "arena_extend_strategy": "kSameAsRequested",
    }


def _tensorrt(settings: Settings) -> dict[str, object]:
    options: dict[str, object] = {
        "trt_fp16_enable": str(int(settings.fp16)),
        "trt_cuda_graph_enable": str(int(settings.cuda_graph)),
    }
    if settings.engines is not None:
        folder = os.fspath(settings.engines)
        for kind in ("engine", "timing"):
            options[f"trt_{kind}_cache_enable"] = "1"
            options[f"trt_{kind}_cache_path"] = folder
    return options
