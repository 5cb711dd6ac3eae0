"""The canonical view of a small model as text, one line per site."""

from collections.abc import Mapping

import numpy as np
from onnx import ModelProto

from onnxlrp.canonize import canonize
from onnxlrp.graph.load import load
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site, View
from onnxlrp.lower import see
from tests.engine import model_of

Sizes = Mapping[str, tuple[int, ...] | np.ndarray]


def model(body: str, inputs: Mapping[str, tuple], sizes: Sizes, outputs=("y",)) -> ModelProto:
    """A model with random constants, none of them negative where the name is `v` (a variance)."""
    rng = np.random.default_rng(0)
    constants = {}
    for name, size in sizes.items():
        drawn = size if isinstance(size, np.ndarray) else rng.standard_normal(size)
        constants[name] = np.asarray(np.abs(drawn) + 0.5 if name == "v" else drawn, np.float32)
    return model_of(body, inputs, constants, outputs=outputs)


def view_of(source: ModelProto, bn: str = "fold") -> View:
    """Load a model and run all canonizers."""
    graph = load(source)
    t = Tape(graph)
    view = see(graph, t)
    canonize(view, t, bn)
    return view


def text(view: View) -> list[str]:
    """`y = Op(x, w)` for every site, and in brackets the deployed operators that it spans."""
    return [_line(site) for site in view]


def _line(site: Site) -> str:
    inputs = ", ".join("" if value is None else _short(value.name) for value in site.inputs)
    spans = " + ".join(node.op for node in site.nodes)
    return f"{_short(site.output.name)} = {site.op}({inputs}) [{spans}]"


def _short(name: str) -> str:
    """Names of the source as they are, emitted ones by their operator."""
    return f"<{name.split('/')[-1].split('_')[0]}>" if name.startswith("lrp/") else name


def reasons(view: View) -> list[str]:
    """Why patterns did not match."""
    return [reason for _, reason in view.reasons]
