"""The dense matrix of an operator, found by pushing basis vectors through its forward pass."""

import functools
import re
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tests.engine import Session
from tests.ops.case import Case
from tests.ops.cases import CASES

BY_NAME = {case.name: case for case in CASES}


@dataclass(frozen=True)
class Dense:
    """y = w x + b, `[J, I]` and `[J]`, over the whole batch; `rows`: outputs per sample."""

    w: NDArray[np.float64]
    b: NDArray[np.float64]
    shape: tuple[int, ...]


def dense(case: Case) -> Dense:
    """The matrix of an affine case."""
    return _dense(case.name)


@functools.lru_cache(maxsize=8)
def _dense(name: str) -> Dense:
    case = BY_NAME[name]
    run = Session(case.model())
    zero = np.zeros(case.inputs["x"], dtype=np.float32)
    y = run({"x": zero})["y"]
    columns = []
    for index in range(zero.size):
        unit = zero.copy()
        unit.reshape(-1)[index] = 1
        ahead, behind = run({"x": unit})["y"], run({"x": -unit})["y"]
        columns.append((ahead.astype(np.float64) - behind).reshape(-1) / 2)
    return Dense(np.stack(columns, axis=1), y.astype(np.float64).reshape(-1), y.shape)


def rectified(case: Case) -> Case:
    """The same operator behind a Relu: its operand is known not to be negative."""
    body = re.sub(r"\bx\b", "h", case.body)
    return replace(case, body=f"h = Relu(x) {body}")
