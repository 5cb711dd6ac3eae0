"""Choices for a model repository of Triton."""

from dataclasses import dataclass, field
from typing import Final

from onnxlrp.errors import InputError
from onnxlrp.serve.settings import Limits

BACKENDS: Final = ("onnxruntime", "python")
DEVICES: Final = ("auto", "cpu", "cuda", "tensorrt")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Choices for a model repository.

    Attributes:
        backend: `onnxruntime`, or `python` for servers without that backend.
        device: `auto` (what the server has), `cpu`, `cuda` or `tensorrt`.
        version: Number of the model's version.
        max_batch: Most samples that the server puts into one run; 0 or 1: requests run as sent.
        delay: Microseconds that a request waits for others to share its run.
        instances: Sessions.
        threads: Threads of one operator; 0: one per core.
        fp16: TensorRT may compute in half precision.
        engines: Folder on the server where TensorRT keeps its engines; None: built at each start.
        limits: What a request may ask for; values are checked by the Python backend.
    """

    backend: str = "onnxruntime"
    device: str = "auto"
    version: int = 1
    max_batch: int = 8
    delay: int = 500
    instances: int = 1
    threads: int = 0
    fp16: bool = False
    engines: str | None = None
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        """Check the choices.

        Raises:
            InputError: One is out of range.
        """
        if self.backend not in BACKENDS:
            raise InputError(f"unknown backend '{self.backend}'; known: {', '.join(BACKENDS)}")
        if self.device not in DEVICES:
            raise InputError(f"unknown device '{self.device}'; known: {', '.join(DEVICES)}")
        least = {"version": 1, "max_batch": 0, "delay": 0, "instances": 1, "threads": 0}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise InputError(f"{name} must be at least {low}, got {getattr(self, name)}")
