"""A call as data: what is asked for, how it is cut into runs, and how several become one."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from onnxlrp.metadata import NOISE, Metadata
from onnxlrp.runtime.collect import batch_axis
from onnxlrp.runtime.feeds import add_extra, choose_targets, read_inputs
from onnxlrp.runtime.plan import Plan, Slot, make_plan
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.signature import Signature
from onnxlrp.runtime.targets import Targets


@dataclass(frozen=True, kw_only=True)
class Request:
    """What one call asks for.

    Attributes:
        inputs: An array for every input of the model, by name; `noise/<input>` where a graph takes
            noise.
        target: The targets, for a graph compiled with `target="input"`.
        seed: The relevance of the output, for a graph compiled with `target="seed"`.
        masks: Masks of hidden values by name, for a graph compiled with `masks=`.
    """

    inputs: Mapping[str, npt.ArrayLike]
    target: npt.ArrayLike | None = None
    seed: npt.ArrayLike | None = None
    masks: Mapping[str, npt.ArrayLike] | None = None


@dataclass(frozen=True, kw_only=True)
class Job:
    """A request that was checked.

    Attributes:
        plan: How it is cut into runs.
        targets: The targets given by the user.
    """

    plan: Plan
    targets: Targets | None


Found = dict[str, Array]


def make_job(request: Request, signature: Signature, metadata: Metadata, batch_size: int) -> Job:
    """Check a request.

    Raises:
        InputError: An array does not fit; the text says what is expected and what came.
    """
    arrays = read_inputs(request.inputs, signature)
    plan = make_plan(signature, metadata.inputs, metadata.output, arrays, batch_size)
    noise = {name: array for name, array in request.inputs.items() if name.startswith(NOISE)}
    plan = add_extra(plan, signature, request.seed, {**(request.masks or {}), **noise})
    targets = choose_targets(request.target, signature, metadata, plan.count)
    return Job(plan=plan, targets=targets)


def joint_key(job: Job) -> Hashable | None:
    """Return what is equal for jobs that may run as one; None for a job that runs alone."""
    plan, targets = job.plan, job.targets
    alone = plan.stacked or plan.count >= plan.size
    if alone or any(slot.axis is None for slot in plan.slots.values()):
        return None
    shapes = tuple((name, _rest(slot)) for name, slot in plan.slots.items())
    several = targets and (targets.several, targets.indices.shape[1:])
    return (plan.size, plan.symbols, shapes, several)


def join(jobs: Sequence[Job]) -> Job:
    """Return one job for the samples of several with equal keys."""
    if len(jobs) == 1:
        return jobs[0]
    first = jobs[0]
    slots = {name: _joined(name, jobs) for name in first.plan.slots}
    count = sum(job.plan.count for job in jobs)
    targets = first.targets
    if targets is not None:
        indices = np.concatenate([job.targets.indices for job in jobs if job.targets])
        targets = replace(targets, indices=indices)
    return Job(plan=replace(first.plan, count=count, slots=slots), targets=targets)


def split(jobs: Sequence[Job], found: Found, signature: Signature) -> list[Found]:
    """Return the part of each job in what their joint job gave; the parts are copies."""
    plan, parts, low = join(jobs).plan, [], 0
    axes = {
        name: batch_axis(signature.outputs[name], array.shape, plan, plan.count) or 0
        for name, array in found.items()
    }
    for job in jobs:
        high = low + job.plan.count
        parts.append({n: _cut(array, axes[n], low, high) for n, array in found.items()})
        low = high
    return parts


def _rest(slot: Slot) -> tuple[int, ...]:
    axis = slot.axis or 0
    return (*slot.array.shape[:axis], *slot.array.shape[axis + 1 :])


def _joined(name: str, jobs: Sequence[Job]) -> Slot:
    slot = jobs[0].plan.slots[name]
    parts = [job.plan.slots[name].part(0, job.plan.count) for job in jobs]
    return replace(slot, array=np.concatenate(parts, axis=slot.axis))


def _cut(array: Array, axis: int, low: int, high: int) -> Array:
    return array[(slice(None),) * axis + (slice(low, high),)].copy()
