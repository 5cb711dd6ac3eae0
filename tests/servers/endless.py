"""An explanation graph by hand: its input says how many turns a run makes."""

import numpy as np
import onnx
from onnx import helper, numpy_helper

from onnxlrp.metadata import Metadata

FOREVER = 1e15


def endless() -> bytes:
    """`y = x` after `max(x)` turns; `relevance/x = x`."""
    value = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Neg", ["s"], ["t"])],
        "turn",
        [value("i", 7, []), value("go", 9, []), value("s", 1, [])],
        [value("on", 9, []), value("t", 1, [])],
    )
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
        helper.make_node("Cast", ["most"], ["turns"], to=7),
        helper.make_node("Loop", ["turns", "", "zero"], ["none"], body=body),
        helper.make_node("Add", ["x", "none"], ["y"]),
        helper.make_node("Identity", ["y"], ["relevance/x"]),
    ]
    rows = ["N", 1]
    graph = helper.make_graph(
        nodes,
        "endless",
        [value("x", 1, rows)],
        [value("y", 1, rows), value("relevance/x", 1, rows)],
        [numpy_helper.from_array(np.float32(0), "zero")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    about = Metadata(
        version="0",
        source="",
        composite={"name": "none"},
        target="0",
        inputs=("x",),
        output="y",
        explained="y",
    )
    helper.set_model_props(model, about.properties())
    onnx.checker.check_model(model, full_check=True)
    return bytes(model.SerializeToString())


def asked(turns: float) -> dict:
    return {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 1], "data": [turns]}]}
