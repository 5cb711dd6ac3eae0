"""Workers as the actor pool of a Ray Data job, each with one session: here, or on a cluster."""

import importlib
import logging
import os
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from onnxlrp.distribute.folder import Folder
from onnxlrp.distribute.job import Job, Lost, Outcome, Receipt, Refused
from onnxlrp.distribute.local import attempt
from onnxlrp.distribute.plan import Plan
from onnxlrp.distribute.shard import Tools
from onnxlrp.errors import Error, InputError, ModelError, RuntimeMissing

__all__ = ["Worker", "explain_ray"]

_OBJECT_STORE: Final = 128 * 2**20
_STEPS: Final = 1000
_PATIENCE: Final = 10.0
_MOST_SHARE: Final = 0.9


def explain_ray(job: Job, places: Sequence[tuple[int, int]], plan: Plan) -> Iterator[Outcome]:
    """Yield the outcome of every shard, in the order in which they end.

    Paths of the model, the data and the results must mean the same on every machine. Ray Data
    starts a dead actor again and repeats its shard; a shard done twice leaves equal results.

    Args:
        job: What every actor gets.
        places: Number and place in the manifest of the shards.
        plan: Where the actors run, how many, and how often a shard is tried again.

    Raises:
        InputError: The cluster has not the GPUs that are asked for.
        ModelError: An actor cannot start, or no cluster answers.
        RuntimeMissing: Ray is not installed.
    """
    if not places:
        return
    ray = _import_ray()
    own = not ray.is_initialized()
    if own:
        _connect(ray, plan)
    try:
        for outcome in _stream(ray, job, places, plan):
            if isinstance(outcome, Refused):
                raise ModelError(f"a worker cannot start: {outcome.reason}")
            yield outcome
    except ray.exceptions.RayError as error:
        said = [line for line in str(error).splitlines() if "Error: " in line] or [str(error)]
        raise ModelError(f"a worker failed: {said[-1]}") from error
    finally:
        if own:
            ray.shutdown()


def _import_ray() -> Any:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        importlib.import_module("ray.data")
        return importlib.import_module("ray")
    except ImportError as error:
        raise RuntimeMissing(
            "Ray Data is not installed: install the extra `batch` (pip install 'onnxlrp[batch]'), "
            "or use --engine local"
        ) from error


def _connect(ray: Any, plan: Plan) -> None:
    try:
        _reach(plan.address)
        if plan.address is not None:
            ray.init(address=plan.address, log_to_driver=False, logging_level="ERROR")
            return
        ray.init(
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
            object_store_memory=_OBJECT_STORE,
        )
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        if plan.address is None:
            raise ModelError(f"cannot start Ray: {error}") from error
        raise ModelError(
            f"cannot reach the Ray cluster at '{plan.address}': {error} (one that asks for a token "
            "needs RAY_AUTH_MODE=token in the environment)"
        ) from error


def _reach(address: str | None) -> None:
    """Open a connection to a cluster and close it: Ray itself waits for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()


def _stream(
    ray: Any, job: Job, places: Sequence[tuple[int, int]], plan: Plan
) -> Iterator[Outcome | Refused]:
    """One block per shard, so that a dead actor costs the shard that it was at."""
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    rows = [{"shard": number, "at": at} for number, at in places]
    done = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        Worker,
        fn_constructor_args=(job, plan.retries),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(plan.workers, len(rows))),
        **_resources(ray, plan),
    )
    done.context.enable_progress_bars = False
    for batch in done.iter_batches(batch_size=None, prefetch_batches=0):
        yield from batch["outcome"]


def _resources(ray: Any, plan: Plan) -> dict[str, float]:
    """So small a part of a CPU for an actor that all of them find a place, and its GPUs."""
    cpus = ray.cluster_resources().get("CPU", 1)
    gpus = max(node["Resources"].get("GPU", 0) for node in ray.nodes() if node["Alive"])
    if plan.gpus > gpus:
        raise InputError(f"--gpus {plan.gpus:g}: no machine of the cluster has more than {gpus:g}")
    share = min(1.0, _MOST_SHARE * cpus / plan.workers)
    return {"num_cpus": max(int(share * _STEPS), 1) / _STEPS, "num_gpus": plan.gpus}


class Worker:
    """What runs in an actor.

    Ray Data repeats a shard whose actor died for ever, so its tries are counted in a file, a byte
    each: after the last one it is lost.
    """

    def __init__(self, job: Job, retries: int) -> None:
        """Keep the job; the session is opened by the first shard, also after a restart."""
        self._job, self._retries = job, retries
        self._folder = Folder(Path(job.out))
        self._tools: Tools | None = None

    def __call__(self, batch: dict[str, npt.NDArray[np.int64]]) -> dict[str, Any]:
        """Explain the shard of a row; return the row of its outcome."""
        outcome = np.empty(1, object)
        outcome[0] = self._outcome(int(batch["shard"][0]), int(batch["at"][0]))
        return {"outcome": outcome}

    def _outcome(self, number: int, at: int) -> Outcome | Refused:
        tries = self._folder.partial / f"tries-{number:06d}"
        shard, reason = self._folder.shard(number, at), "its worker died"
        while not tries.exists() or tries.stat().st_size <= self._retries:
            with tries.open("ab") as file:
                file.write(b".")
            try:
                self._tools = self._tools or Tools.open(self._job)
            except (Error, OSError) as error:
                return Refused(reason=str(error))
            message = attempt(self._tools, shard)
            if isinstance(message, Receipt):
                tries.unlink(missing_ok=True)
                return message
            reason = message
        return Lost(shard=number, reason=reason)
