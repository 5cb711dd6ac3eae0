"""Linear models of `ai.onnx.ml`."""

import numpy as np

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Norm
from onnxlrp.ops.ml import Numbers, numbers, require_float
from onnxlrp.ops.registry import op

TINY = 1e-6
"""Keeps the linear score z away from 0 where relevance of a transformed score is shared by it."""


@op("ai.onnx.ml.LinearRegressor")
def linear_regressor(site: Site) -> Kind:
    """Forward: y = f(z), z = W x + b, f the post transform. Adjoint: W^T (r f'(z)).

    See `LinearClassifier` for what relevance means behind a post transform.
    """
    return _model(site, site.output, site.integer("targets", 1))


def _model(site: Site, y: Value, count: int) -> Kind:
    x, weights, bias = require_float(site), numbers(site, "coefficients"), _bias(site, count)
    if x.rank != 2 or weights.size % count:
        raise UnsupportedOp("its input is not [N, features], or its coefficients do not fit")
    return _transformed(site, x, y, weights.reshape(count, -1), bias)


def _bias(site: Site, count: int) -> Numbers:
    given = numbers(site, "intercepts")
    return given if given.size else np.zeros(count, dtype=np.float32)


def _transformed(site: Site, x: Value, y: Value, weights: Numbers, bias: Numbers) -> Kind:
    """The linear map, or with a post transform a map whose slope is held fixed."""
    transform = site.text("post_transform", "NONE")

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        return t.op("Gemm", x, w, transB=1)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        return t.op("Gemm", r, w)

    linear = LinearMap(
        operands=(x,),
        output=y,
        weight=lambda t: t.constant(weights),
        bias=(lambda t: t.constant(bias)) if bias.any() else None,
        forward=forward,
        adjoint=adjoint,
        samplewise=True,
    )
    if transform == "NONE":
        return linear
    if transform == "PROBIT":
        raise UnsupportedOp("post_transform PROBIT, which runtimes approximate differently")
    return _through(linear, weights, bias, transform)


def _through(linear: LinearMap, weights: Numbers, bias: Numbers, transform: str) -> Norm:
    """Relevance of f(z) passes to z and is shared by W x there."""
    x, y = linear.operand, linear.output

    def own(t: Tape) -> Value:
        return linear.forward(t, t.at(x), t.constant(weights))

    def stable(t: Tape) -> Value:
        z = t.op("Add", own(t), t.constant(bias))
        return t.op("Add", z, t.op("Where", t.op("Less", z, 0.0), -TINY, TINY))

    def frozen(t: Tape, r: Value) -> Value:
        s = t.op("Div", t.op("Mul", r, t.at(y)), stable(t))
        return linear.adjoint(t, s, t.constant(weights))

    def offset(t: Tape) -> Value:
        return t.op("Sub", t.at(y), t.op("Mul", t.at(y), t.op("Div", own(t), stable(t))))

    def derivative(t: Tape, r: Value) -> Value:
        p = t.at(y)
        if transform == "LOGISTIC":
            g = t.op("Mul", r, t.op("Mul", p, t.op("Sub", 1.0, p)))
        else:
            total = t.op("ReduceSum", t.op("Mul", r, p), [1], keepdims=1)
            g = t.op("Mul", p, t.op("Sub", r, total))
        return linear.adjoint(t, g, t.constant(weights))

    return Norm(operands=(x,), output=y, frozen=frozen, derivative=derivative, offset=offset)
