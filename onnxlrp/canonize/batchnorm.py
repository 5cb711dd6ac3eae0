"""Folds batch normalisation into the linear map before it."""

from collections.abc import Callable
from dataclasses import replace

from onnxlrp.graph.graph import Attribute, Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site, View
from onnxlrp.ops.normalization import factor

__all__ = ["fold_batch_norm"]


def fold_batch_norm(view: View, t: Tape) -> None:
    """Conv | ConvTranspose | Gemm | MatMul -> BatchNormalization  =>  the same map, k W, k b + s.

    Written by PyTorch (training=PRESERVE), Keras and Caffe2 exporters.
    Matches where the map has no other consumer, its weight is constant, the value in between is no
    output, and a MatMul makes a matrix.
    """
    for site in view:
        if site.op == "BatchNormalization":
            reason = _fold(view, t, site)
            if reason:
                view.refuse(site, reason)


def _fold(view: View, t: Tape, after: Site) -> str:
    source = after.required(0)
    before = view.producer(source)
    if before is None or before.op not in SCALE:
        return "no linear map before it"
    if view.only_reader(source) is not after:
        return f"'{source.name}' has another consumer or is an output"
    reason = _parameters(before, after)
    if reason:
        return reason
    weight = before.required(1)
    t.scope = after.name
    scale = factor(t, after)
    shift = t.op("Sub", after.required(2), t.op("Mul", after.required(3), scale))
    merged = replace(
        before,
        inputs=(
            before.required(0),
            SCALE[before.op](t, before, weight, scale),
            _bias(t, before, scale, shift),
        ),
        outputs=after.outputs,
        nodes=(*before.nodes, *after.nodes),
        attributes=_attributes(before),
        note=f"BatchNormalization '{after.name}' folded",
    )
    view.merge([before, after], merged)
    return ""


def _parameters(before: Site, after: Site) -> str:
    """Why the parameters of the two sites are not those of one map."""
    weight = before.required(1)
    if weight.variable or any(v is None or v.variable for v in after.inputs[1:5]):
        return "a weight depends on an input"
    if after.integer("training_mode") or weight.shape is None:
        return "training_mode=1 or a weight of unknown shape"
    if before.op == "MatMul" and before.output.rank != 2:
        return "its channels are not the columns of the product"
    return ""


def _bias(t: Tape, site: Site, scale: Value, shift: Value) -> Value:
    bias = site.input(2)
    if bias is None:
        return shift
    beta = site.number("beta", 1.0)
    scaled = t.op("Mul", bias, scale) if beta == 1 else t.op("Mul", t.op("Mul", bias, beta), scale)
    return t.op("Add", scaled, shift)


def _attributes(site: Site) -> dict[str, Attribute]:
    return {key: value for key, value in site.attributes.items() if key != "beta"}


def _conv(t: Tape, site: Site, weight: Value, scale: Value) -> Value:
    rank = weight.rank or 4
    column = t.op("Reshape", scale, [-1] + [1] * (rank - 1))
    return _shaped(t, t.op("Mul", weight, column), weight)


def _conv_transpose(t: Tape, site: Site, weight: Value, scale: Value) -> Value:
    """The outputs of group g are column block g: scale each block of rows by its own part."""
    group, rank = site.integer("group", 1), weight.rank or 4
    tail = [1] * (rank - 2)
    if group == 1:
        return _shaped(t, t.op("Mul", weight, t.op("Reshape", scale, [1, -1, *tail])), weight)
    dims = [dim for dim in (weight.shape or ()) if isinstance(dim, int)]
    blocks = t.op("Reshape", weight, [group, dims[0] // group, *dims[1:]])
    scaled = t.op("Mul", blocks, t.op("Reshape", scale, [group, 1, dims[1], *tail]))
    return _shaped(t, t.op("Reshape", scaled, dims), weight)


def _gemm(t: Tape, site: Site, weight: Value, scale: Value) -> Value:
    shape = [-1, 1] if site.integer("transB") else [1, -1]
    return _shaped(t, t.op("Mul", weight, t.op("Reshape", scale, shape)), weight)


def _matmul(t: Tape, site: Site, weight: Value, scale: Value) -> Value:
    return _shaped(t, t.op("Mul", weight, scale), weight)


def _shaped(t: Tape, value: Value, like: Value) -> Value:
    """The new weight, known to have the shape of the old one."""
    return t.typed(value, like.shape)


SCALE: dict[str, Callable[[Tape, Site, Value, Value], Value]] = {
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Gemm": _gemm,
    "MatMul": _matmul,
}
