"""The live set of a model: what must be in memory at each step of the graph that ORT executes."""

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import ModelProto

__all__ = ["LiveSet", "Step", "largest", "live_set"]

ALIASES = frozenset({"Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators whose output is their first input in another shape, in the same memory."""

IN_PLACE = frozenset({
    "Abs", "Add", "Cast", "Clip", "Div", "Exp", "Max", "Min", "Mul", "Neg", "Relu", "Sigmoid",
    "Sub", "Tanh", "Where",
})  # fmt: skip
"""Operators that can write into the memory of an input that nothing reads later."""


@dataclass(frozen=True)
class Step:
    """A node as it was executed.

    Attributes:
        op: Its operator.
        inputs: Names of the values that it reads, constants left out.
        outputs: Size in bytes of each value that it computes, by name.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: Mapping[str, int]


@dataclass(frozen=True)
class LiveSet:
    """What a run needs at least.

    Attributes:
        values: Largest sum of the values that are alive together, in bytes.
        weights: Constants of the executed graph, in bytes.
        step: Index of the step with the largest sum.
    """

    values: int
    weights: int
    step: int

    @property
    def total(self) -> int:
        """Values and weights."""
        return self.values + self.weights


def live_set(model: Path, feed: Mapping[str, np.ndarray], threads: int) -> LiveSet:
    """Run a model once and return its live set; inputs are the caller's and do not count.

    Order and sizes are those of a profiled run of the optimised graph.
    """
    with tempfile.TemporaryDirectory(prefix="live-") as place:
        folder = Path(place)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        options.optimized_model_filepath = str(folder / "optimised.onnx")
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "profile")
        session = onnxruntime.InferenceSession(
            str(model), options, providers=["CPUExecutionProvider"]
        )
        session.run(None, dict(feed))
        events = json.loads(Path(session.end_profiling()).read_text())
        optimised = onnx.load(folder / "optimised.onnx")
    values, step = largest(steps(optimised, events), [v.name for v in optimised.graph.output])
    weights = sum(_bytes_of(tensor) for tensor in optimised.graph.initializer)
    return LiveSet(values=values, weights=weights, step=step)


def steps(optimised: ModelProto, events: Sequence[Mapping[str, Any]]) -> list[Step]:
    """Return the nodes of the optimised graph in the order of their events, with sizes."""
    nodes = {node.name: node for node in optimised.graph.node}
    constants = {tensor.name for tensor in optimised.graph.initializer}
    given = {value.name for value in optimised.graph.input}
    found = []
    for event in events:
        name = event["name"].removesuffix("_kernel_time")
        if event.get("cat") != "Node" or name == event["name"] or name not in nodes:
            continue
        node, sizes = nodes[name], _sizes(event["args"]["output_type_shape"])
        outputs = [value for value in node.output if value]
        inputs = tuple(v for v in node.input if v and v not in constants and v not in given)
        found.append(Step(node.op_type, inputs, dict(zip(outputs, sizes, strict=False))))
    if len(found) != len(nodes):
        raise ValueError(f"the profile has {len(found)} of the {len(nodes)} nodes of the graph")
    return found


def largest(order: Sequence[Step], results: Sequence[str]) -> tuple[int, int]:
    """Return the largest sum of live bytes, and the step at which it occurs.

    A value lives from the step that computes it to the last one that reads it; results to the end.
    """
    roots, sizes = _roots(order)
    last = {roots.get(name, name): len(order) for name in results}
    for index, step in enumerate(order):
        for name in (*step.inputs, *step.outputs):
            root = roots.get(name, name)
            last[root] = max(last.get(root, -1), index)
    alive: dict[str, int] = {}
    best = (0, 0)
    for index, step in enumerate(order):
        new = {name: size for name, size in step.outputs.items() if roots[name] == name}
        dying = [roots.get(n, n) for n in step.inputs if last[roots.get(n, n)] == index]
        spared = _spared(step.op, new, [sizes.get(name, 0) for name in dying])
        alive |= new
        best = max(best, (sum(alive.values()) - spared, index), key=lambda found: found[0])
        alive = {name: size for name, size in alive.items() if last[name] > index}
    return best


def _roots(order: Sequence[Step]) -> tuple[dict[str, str], dict[str, int]]:
    """For each value the one whose memory it has, and the size of each such."""
    roots: dict[str, str] = {}
    sizes: dict[str, int] = {}
    for step in order:
        for name, size in step.outputs.items():
            alias = step.op in ALIASES and step.inputs and step.inputs[0] in roots
            roots[name] = roots[step.inputs[0]] if alias else name
            if not alias:
                sizes[name] = size
    return roots, sizes


def _spared(op: str, new: Mapping[str, int], dying: Sequence[int]) -> int:
    """Bytes of an output that is written over an input."""
    size = next(iter(new.values()), 0)
    return size if op in IN_PLACE and size in dying else 0


def _sizes(shapes: Sequence[Mapping[str, Sequence[int]]]) -> list[int]:
    """Bytes of each tensor that the profile describes as {type: shape}."""
    return [
        int(np.prod(shape, dtype=np.int64)) * _width(kind)
        for entry in shapes
        for kind, shape in entry.items()
    ]


def _width(kind: str) -> int:
    return {"float": 4, "float16": 2, "double": 8, "int64": 8, "int32": 4, "bool": 1}.get(kind, 1)


def _bytes_of(tensor: onnx.TensorProto) -> int:
    width = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    return int(np.prod(tensor.dims, dtype=np.int64)) * width
