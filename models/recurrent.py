"""Recurrent networks with random weights: taggers, and one echo state network in three exports.

`tagger` takes `x [L, N, D]` (and the initial states where they are asked for) and gives `y`.
`unrolled_lstm` is an LSTM tagger written step by step. `esn` takes `x [N, L, D]` and gives
`y [N, K]`: the same weights as an unrolled graph, as a Loop with a counter and a Gather as
exporters write it, and as a Scan.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from models.writer import IR_VERSION, OPSET

__all__ = ["FORMS", "Sizes", "esn", "tagger", "unrolled_lstm"]

Array = NDArray[np.float32]
Form = Literal["loop", "scan", "unrolled"]
FORMS: tuple[Form, ...] = ("unrolled", "loop", "scan")
GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Steps, inputs per step, hidden units, outputs; `batch` 0: symbolic sizes."""

    steps: int = 4
    inputs: int = 3
    hidden: int = 4
    outputs: int = 2
    batch: int = 2


TINY = Sizes()


def _draw(rng: np.random.Generator, *shape: int, scale: float = 0.5) -> Array:
    return (scale * rng.standard_normal(shape)).astype(np.float32)


def tagger(  # each is one switch of the operator
    op: str,
    *,
    size: Sizes = TINY,
    seed: int = 0,
    directions: int = 1,
    direction: str = "forward",
    bias: bool = True,
    lengths: Sequence[int] = (),
    states: bool = False,
    peepholes: bool = False,
    output: str = "Y_h",
    **attributes: Any,
) -> ModelProto:
    """An RNN, GRU or LSTM by itself; W, R, B and P are initializers.

    Args:
        op: `RNN`, `GRU` or `LSTM`.
        size: The sizes.
        seed: Of the weights.
        directions: 1 or 2.
        direction: `forward` or `reverse` where there is one direction.
        bias: Whether there is a bias.
        lengths: Length of each sample; empty: all are L long.
        states: Whether the initial states are the inputs `h0` (and `c0`).
        peepholes: Whether an LSTM has peepholes.
        output: `Y`, `Y_h` or `Y_c`.
        attributes: Further attributes of the operator.
    """
    rng, gates, hidden = np.random.default_rng(seed), GATES[op], size.hidden
    weights = {
        "W": _draw(rng, directions, gates * hidden, size.inputs),
        "R": _draw(rng, directions, gates * hidden, hidden),
        "B": _draw(rng, directions, 2 * gates * hidden),
        "P": _draw(rng, directions, 3 * hidden),
        "lengths": np.array(lengths, dtype=np.int32),
    }
    names = ["x", "W", "R", "B" if bias else "", "lengths" if lengths else ""]
    names += ["h0" if states else ""]
    names += ["c0" if states else "", "P" if peepholes else ""] if op == "LSTM" else []
    while not names[-1]:
        names.pop()
    node = helper.make_node(
        op,
        names,
        ["Y", "Y_h", "Y_c"][: 3 if op == "LSTM" else 2],
        name="cell",
        hidden_size=hidden,
        direction="bidirectional" if directions == 2 else direction,
        **attributes,
    )
    batch, steps = (size.batch, size.steps) if size.batch else ("N", "L")
    first = attributes.get("layout", 0) == 1
    shapes = {"x": [batch, steps, size.inputs] if first else [steps, batch, size.inputs]}
    state = [batch, directions, hidden] if first else [directions, batch, hidden]
    shapes |= {name: state for name in ("h0", "c0") if name in names}
    every = [batch, steps, directions, hidden] if first else [steps, directions, batch, hidden]
    return _model(
        [node],
        shapes,
        {output: every if output == "Y" else state},
        {name: weights[name] for name in names if name in weights},
    )


