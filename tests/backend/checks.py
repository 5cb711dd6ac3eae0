"""What is true of every case that compiles: prediction, derivative, conservation."""

import zlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, helper

import onnxlrp
from onnxlrp.compile import ExplanationGraph
from onnxlrp.errors import Error
from tests.backend.collected import Anything, NodeCase, agrees
from tests.engine import Session

LINEAR = 1e-5
"""<A dx, s> and <dx, A^T s> as a share of the sizes of their terms: float32 sums."""

SMOOTH = 1e-3
"""The same for differences extrapolated from two steps (error step^4), beside the noise below."""

NOISE = 2e-6
"""Rounding of a float32 function, some units in the last place, as a share of |y|; a difference
holds it divided by the step."""

STEPS = (1e-2, 5e-3)
"""Share of the spread of x, or of 1, by which x is moved; both find the same where there is no
kink within the longer one."""

ATTEMPTS = ((0.1, 64), (0.03, 64), (0.1, 8), (0.03, 8), (0.03, 2), (0.01, 2), (0.0, 2), (0.0, 1))
"""How far the point is moved off the sample first, for samples hold equal, whole and zero numbers
where functions have kinks; and how many elements of each input then move: the fewer, the fewer
kinks there are."""

STRAIGHT = {"DynamicQuantizeLinear"}
"""Relevance passes their rounding as if there were none; the forward pass has no derivative."""

CLOSED = 1e-4
"""Unexplained part of a ledger row, as a share of what arrived or left, whichever is larger."""

TIED = {"Unique"}
"""Equal elements of their inputs are moved together: the size of the output depends on them."""

SMALLEST = 0.1
"""Relevance starts only where |y| is larger: the error of a quotient grows as 1/|y|."""


@dataclass(frozen=True)
class Described:
    """A case that compiles.

    Attributes:
        case: The case as it is compiled.
        source: Runs its own model.
        graph: The gradient of its first float output.
        inputs: The explained inputs.
        asked: The same where they were asked for, else None.
        linear: Whether the output is affine in the explained inputs together.
    """

    case: NodeCase
    source: Session
    graph: ExplanationGraph
    inputs: tuple[str, ...]
    asked: list[str] | None
    linear: bool

    @property
    def rng(self) -> np.random.Generator:
        """A generator of its own for every case."""
        return np.random.default_rng(zlib.crc32(self.case.name.encode()))


def derivative(found: Described) -> list[str]:
    """Prediction and derivative of every float output; what is wrong, one line each."""
    wrong, case, first = [], found.case, found.graph.metadata.output
    for name in [first, *(n for n in case.floats(outputs=True) if n != first)]:
        graph = found.graph if name == first else _other(found, name)
        y = np.asarray(case.wanted[name])
        if graph is None or not np.all(np.isfinite(y)):
            continue
        seed = np.asarray(found.rng.standard_normal(y.shape), dtype=np.float32)
        probe = _Probe(found, name, Session(graph.model), seed)
        outputs = probe.explained({**case.feeds, "seed": seed})
        wrong += [
            f"{case.name}: prediction '{key}' differs"
            for key, wanted in case.wanted.items()
            if not agrees(case, outputs[key], wanted)
        ]
        if case.op in STRAIGHT or not set(found.inputs) & set(case.floats()):
            continue
        text = probe.affine() if found.linear and probe.is_affine() else probe.smooth()
        wrong += [f"{case.name}: {name}: {text}"] if text else []
    return wrong


def _other(found: Described, name: str) -> ExplanationGraph | None:
    """The gradient of another output; None where it is refused."""
    try:
        return onnxlrp.compile(
            found.case.model,
            composite="gradient",
            target="seed",
            keep_softmax=True,
            output=name,
            inputs=found.asked,
        )
    except Error:
        return None


