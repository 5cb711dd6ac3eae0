"""Puts the results of the runs together, holding no more than the results."""

from dataclasses import dataclass, field

import numpy as np

from onnxlrp.errors import ModelError
from onnxlrp.runtime.plan import Plan
from onnxlrp.runtime.result import Array
from onnxlrp.runtime.signature import Port


@dataclass(frozen=True, kw_only=True)
class Collector:
    """Results of all runs so far.

    Attributes:
        plan: How the call is cut into runs.
        arrays: Results by name, filled up to the last run.
    """

    plan: Plan
    arrays: dict[str, Array] = field(default_factory=dict)

    def add(self, port: Port, value: Array, low: int, high: int) -> None:
        """Store what the run of the samples from `low` up to `high` gave for one output.

        Raises:
            ModelError: The output changes its shape from run to run.
        """
        plan = self.plan
        axis = None if plan.stacked else batch_axis(port, value.shape, plan, high - low)
        if not plan.stacked and high - low == plan.count:
            self.arrays[port.name] = value
            return
        if axis is None:
            axis, value = 0, value[None]
        if value.shape[axis] != high - low:
            raise ModelError(
                f"output '{port.name}' has shape {list(value.shape)} for {high - low} samples and "
                "no batch axis: pass batch_size=1"
            )
        shape = (*value.shape[:axis], plan.count, *value.shape[axis + 1 :])
        if port.name not in self.arrays:
            self.arrays[port.name] = np.empty(shape, value.dtype)
        whole = self.arrays[port.name]
        if whole.shape != shape:
            raise ModelError(
                f"output '{port.name}' has another shape for each sample "
                f"({list(value.shape)} at sample {low}): explain the samples one at a time"
            )
        whole[(slice(None),) * axis + (slice(low, high),)] = value


def batch_axis(port: Port, shape: tuple[int, ...], plan: Plan, length: int) -> int | None:
    """Return the axis of the samples in an output of a run of `length` samples; None: it has none.

    Args:
        port: The output.
        shape: Its shape.
        plan: How the call is cut into runs.
        length: Samples of the run.
    """
    for axis, dim in enumerate(port.shape):
        if isinstance(dim, str) and dim in plan.symbols:
            return axis
    if shape and (shape[0] == length or plan.size > 1):
        return 0
    return None