def unrolled_lstm(weights: dict[str, Array], *, size: Sizes = TINY) -> ModelProto:
    """The same function as `tagger("LSTM", states=True)`, one Gemm per gate and step.

    Args:
        weights: `W`, `R` and `B` of the tagger.
        size: The sizes of the tagger.
    """
    w, r = (np.split(weights[name][0], 4) for name in ("W", "R"))
    bias = np.split(weights["B"][0].reshape(2, -1).sum(0), 4)
    given: dict[str, NDArray[Any]] = {"first": np.array([0], np.int64)}
    for gate, w_g, r_g, b_g in zip("iofg", w, r, bias, strict=True):
        given |= {f"w_{gate}": np.concatenate([w_g, r_g], axis=1).T, f"b_{gate}": b_g}

    def node(op: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
        return helper.make_node(op, inputs, [output], name=output, **attributes)

    nodes = [node("Squeeze", ["h0", "first"], "h_0"), node("Squeeze", ["c0", "first"], "c_0")]
    for t in range(size.steps):
        given[f"t_{t}"] = np.array(t, np.int64)
        nodes += [
            node("Gather", ["x", f"t_{t}"], f"x_{t}", axis=0),
            node("Concat", [f"x_{t}", f"h_{t}"], f"xh_{t}", axis=1),
        ]
        for gate in "iofg":
            nodes += [
                node("Gemm", [f"xh_{t}", f"w_{gate}", f"b_{gate}"], f"z{gate}_{t}"),
                node("Tanh" if gate == "g" else "Sigmoid", [f"z{gate}_{t}"], f"{gate}_{t}"),
            ]
        nodes += [
            node("Mul", [f"f_{t}", f"c_{t}"], f"kept_{t}"),
            node("Mul", [f"i_{t}", f"g_{t}"], f"new_{t}"),
            node("Add", [f"kept_{t}", f"new_{t}"], f"c_{t + 1}"),
            node("Tanh", [f"c_{t + 1}"], f"seen_{t}"),
            node("Mul", [f"o_{t}", f"seen_{t}"], f"h_{t + 1}"),
        ]
    nodes.append(node("Unsqueeze", [f"h_{size.steps}", "first"], "Y_h"))
    state = [1, size.batch or "N", size.hidden]
    x = [size.steps, size.batch or "N", size.inputs]
    return _model(nodes, {"x": x, "h0": state, "c0": state}, {"Y_h": state}, given)


def esn(form: Form, *, size: Sizes = TINY, seed: int = 0, leak: float = 0.3) -> ModelProto:
    """An echo state network: h = (1 - leak) h + leak tanh(W u + R h + b), y = V h_L.

    Args:
        form: `unrolled`, `loop` or `scan`.
        size: The sizes; an unrolled one keeps its number of steps where the batch is symbolic.
        seed: Of the weights.
        leak: Leak rate.
    """
    rng = np.random.default_rng(seed)
    radius = 1 / np.sqrt(size.hidden)
    weights = {
        "w_in": _draw(rng, size.inputs, size.hidden),
        "b_in": _draw(rng, size.hidden, scale=0.1),
        "w_res": _draw(rng, size.hidden, size.hidden, scale=radius),
        "w_out": _draw(rng, size.hidden, size.outputs),
        "keep": np.float32(1 - leak),
        "leak": np.float32(leak),
        "zero": np.array([0], np.int64),
        "hidden": np.array([size.hidden], np.int64),
        "yes": np.array(True),
        "time": np.array(1, np.int64),
        "last": np.array(-1, np.int64),
    }
    start = [
        helper.make_node("Shape", ["x"], ["rows"], name="rows", start=0, end=1),
        helper.make_node("Concat", ["rows", "hidden"], ["state_shape"], name="sizes", axis=0),
        helper.make_node("ConstantOfShape", ["state_shape"], ["h0"], name="begin"),
    ]
    nodes = {"unrolled": _unrolled(size.steps), "loop": _loop(), "scan": _scan()}[form]
    readout = helper.make_node("MatMul", ["h_last", "w_out"], ["y"], name="readout")
    batch = size.batch or "N"
    length = size.steps if size.batch or form == "unrolled" else "L"
    return _model(
        [*start, *nodes, readout],
        {"x": [batch, length, size.inputs]},
        {"y": [batch, size.outputs]},
        weights,
    )


def _step(u: str, before: str, after: str, tag: str) -> list[NodeProto]:
    """One step from a state to the next one."""

    def node(op: str, inputs: list[str], output: str) -> NodeProto:
        return helper.make_node(op, inputs, [output], name=output)

    return [
        node("Gemm", [u, "w_in", "b_in"], f"driven{tag}"),
        node("MatMul", [before, "w_res"], f"echo{tag}"),
        node("Add", [f"driven{tag}", f"echo{tag}"], f"sum{tag}"),
        node("Tanh", [f"sum{tag}"], f"new{tag}"),
        node("Mul", [before, "keep"], f"kept{tag}"),
        node("Mul", [f"new{tag}", "leak"], f"let{tag}"),
        node("Add", [f"kept{tag}", f"let{tag}"], after),
    ]


def _unrolled(steps: int) -> list[NodeProto]:
    nodes = []
    for t in range(steps):
        number = numpy_helper.from_array(np.array(t, np.int64))
        after = "h_last" if t == steps - 1 else f"h{t + 1}"
        nodes += [
            helper.make_node("Constant", [], [f"t{t}"], name=f"t{t}", value=number),
            helper.make_node("Gather", ["x", f"t{t}"], [f"u{t}"], name=f"u{t}", axis=1),
            *_step(f"u{t}", f"h{t}", after, f"_{t}"),
        ]
    return nodes


def _loop() -> list[NodeProto]:
    """Trip count from Shape, counter and Gather, a weight that never changes, a stacked state."""
    number, truth = TensorProto.INT64, TensorProto.BOOL
    body = helper.make_graph(
        [
            helper.make_node("Gather", ["x", "i"], ["u"], name="u", axis=1),
            *_step("u", "h", "h_new", ""),
            helper.make_node("Identity", ["going"], ["goes"], name="goes"),
            helper.make_node("Identity", ["h_new"], ["h_stacked"], name="h_stacked"),
            helper.make_node("Identity", ["w"], ["w_same"], name="w_same"),
        ],
        "step",
        [
            helper.make_tensor_value_info("i", number, []),
            helper.make_tensor_value_info("going", truth, []),
            helper.make_tensor_value_info("h", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("w", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes", truth, []),
            helper.make_tensor_value_info("h_new", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("w_same", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("h_stacked", TensorProto.FLOAT, None),
        ],
    )
    for node in body.node:
        for place, name in enumerate(node.input):
            if name == "w_res":
                node.input[place] = "w"
    return [
        helper.make_node("Shape", ["x"], ["x_shape"], name="x_shape"),
        helper.make_node("Gather", ["x_shape", "time"], ["turns"], name="turns"),
        helper.make_node(
            "Loop",
            ["turns", "yes", "h0", "w_res"],
            ["h_end", "w_end", "states"],
            name="steps",
            body=body,
        ),
        helper.make_node("Gather", ["states", "last"], ["h_last"], name="h_last", axis=0),
    ]


def _scan() -> list[NodeProto]:
    body = helper.make_graph(
        _step("u", "h", "h_new", ""),
        "step",
        [
            helper.make_tensor_value_info("h", TensorProto.FLOAT, None),
            helper.make_tensor_value_info("u", TensorProto.FLOAT, None),
        ],
        [helper.make_tensor_value_info("h_new", TensorProto.FLOAT, None)],
    )
    node = helper.make_node(
        "Scan",
        ["h0", "x"],
        ["h_last"],
        name="steps",
        body=body,
        num_scan_inputs=1,
        scan_input_axes=[1],
    )
    return [node]


def _model(
    nodes: Sequence[NodeProto],
    inputs: dict[str, list[Any]],
    outputs: dict[str, list[Any]],
    weights: dict[str, NDArray[Any]],
) -> ModelProto:
    graph = helper.make_graph(
        list(nodes),
        "recurrent",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in outputs.items()],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    return helper.make_model(
        graph,
        ir_version=IR_VERSION,
        opset_imports=[helper.make_opsetid("", OPSET)],
        producer_name="onnxlrp-models",
    )