@dataclass(frozen=True)
class _Probe:
    """Compares one compiled output with differences of the forward pass."""

    found: Described
    output: str
    explained: Session
    seed: NDArray[np.float32]

    def value(self, feeds: dict[str, Anything]) -> NDArray[np.float64]:
        return np.asarray(self.found.source(feeds)[self.output]).astype(np.float64)

    def direction(self, rng: np.random.Generator, count: int | None = None) -> dict[str, Anything]:
        """A random direction of the spread of each input, or of 1; of some elements only."""
        made = {}
        floats = [name for name in self.found.inputs if name in self.found.case.floats()]
        for name in floats:
            x = self.found.case.feeds[name]
            finite = x[np.isfinite(x)]
            step = self.drawn(rng, x) * max(1.0, float(np.std(finite)) if finite.size else 0)
            if count is not None and x.size > count:
                chosen = rng.choice(x.size, count, replace=False)
                step = np.where(np.isin(np.arange(x.size), chosen).reshape(x.shape), step, 0)
            made[name] = np.asarray(step, dtype=np.float32)
        return made

    def drawn(self, rng: np.random.Generator, x: Anything) -> NDArray[np.float64]:
        """Random numbers, one for each element, or one for each different one."""
        if self.found.case.op not in TIED:
            return np.asarray(rng.standard_normal(x.shape))
        values, place = np.unique(x, return_inverse=True)
        return np.asarray(rng.standard_normal(values.shape)[place].reshape(x.shape))

    def fits(self, *values: NDArray[np.float64]) -> bool:
        """Whether outputs have the size of the sample's, on which the seed depends."""
        return all(value.shape == self.seed.shape for value in values)

    def adjoint(
        self, feeds: dict[str, Anything], direction: dict[str, Anything]
    ) -> tuple[float, float]:
        """<dx, A^T s> and the sum of the sizes of its terms; no relevance output means zero."""
        outputs = self.explained({**feeds, "seed": self.seed})
        terms = [
            array.astype(np.float64) * outputs.get(f"relevance/{name}", 0.0)
            for name, array in direction.items()
        ]
        return sum(float(t.sum()) for t in terms), sum(float(np.abs(t).sum()) for t in terms)

    def ends(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The output at both ends of a long step."""
        direction = self.direction(self.found.rng)
        up, down = (self.value(moved(self.found.case.feeds, direction, sign)) for sign in (1, -1))
        return up, down

    def is_affine(self) -> bool:
        """Whether the middle lies between both ends; not where other elements are selected."""
        up, down = self.ends()
        if not self.fits(up, down):
            return False
        bound = LINEAR * (np.abs(up) + np.abs(down)).max(initial=0)
        middle = self.value(self.found.case.feeds)
        return bool(np.all(np.abs(up - 2 * middle + down) <= bound))

    def affine(self) -> str:
        """<A dx, s> = <dx, A^T s>, A dx exact but for rounding."""
        feeds, direction = self.found.case.feeds, self.direction(self.found.rng)
        up, down = self.ends()
        terms = (up - down) / 2 * self.seed
        there, size = self.adjoint(feeds, direction)
        bound = LINEAR * (float(np.abs(terms).sum()) + size) + NOISE * self.size(up)
        if abs(float(terms.sum()) - there) <= bound:
            return ""
        return f"<A dx, s> = {terms.sum():.6g}, <dx, A^T s> = {there:.6g}, bound {bound:.2g}"

    def smooth(self) -> str:
        """Central differences in a random direction, where two steps find the same."""
        rng, text = self.found.rng, "no point without a kink was found"
        for jitter, count in ATTEMPTS:
            feeds = moved(self.found.case.feeds, self.direction(rng), jitter)
            direction = self.direction(rng, count)
            middle = self.value(feeds)
            if not self.fits(middle):
                continue
            there, size = self.adjoint(feeds, direction)
            if np.all(np.isfinite(middle)) and not np.isfinite(there):
                return "relevance is not finite"
            bound = SMOOTH * size + NOISE * self.size(middle) / STEPS[1]
            (far, bend), (near, less) = (
                self.difference(feeds, direction, middle, step) for step in STEPS
            )
            smooth = abs(far - near) <= bound and abs(less) <= 0.75 * abs(bend) + bound
            if smooth:
                here = (4 * near - far) / 3
                text = f"differences {far:.6g}, {near:.6g}, ours {there:.6g}, bound {bound:.2g}"
                return "" if abs(here - there) <= bound else text
        return text

    def difference(
        self,
        feeds: dict[str, Anything],
        direction: dict[str, Anything],
        middle: NDArray[np.float64],
        step: float,
    ) -> tuple[float, float]:
        """The central difference, and by how much the two halves of it disagree.

        Where the function is smooth the second halves with the step; at a kink it stays.
        """
        up, down = (self.value(moved(feeds, direction, sign * step)) for sign in (1, -1))
        if not self.fits(up, down):
            return np.nan, np.nan
        central = float(((up - down) * self.seed).sum()) / (2 * step)
        return central, float(((up - 2 * middle + down) * self.seed).sum()) / step

    def size(self, y: NDArray[np.float64]) -> float:
        return float(np.abs(y * self.seed).sum())


def moved(
    feeds: dict[str, Anything], direction: dict[str, Anything], step: float
) -> dict[str, Anything]:
    return {
        name: np.asarray(array + np.float32(step) * direction[name]) if name in direction else array
        for name, array in feeds.items()
    }


def sized(case: NodeCase) -> NodeCase:
    """The same case, its outputs of the sizes that they have."""
    model = ModelProto()
    model.CopyFrom(case.model)
    for value in model.graph.output:
        dtype, shape = value.type.tensor_type.elem_type, case.wanted[value.name].shape
        value.CopyFrom(helper.make_tensor_value_info(value.name, dtype, shape))
    return replace(case, model=model)


def conservation(found: Described) -> list[str]:
    """No row of the ledger of composite `epsilon` leaves anything unexplained.

    Cases have no batch: the rows of all samples are one. The sizes of the outputs are stated, for
    an axis of unknown size could be one.
    """
    case = sized(found.case)
    graph = onnxlrp.compile(
        case.model,
        composite="epsilon",
        target="seed",
        keep_softmax=True,
        inputs=found.asked,
        ledger=True,
    )
    y = np.asarray(case.wanted[graph.metadata.output])
    if not np.all(np.isfinite(y)):
        return []
    seed = found.rng.uniform(0.5, 1.5, y.shape) * (np.abs(y) > SMALLEST)
    outputs = Session(graph.model)({**case.feeds, "seed": np.asarray(seed, dtype=np.float32)})
    table = outputs["ledger"].astype(np.float64).sum(axis=0)
    left = [np.abs(outputs[f"relevance/{name}"]).sum() for name in graph.metadata.inputs]
    flows = [float(np.abs(seed).sum()), float(np.abs(table[:, :7]).max(initial=0)), *left]
    bound, worst = CLOSED * max(flows), float(np.abs(table[:, 7]).max(initial=0))
    if worst <= bound:
        return []
    return [f"{case.name}: unexplained {worst:.3g}, bound {bound:.2g}"]
