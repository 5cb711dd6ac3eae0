"""Random valid models of many operators, as NNSmith makes them: a growing pool of typed values."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

UNARY = (
    "Relu", "Sigmoid", "Tanh", "Softplus", "Sin", "Cos", "Exp", "Abs", "Neg", "Erf", "Elu",
    "LeakyRelu", "HardSigmoid", "Softsign", "Identity", "Floor", "Sign", "Gelu", "Mish", "Atan",
)  # fmt: skip
BINARY = ("Add", "Sub", "Mul", "Max", "Min", "Mean", "Sum")


@dataclass
class Draft:
    """A graph while it grows; `open` holds the float values with their shapes."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    weights: list[onnx.TensorProto] = field(default_factory=list)
    open: dict[str, tuple[int, ...]] = field(default_factory=dict)
    count: int = 0

    def name(self, stem: str) -> str:
        self.count += 1
        return f"{stem}{self.count}"

    def constant(self, array: np.ndarray) -> str:
        name = self.name("w")
        self.weights.append(numpy_helper.from_array(array, name))
        return name

    def weight(self, *shape: int) -> str:
        return self.constant((self.rng.standard_normal(shape) / 2).astype(np.float32))

    def ints(self, *values: int) -> str:
        return self.constant(np.array(values, dtype=np.int64))

    def add(self, op: str, inputs: list[str], shape: tuple[int, ...], **attributes) -> str:
        name = self.name("v")
        node = helper.make_node(op, inputs, [name], name=self.name(op), **attributes)
        self.nodes.append(node)
        self.open[name] = shape
        return name

    def pick(self, rank: int | None = None) -> tuple[str, tuple[int, ...]]:
        """An open value, rather a late one; of a rank where one is asked for."""
        items = [(n, s) for n, s in self.open.items() if rank is None or len(s) == rank]
        if not items:
            name = self.add("Reshape", [self.pick()[0], self.ints(2, *[1] * (rank - 2), -1)], ())
            size = int(np.prod([d for s in [self.open[self.nodes[-1].input[0]]] for d in s]))
            self.open[name] = (2, *[1] * (rank - 2), size // 2)
            return name, self.open[name]
        return items[-1 - min(int(self.rng.exponential(1.0)), len(items) - 1)]


def unary(d: Draft) -> None:
    name, shape = d.pick()
    d.add(str(d.rng.choice(UNARY)), [name], shape)


def binary(d: Draft) -> None:
    name, shape = d.pick()
    same = [n for n, s in d.open.items() if s == shape]
    other = str(d.rng.choice(same)) if d.rng.random() < 0.7 else d.weight(*shape[-1:])
    d.add(str(d.rng.choice(BINARY)), [name, other], shape)


def dense(d: Draft) -> None:
    name, shape = d.pick()
    out = int(d.rng.integers(1, 5))
    d.add("MatMul", [name, d.weight(shape[-1], out)], (*shape[:-1], out))


def gemm(d: Draft) -> None:
    name, shape = d.pick(2)
    inputs = [name, d.weight(3, shape[1]), d.weight(3)]
    d.add("Gemm", inputs, (shape[0], 3), transB=1, alpha=0.5)


def conv(d: Draft) -> None:
    name, shape = d.pick(4)
    k = int(d.rng.integers(1, 4))
    stride, pad = int(d.rng.integers(1, 3)), int(d.rng.integers(0, k))
    sizes = [(n + 2 * pad - k) // stride + 1 for n in shape[2:]]
    if min(sizes) < 1:
        return
    out = int(d.rng.integers(1, 4))
    inputs = [name, d.weight(out, shape[1], k, k)]
    d.add("Conv", inputs, (shape[0], out, *sizes), strides=[stride] * 2, pads=[pad] * 4)


def pool(d: Draft) -> None:
    name, shape = d.pick(4)
    if min(shape[2:]) < 2:
        return
    op = str(d.rng.choice(["MaxPool", "AveragePool", "LpPool"]))
    sizes = [n // 2 for n in shape[2:]]
    d.add(op, [name], (*shape[:2], *sizes), kernel_shape=[2, 2], strides=[2, 2])


def transpose(d: Draft) -> None:
    name, shape = d.pick()
    perm = [0, *(1 + d.rng.permutation(len(shape) - 1))]
    d.add("Transpose", [name], tuple(shape[i] for i in perm), perm=[int(i) for i in perm])


def reduce(d: Draft) -> None:
    name, shape = d.pick()
    if len(shape) < 3:
        return
    axis = int(d.rng.integers(1, len(shape)))
    op = str(d.rng.choice(["ReduceSum", "ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp"]))
    kept = int(d.rng.integers(0, 2))
    rest = tuple(1 if i == axis else n for i, n in enumerate(shape) if kept or i != axis)
    d.add(op, [name, d.ints(axis)], rest, keepdims=kept)


def softmax(d: Draft) -> None:
    name, shape = d.pick()
    d.add(str(d.rng.choice(["Softmax", "LogSoftmax"])), [name], shape, axis=-1)


def norm(d: Draft) -> None:
    name, shape = d.pick()
    if shape[-1] > 1:
        weights = [d.weight(shape[-1]), d.weight(shape[-1])]
        d.add("LayerNormalization", [name, *weights], shape)


def concat(d: Draft) -> None:
    name, shape = d.pick()
    d.add("Concat", [name, name], (*shape[:-1], 2 * shape[-1]), axis=-1)


def cut(d: Draft) -> None:
    name, shape = d.pick()
    if shape[-1] > 2:
        inputs = [name, d.ints(1), d.ints(shape[-1]), d.ints(-1)]
        d.add("Slice", inputs, (*shape[:-1], shape[-1] - 1))


def gather(d: Draft) -> None:
    name, shape = d.pick()
    d.add("Gather", [name, d.ints(0, shape[-1] - 1, 0)], (*shape[:-1], 3), axis=len(shape) - 1)


def where(d: Draft) -> None:
    name, shape = d.pick()
    zero = d.constant(np.array(0, dtype=np.float32))
    held = d.add("Greater", [name, zero], shape)
    del d.open[held]
    d.add("Where", [held, name, d.weight(shape[-1])], shape)


def attention(d: Draft) -> None:
    name, shape = d.pick(3)
    turned = d.add("Transpose", [name], (shape[0], shape[2], shape[1]), perm=[0, 2, 1])
    scores = d.add("MatMul", [name, turned], (*shape[:2], shape[1]))
    weights = d.add("Softmax", [scores], (*shape[:2], shape[1]), axis=-1)
    d.add("MatMul", [weights, name], shape)


def double(d: Draft) -> None:
    name, shape = d.pick()
    wide = d.add("Cast", [name], shape, to=TensorProto.DOUBLE)
    made = d.add("Tanh", [wide], shape)
    del d.open[wide], d.open[made]
    d.add("Cast", [made], shape, to=TensorProto.FLOAT)


def recurrent(d: Draft) -> None:
    name, shape = d.pick(3)
    op, gates = [("LSTM", 4), ("GRU", 3), ("RNN", 1)][int(d.rng.integers(0, 3))]
    inputs = [name, d.weight(1, 2 * gates, shape[2]), d.weight(1, 2 * gates, 2)]
    d.add(op, inputs, (shape[0], 1, shape[1], 2), hidden_size=2)


def branch(d: Draft) -> None:
    name, shape = d.pick()
    total = d.add("ReduceSum", [name], (), keepdims=0)
    zero = d.constant(np.array(0, dtype=np.float32))
    held = d.add("Greater", [total, zero], ())
    del d.open[total], d.open[held]
    bodies = [
        helper.make_graph(
            [helper.make_node(op, [name], [f"{held}_{op}"])],
            op,
            [],
            [helper.make_tensor_value_info(f"{held}_{op}", TensorProto.FLOAT, shape)],
        )
        for op in ("Sin", "Tanh")
    ]
    d.add("If", [held], shape, then_branch=bodies[0], else_branch=bodies[1])


STEPS: tuple[Callable[[Draft], None], ...] = (
    unary, unary, unary, binary, binary, dense, dense, gemm, conv, conv, pool, transpose, reduce,
    softmax, norm, concat, cut, gather, where, attention, double, recurrent, branch,
)  # fmt: skip


def model(seed: int) -> onnx.ModelProto:
    """A valid model with one input and one output, 3 to 12 steps long."""
    rng = np.random.default_rng(seed)
    d = Draft(rng)
    shape = [(2, 6), (2, 3, 4), (2, 2, 6, 6)][int(rng.integers(0, 3))]
    d.open["x"] = shape
    for _ in range(int(rng.integers(3, 13))):
        STEPS[int(rng.integers(0, len(STEPS)))](d)
    name = list(d.open)[-1]
    if name == "x":
        unary(d)
        name = list(d.open)[-1]
    graph = helper.make_graph(
        d.nodes,
        "random",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, d.open[name])],
        d.weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
