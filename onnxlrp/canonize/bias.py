"""Moves a constant summand behind a linear map into its bias; lowers a Gemm with a live C."""

from dataclasses import replace

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site, View

__all__ = ["lower_live_bias", "move_bias"]

CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


def move_bias(view: View, t: Tape) -> None:
    """MatMul | Gemm | Conv -> Add(constant)  =>  the same map with a bias.

    Written by Keras, TensorFlow, CNTK and PyTorch (linear layers of three axes) exporters.
    Matches where the constant is one number per channel, the map has one live factor, no bias yet
    and no other consumer, and the value in between is no output.
    """
    for site in view:
        if site.op == "Add":
            reason = _move(view, t, site)
            if reason:
                view.refuse(site, reason)


def _move(view: View, t: Tape, add: Site) -> str:
    constants = [v for v in add.sources if not v.variable]
    sources = [v for v in add.sources if v.variable]
    if len(constants) != 1 or len(sources) != 1:
        return "it has no constant summand"
    before = view.producer(sources[0])
    if before is None or before.op not in {"MatMul", "Gemm", *CONVOLUTIONS}:
        return "no linear map before it"
    if view.only_reader(sources[0]) is not add:
        return f"'{sources[0].name}' has another consumer or is an output"
    if before.input(2) is not None or before.required(0).variable == before.required(1).variable:
        return "the map has a bias already or no constant weight"
    if not _per_channel(constants[0], sources[0], before):
        return f"'{constants[0].name}' is not one number per channel"
    t.scope = add.name
    bias = constants[0] if before.op == "MatMul" else t.op("Reshape", constants[0], [-1])
    merged = replace(
        before,
        inputs=(before.required(0), before.required(1), bias),
        outputs=add.outputs,
        attributes={key: value for key, value in before.attributes.items() if key != "beta"},
        nodes=(*before.nodes, *add.nodes),
        note=f"constant of '{add.name}' is its bias",
    )
    view.merge([before, add], merged)
    return ""


def _per_channel(constant: Value, source: Value, before: Site) -> bool:
    if constant.shape is None or source.shape is None or len(constant.shape) > len(source.shape):
        return False
    padded = (1,) * (len(source.shape) - len(constant.shape)) + constant.shape
    channel = 1 if before.op in CONVOLUTIONS else len(source.shape) - 1
    wanted = {source.shape[channel]} if before.op in CONVOLUTIONS else {1, source.shape[channel]}
    return padded[channel] in wanted and all(
        dim == 1 for axis, dim in enumerate(padded) if axis != channel
    )


def lower_live_bias(view: View, t: Tape) -> None:
    """Gemm(A, B, C) with a C that depends on an input  =>  Gemm(A, B), Mul by beta, Add.

    Written where a fused Gemm adds two branches. Matches where C is no constant.
    """
    for site in view:
        bias = site.input(2)
        if site.op != "Gemm" or bias is None or not bias.variable:
            continue
        t.scope = site.name
        a, b, y = site.required(0), site.required(1), site.output
        flags = {k: v for k, v in site.attributes.items() if k != "beta"}
        product = t.typed(t.op("Gemm", a, b, **flags), y.shape)
        first = replace(site, inputs=(a, b), outputs=(product,), attributes=flags)
        beta = site.number("beta", 1.0)
        sites = [first]
        if beta != 1:
            scale = t.scalar(beta)
            scaled = t.typed(t.op("Mul", bias, scale), bias.shape)
            sites.append(_like(site, "Mul", (bias, scale), scaled))
            bias = scaled
        sites.append(_like(site, "Add", (product, bias), y))
        view.merge([site], *sites)


def _like(site: Site, op: str, inputs: tuple[Value, ...], output: Value) -> Site:
    name = f"{site.name}/{op}"
    return Site(name, op, inputs, (output,), {}, site.nodes, note="live C of a Gemm")
