"""Small models with operators of ONNX Runtime; their gradient against differences of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper

import onnxlrp
from tests.engine import Session

Arrays = Mapping[str, NDArray[np.generic]]

STEP = 1e-3
"""Step of the differences: small, for a kink within two steps would spoil them."""

SMOOTH = 1e-2
"""Step where there is no kink and the sum is large: rounding counts for less."""

TOLERANCE = 1e-3
"""Of the largest derivative: float32 rounds a sum of about 5 by 3e-7, and the step divides that."""


@dataclass(frozen=True)
class Case:
    """A model in one line and what goes into it; the first input is explained.

    `symbols` are the dimensions of inputs that have names; the others are those of the arrays.
    """

    name: str
    body: str
    inputs: Arrays
    constants: Arrays = field(default_factory=dict)
    symbols: Mapping[str, Sequence[str | int]] = field(default_factory=dict)
    rank: int = 3
    step: float = STEP
    opset: int = 21

    def model(self, *, symbolic: bool) -> ModelProto:
        """The model, with named dimensions or with numbers only."""
        domains = f'"" : {self.opset}, "com.microsoft" : 1, "com.microsoft.nchwc" : 1'
        text = f"<ir_version: 10, opset_import: [{domains}]> g () => () {{ {self.body} }}"
        model = onnx.parser.parse_model(text)
        for name, array in self.inputs.items():
            shape = self.symbols.get(name, array.shape) if symbolic else array.shape
            kind = helper.np_dtype_to_tensor_dtype(array.dtype)
            model.graph.input.append(helper.make_tensor_value_info(name, kind, list(shape)))
        for name, array in self.constants.items():
            model.graph.initializer.append(numpy_helper.from_array(array, name))
        dims = [None] * self.rank
        info = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, dims)
        model.graph.output.append(info)
        return model


def draw(seed: int, *shape: int) -> NDArray[np.float32]:
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def check(case: Case, *, symbolic: bool) -> None:
    """The gradient of the view is that of the deployed model, and the prediction is the same."""
    check_model(case.model(symbolic=symbolic), case)


def check_model(model: ModelProto, case: Case) -> None:
    """The same for a model of that case's inputs."""
    session = Session(model)
    deployed = session(case.inputs)["y"]
    weights = draw(99, *deployed.shape)
    name = next(iter(case.inputs))
    found = Session(_explained(model, name))({**case.inputs, "seed": weights})
    np.testing.assert_array_equal(found["y"], deployed)
    expected = _differences(session, case, name, weights)
    _compare(found[f"relevance/{name}"], expected)


def check_alone(case: Case, same: str, *, symbolic: bool) -> None:
    """The same for an operator that the CPU cannot run: others, like it, take its place."""
    like = Session(replace(case, body=same).model(symbolic=symbolic))
    weights = draw(99, *like(case.inputs)["y"].shape)
    name = next(iter(case.inputs))
    model = case.model(symbolic=symbolic)
    graph = _explained(model, name)
    _replace(graph, case, same)
    found = Session(graph)({**case.inputs, "seed": weights})
    wanted = f"relevance/{name}"
    _compare(found[wanted], _differences(like, case, name, weights))


def _explained(model: ModelProto, name: str) -> ModelProto:
    graph = onnxlrp.compile(
        model, composite="gradient", target="seed", inputs=[name], keep_softmax=True
    )
    return graph.model


def _replace(model: ModelProto, case: Case, same: str) -> None:
    """Let other nodes take the place of the deployed ones."""
    old = {name for node in case.model(symbolic=False).graph.node for name in node.output}
    new = replace(case, body=same).model(symbolic=False).graph.node
    kept = [node for node in model.graph.node if old.isdisjoint(node.output)]
    del model.graph.node[:]
    model.graph.node.extend([*new, *kept])


def _compare(found: NDArray[np.float32], expected: NDArray[np.float64]) -> None:
    bound = TOLERANCE * max(1.0, float(np.abs(expected).max()))
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


def _differences(
    session: Session, case: Case, name: str, weights: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Central differences of fourth order of the weighted sum of the output."""
    x = case.inputs[name].astype(np.float64)
    result = np.zeros_like(x)
    for index in np.ndindex(*x.shape):
        for factor, count in ((8, 1), (-8, -1), (-1, 2), (1, -2)):
            moved = x.copy()
            moved[index] += count * case.step
            y = session({**case.inputs, name: moved.astype(np.float32)})["y"]
            result[index] += factor * float((y.astype(np.float64) * weights).sum())
    return result / (12 * case.step)
