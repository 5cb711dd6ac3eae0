"""How the work is spread over workers."""

from dataclasses import dataclass
from typing import Literal

from onnxlrp.errors import InputError

__all__ = ["Plan"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How the work is spread; nothing here changes a result.

    Attributes:
        engine: `local`: processes of this machine. `ray`: an actor pool of Ray Data.
        workers: How many.
        retries: How often a shard is tried again after its worker died or failed.
        shard_size: Samples per shard, fixed when a run begins.
        resume: Go on with the run in the folder.
        address: Of a Ray cluster, `auto` or HOST:PORT; None: one of this process.
        gpus: GPUs of one Ray actor, also a fraction.
    """

    engine: Literal["local", "ray"] = "local"
    workers: int = 1
    retries: int = 2
    shard_size: int = 256
    resume: bool = False
    address: str | None = None
    gpus: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers.

        Raises:
            InputError: One is out of range, or does not belong to the engine.
        """
        for name, least in (("workers", 1), ("shard_size", 1), ("retries", 0), ("gpus", 0)):
            if getattr(self, name) < least:
                option = name.replace("_", "-")
                raise InputError(f"--{option} must be at least {least}, got {getattr(self, name)}")
        if self.engine == "local" and (self.address is not None or self.gpus):
            raise InputError("--address and --gpus are for --engine ray")
        if self.address is not None and self.address.startswith("ray://"):
            raise InputError(
                "--address ray://... (a Ray client) is not supported: pass --address auto on a "
                "machine of the cluster"
            )
