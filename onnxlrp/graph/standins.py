"""Operators for which ONNX infers no type or shape: others with the same result stand in."""

from collections.abc import Callable

from onnx import ModelProto, NodeProto, TensorProto, helper, shape_inference

__all__ = ["infer"]

KNOWN = frozenset({"", "ai.onnx"})
"""Domains whose operators ONNX infers."""

Make = Callable[[NodeProto], NodeProto]


def infer(model: ModelProto) -> ModelProto:
    """Infer types and shapes; the nodes of the result are those of the model.

    What follows an operator of another domain has no types yet: then inference is not strict.
    """
    strict = all(node.domain in KNOWN for node in model.graph.node)
    kept: list[tuple[int, NodeProto]] = []
    for index, node in enumerate(model.graph.node):
        make = STAND_INS.get((node.domain, node.op_type))
        if make is not None:
            original = NodeProto()
            original.CopyFrom(node)
            kept.append((index, original))
            node.CopyFrom(make(original))
    try:
        found = shape_inference.infer_shapes(model, strict_mode=strict, data_prop=True)
    finally:
        _restore(model, kept)
    _restore(found, kept)
    for node in found.graph.node:
        _state(node)
    return found


def _restore(model: ModelProto, kept: list[tuple[int, NodeProto]]) -> None:
    for index, node in kept:
        model.graph.node[index].CopyFrom(node)


def _state(node: NodeProto) -> None:
    """Write down defaults without which ONNX cannot infer the node itself."""
    held = {item.name for item in node.attribute}
    for name, value in DEFAULTS.get((node.domain, node.op_type), {}).items():
        if name not in held:
            node.attribute.append(helper.make_attribute(name, value))


def _same(node: NodeProto) -> NodeProto:
    return helper.make_node("Identity", node.input[:1], node.output[:1])


def _as_float(node: NodeProto) -> NodeProto:
    return helper.make_node("Cast", node.input[:1], node.output[:1], to=TensorProto.FLOAT)


def _rows_of(node: NodeProto, size: int) -> NodeProto:
    """Float rows [N, size]: what ONNX infers for a tree ensemble."""
    return helper.make_node(
        "TreeEnsembleRegressor",
        node.input[:1],
        node.output[:1],
        domain="ai.onnx.ml",
        n_targets=size,
    )


def _number(node: NodeProto, name: str, default: int) -> int:
    return next((int(item.i) for item in node.attribute if item.name == name), default)


def _joined(node: NodeProto) -> NodeProto:
    sizes = [item.ints for item in node.attribute if item.name == "inputdimensions"]
    return _rows_of(node, sum(sizes[0])) if sizes else _as_float(node)


STAND_INS: dict[tuple[str, str], Make] = {
    ("", "GroupNormalization"): _same,
    ("", "MeanVarianceNormalization"): _same,
    ("ai.onnx.ml", "FeatureVectorizer"): _joined,
    ("ai.onnx.ml", "Imputer"): _same,
    ("ai.onnx.ml", "LinearRegressor"): lambda node: _rows_of(node, _number(node, "targets", 1)),
    ("ai.onnx.ml", "Normalizer"): _as_float,
    ("ai.onnx.ml", "Scaler"): _as_float,
}

DEFAULTS: dict[tuple[str, str], dict[str, list[int]]] = {
    ("", "MeanVarianceNormalization"): {"axes": [0, 2, 3]},
}
