"""Random convolutional graphs, drawn by hypothesis, without bias: forks, joins, shared weights."""

from dataclasses import dataclass, field

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

SIZE, CHANNELS, CLASSES = 12, 4, 5


@dataclass
class Draft:
    """A graph while it grows; every open value is [N, channels, size, size] and not negative."""

    rng: np.random.Generator
    bias: bool
    nodes: list = field(default_factory=list)
    weights: dict = field(default_factory=dict)
    count: int = 0

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}_{self.count}"

    def add(self, op: str, inputs: list, outputs: int = 1, **attributes) -> list:
        names = [self.name(op.lower()) for _ in range(outputs)]
        self.nodes.append(
            helper.make_node(op, inputs, names, name=self.name(f"node_{op}"), **attributes)
        )
        return names

    def constant(self, array: np.ndarray, stem: str = "w") -> str:
        name = self.name(stem)
        self.weights[name] = array
        return name


@dataclass(frozen=True)
class Open:
    """A value that the graph may go on from."""

    name: str
    channels: int
    size: int


def conv(draft: Draft, draw, value: Open) -> Open:
    kernel, stride = draw(st.sampled_from([1, 2, 3])), draw(st.sampled_from([1, 1, 2]))
    group = draw(st.sampled_from([g for g in (1, 2, value.channels) if value.channels % g == 0]))
    out = draw(st.sampled_from([2, 3])) * group
    before, after = draw(st.integers(0, kernel - 1)), draw(st.integers(0, kernel - 1))
    size = (value.size + before + after - kernel) // stride + 1
    if size < 2:
        return value
    key = (out, value.channels // group, kernel)
    shared = [n for n, w in draft.weights.items() if w.shape == (*key, kernel)]
    if shared and draw(st.booleans()):
        weight = shared[0]
    else:
        scale = np.sqrt(2 / (key[1] * kernel * kernel))
        weight = draft.constant(draft.rng.normal(0, scale, (*key, kernel)).astype(np.float32))
    inputs = [value.name, weight]
    if draft.bias:
        inputs.append(draft.constant(draft.rng.normal(0, 0.1, out).astype(np.float32), "b"))
    pads = {"pads": [before, before, after, after]}
    (made,) = draft.add("Conv", inputs, strides=[stride] * 2, group=group, **pads)
    (act,) = draft.add(draw(st.sampled_from(["Relu", "Relu", "LeakyRelu", "Identity"])), [made])
    return Open(act, out, size)


def pool(draft: Draft, draw, value: Open) -> Open:
    if value.size < 4:
        return value
    kernel, stride = draw(st.sampled_from([(2, 2), (3, 2), (3, 1), (2, 1)]))
    op = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    (made,) = draft.add(op, [value.name], kernel_shape=[kernel] * 2, strides=[stride] * 2)
    return Open(made, value.channels, (value.size - kernel) // stride + 1)


def residual(draft: Draft, draw, value: Open) -> Open:
    other = conv(draft, draw, value)
    if (other.channels, other.size) != (value.channels, value.size):
        return other
    op = draw(st.sampled_from(["Add", "Sum", "Mean"]))
    (made,) = draft.add(op, [value.name, other.name])
    return Open(made, value.channels, value.size)


def fork(draft: Draft, draw, value: Open) -> Open:
    sides = [conv(draft, draw, value), conv(draft, draw, value)]
    if sides[0].size != sides[1].size:
        return sides[0]
    (made,) = draft.add("Concat", [side.name for side in sides], axis=1)
    return Open(made, sides[0].channels + sides[1].channels, sides[0].size)


def split(draft: Draft, draw, value: Open) -> Open:
    if value.channels % 2:
        return value
    half = value.channels // 2
    sizes = draft.constant(np.array([half, half]), "sizes")
    first, second = draft.add("Split", [value.name, sizes], 2, axis=1)
    (made,) = draft.add("Add", [first, second])
    return Open(made, half, value.size)


def move(draft: Draft, draw, value: Open) -> Open:
    choice = draw(st.sampled_from(["Transpose", "Pad", "Slice", "Scale"]))
    if choice == "Transpose":
        (made,) = draft.add("Transpose", [value.name], perm=[0, 1, 3, 2])
        return Open(made, value.channels, value.size)
    if choice == "Pad":
        pads = draft.constant(np.array([0, 0, 1, 1, 0, 0, 1, 1]), "pads")
        (made,) = draft.add("Pad", [value.name, pads])
        return Open(made, value.channels, value.size + 2)
    if choice == "Scale":
        scale = draft.constant(np.array(0.7, dtype=np.float32), "scale")
        (made,) = draft.add("Mul", [value.name, scale])
        return Open(made, value.channels, value.size)
    if value.size < 4:
        return value
    starts, ends = draft.constant(np.array([1, 0]), "i"), draft.constant(np.array([99, -1]), "i")
    axes = draft.constant(np.array([2, 3]), "i")
    (made,) = draft.add("Slice", [value.name, starts, ends, axes])
    return Open(made, value.channels, value.size - 1)


STEPS = (conv, conv, residual, residual, fork, pool, split, move)


@st.composite
def graphs(draw, *, bias: bool = False) -> onnx.ModelProto:
    """A model [N, 4, 12, 12] -> [N, 5] of twelve operators or more."""
    draft = Draft(np.random.default_rng(draw(st.integers(0, 2**32 - 1))), bias)
    value = Open("x", CHANNELS, SIZE)
    while len(draft.nodes) < 10:
        value = draw(st.sampled_from(STEPS))(draft, draw, value)
        if value.size <= 3:
            value = enlarge(draft, value)
    pooled = draft.add(draw(st.sampled_from(["GlobalAveragePool", "GlobalMaxPool"])), [value.name])
    (flat,) = draft.add("Flatten", pooled)
    dense = draft.rng.normal(0, 1, (CLASSES, value.channels)).astype(np.float32)
    inputs = [flat, draft.constant(dense)]
    if bias:
        inputs.append(draft.constant(draft.rng.normal(0, 0.1, CLASSES).astype(np.float32), "b"))
    draft.nodes.append(helper.make_node("Gemm", inputs, ["y"], name="head", transB=1))
    return model_of(draft)


def enlarge(draft: Draft, value: Open) -> Open:
    scales = draft.constant(np.array([1, 1, 2, 2], dtype=np.float32), "scales")
    (made,) = draft.add("Resize", [value.name, "", scales], mode="nearest")
    return Open(made, value.channels, value.size * 2)


def model_of(draft: Draft) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(array, name) for name, array in draft.weights.items()]
    graph = helper.make_graph(
        draft.nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", CHANNELS, SIZE, SIZE])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", CLASSES])],
        tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model
