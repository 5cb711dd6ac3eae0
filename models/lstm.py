"""A classifier of sequences with stacked LSTMs and random weights, as an ONNX model."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from models.writer import IR_VERSION, OPSET

__all__ = ["Stack", "lstm"]


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Steps, inputs per step, hidden units, layers, classes."""

    steps: int = 64
    inputs: int = 128
    hidden: int = 256
    layers: int = 2
    classes: int = 10


def lstm(*, size: Stack | None = None, bias: bool = True, seed: int = 0) -> ModelProto:
    """`x [N, steps, inputs]` -> LSTM layers -> last state -> `logits [N, classes]`.

    As exporters write a batch-first network: Transpose, states of zeros from the batch's Shape,
    LSTM and Squeeze for every layer, the last step by Gather, Gemm.
    """
    size = size or Stack()
    net = _Net(seed)
    x = net.node("Transpose", ["x"], "turns", perm=[1, 0, 2])
    batch = net.node("Shape", ["x"], "batch", start=0, end=1)
    ends = [net.put("one", np.array([1])), batch, net.put("hidden", np.array([size.hidden]))]
    zeros = net.node("ConstantOfShape", [net.node("Concat", ends, "state.shape", axis=0)], "state")
    inner = size.inputs
    for k in range(size.layers):
        x = net.layer(x, f"lstm{k}", (inner, size.hidden), zeros, bias=bias)
        inner = size.hidden
    last = net.node("Gather", [x, net.put("last", np.array(-1))], "final", axis=0)
    head = [last, net.drawn("head.weight", (size.classes, inner), inner)]
    head += [net.drawn("head.bias", (size.classes,), 100)] if bias else []
    net.node("Gemm", head, "logits", transB=1)
    return net.model(["N", size.steps, size.inputs], ["N", size.classes])


class _Net:
    """Collects nodes and parameters; every method returns the name of its output."""

    def __init__(self, seed: int) -> None:
        self.nodes: list[NodeProto] = []
        self.parameters: dict[str, NDArray[np.generic]] = {}
        self._rng = np.random.default_rng(seed)

    def node(self, op: str, inputs: list[str], name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def put(self, name: str, value: NDArray[Any]) -> str:
        self.parameters[name] = value
        return name

    def drawn(self, name: str, shape: tuple[int, ...], fan_in: int) -> str:
        return self.put(name, self._rng.normal(0, fan_in**-0.5, shape).astype(np.float32))

    def layer(self, x: str, name: str, sizes: tuple[int, int], zeros: str, *, bias: bool) -> str:
        inner, hidden = sizes
        weights = [
            self.drawn(f"{name}.W", (1, 4 * hidden, inner), inner),
            self.drawn(f"{name}.R", (1, 4 * hidden, hidden), hidden),
            self.drawn(f"{name}.B", (1, 8 * hidden), 100) if bias else "",
        ]
        self.nodes.append(
            helper.make_node(
                "LSTM",
                [x, *weights, "", zeros, zeros],
                [f"{name}.states"],
                name=name,
                hidden_size=hidden,
            )
        )
        axis = self.put("directions", np.array([1]))
        return self.node("Squeeze", [f"{name}.states", axis], f"{name}.turns")

    def model(self, source: list[int | str], result: list[int | str]) -> ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "lstm",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, source)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, result)],
            [numpy_helper.from_array(value, name) for name, value in self.parameters.items()],
        )
        return helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="onnxlrp-models",
        )
