"""One operator case: ONNX text, its inputs, and how to find its Jacobian by the forward alone."""

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto

from tests.engine import Array, Constant, Reference, Run, Session, model_of

FORMS = ("static", "symbolic")

STEP = 0.05
"""Step of the differences: kinks lie at least 0.125 from the samples `apart`, and the fourth-order
formula leaves STEP^4 f^(5) / 30, below 1e-5 for the functions here."""


@dataclass(frozen=True)
class Case:
    """An operator with all its attributes, on one or two float inputs.

    Attributes:
        name: Name of the test.
        body: Nodes as ONNX text, from `x` (and `z`) to `y`.
        inputs: Shape of each live input.
        constants: Other inputs: a shape (random float32), a list (int64), a number or an array.
        linear: Whether y is affine in the inputs.
        batch: Whether axis 0 of x and y is the batch.
        sample: How x is drawn: `normal`, `apart` (multiples of 1/4 off the kinks), `positive`,
            `unit` (inside -1..1), `above` (greater than 1), `ties`.
        fixed: Axes that stay static in the symbolic form (`x1`): ONNX asks for them.
        opset: Opset of the source.
        reference: Run by the reference evaluator of onnx: ONNX Runtime refuses it on the CPU.
    """

    name: str
    body: str
    inputs: Mapping[str, tuple[int, ...]]
    constants: Mapping[str, Constant] = field(default_factory=dict)
    linear: bool = False
    batch: bool = True
    sample: str = "normal"
    fixed: tuple[str, ...] = ()
    opset: int = 21
    reference: bool = False

    def session(self, model: ModelProto) -> Run:
        """Load a model of this case."""
        return Reference(model) if self.reference else Session(model)

    @property
    def samplewise(self) -> bool:
        """Whether every input and the output carry the batch, so that samples are independent."""
        batch = {shape[:1] for shape in self.inputs.values()}
        return self.batch and len(batch) == 1

    def rng(self) -> np.random.Generator:
        """A generator of its own for every case."""
        return np.random.default_rng(zlib.crc32(self.name.encode()))

    def model(self, form: str = "static") -> ModelProto:
        """The model, with static sizes or a symbol for every axis."""
        rng = self.rng()
        arrays = {name: _constant(rng, given) for name, given in self.constants.items()}
        shapes = {
            name: [self._dim(form, self._symbol(name, axis), dim) for axis, dim in enumerate(shape)]
            for name, shape in self.inputs.items()
        }
        return model_of(self.body, shapes, arrays, opset=self.opset)

    def _symbol(self, name: str, axis: int) -> str:
        """One symbol for the batch of all inputs, one of its own for every other axis."""
        shared = axis == 0 and self.samplewise and len(self.inputs) > 1
        return "N" if shared else f"{name}{axis}"

    def _dim(self, form: str, symbol: str, dim: int) -> int | str:
        return dim if form == "static" or symbol in self.fixed else symbol

    def feeds(self) -> dict[str, Array]:
        """One sample of every input."""
        rng = np.random.default_rng(self.rng().integers(1 << 30))
        return {name: SAMPLES[self.sample](rng, shape) for name, shape in self.inputs.items()}


def case(name: str, body: str, x: tuple[int, ...], **rest: object) -> Case:
    """A case of one float input."""
    return pair(name, body, x, None, **rest)


def linear(name: str, body: str, x: tuple[int, ...], **rest: object) -> Case:
    """A case of one float input that is affine in it."""
    return pair(name, body, x, None, linear=True, **rest)


def pair(
    name: str, body: str, x: tuple[int, ...], z: tuple[int, ...] | None, **rest: object
) -> Case:
    """A case of one or two float inputs; what `Case` does not know are constants."""
    fields = {key: rest.pop(key) for key in list(rest) if key in Case.__dataclass_fields__}
    inputs = {"x": x} if z is None else {"x": x, "z": z}
    return Case(name, body, inputs, rest, **fields)  # type: ignore[arg-type]


def _constant(rng: np.random.Generator, given: Constant) -> NDArray[np.generic]:
    if isinstance(given, np.ndarray):
        return given
    if isinstance(given, tuple):
        return rng.standard_normal(given).astype(np.float32)
    return np.array(given, dtype=np.int64 if isinstance(given, list) else np.float32)


Sample = Callable[[np.random.Generator, tuple[int, ...]], Array]


def _apart(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """All different, a quarter apart, an eighth from 0, 1/2, 1, ..."""
    size = int(np.prod(shape))
    values = (rng.permutation(size) - size // 2 + 0.5) / 4
    return values.reshape(shape).astype(np.float32)


SAMPLES: dict[str, Sample] = {
    "normal": lambda rng, shape: rng.standard_normal(shape).astype(np.float32),
    "apart": _apart,
    "positive": lambda rng, shape: rng.uniform(0.5, 2, shape).astype(np.float32),
    "unit": lambda rng, shape: rng.uniform(-0.7, 0.7, shape).astype(np.float32),
    "above": lambda rng, shape: rng.uniform(1.5, 3, shape).astype(np.float32),
    "ties": lambda rng, shape: rng.integers(0, 3, shape).astype(np.float32),
}


def jacobian(case: Case, run: Run) -> dict[str, NDArray[np.float64]]:
    """dy/dx for every input, `[size of y, size of x]`, from the forward pass alone."""
    feeds = case.feeds()
    return {name: _columns(case, run, feeds, name) for name in feeds}


def _columns(case: Case, run: Run, feeds: Mapping[str, Array], name: str) -> NDArray[np.float64]:
    def moved(index: int, step: float) -> NDArray[np.float64]:
        base = np.zeros_like(feeds[name]) if case.linear and len(feeds) == 1 else feeds[name]
        other = base.copy()
        other.reshape(-1)[index] += step
        return run({**feeds, name: other})["y"].astype(np.float64).reshape(-1)

    def column(index: int) -> NDArray[np.float64]:
        if case.linear:
            return (moved(index, 1) - moved(index, -1)) / 2
        near = moved(index, STEP) - moved(index, -STEP)
        far = moved(index, 2 * STEP) - moved(index, -2 * STEP)
        return (8 * near - far) / (12 * STEP)

    return np.stack([column(index) for index in range(feeds[name].size)], axis=1)
