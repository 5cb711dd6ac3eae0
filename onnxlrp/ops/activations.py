"""Unary functions, element by element: one derivative each."""

import math
from collections.abc import Callable

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Pointwise, Product, Softmax
from onnxlrp.ops.registry import op

Derivative = Callable[[Tape, Value, Value], Value]
"""(x, y) -> f'(x), all at the seeds' batch."""


def _step(t: Tape, condition: Value) -> Value:
    return t.op("Cast", condition, to=1)


def _complement(t: Tape, value: Value) -> Value:
    return t.op("Sub", 1.0, value)


def _square(t: Tape, value: Value) -> Value:
    return t.op("Mul", value, value)


def _inverse_root(t: Tape, value: Value) -> Value:
    return t.op("Reciprocal", t.op("Sqrt", value))


def _mish(t: Tape, x: Value, y: Value) -> Value:
    bend = t.op("Tanh", t.op("Softplus", x))
    slope = t.op("Mul", _complement(t, _square(t, bend)), t.op("Sigmoid", x))
    return t.op("Add", bend, t.op("Mul", x, slope))


def _hard_swish(t: Tape, x: Value, y: Value) -> Value:
    line = t.op("Div", t.op("Add", t.op("Add", x, x), 3.0), 6.0)
    inner = t.op("Where", t.op("Greater", x, 3.0), 1.0, line)
    return t.op("Where", t.op("Less", x, -3.0), 0.0, inner)


def _softsign(t: Tape, x: Value, y: Value) -> Value:
    return t.op("Reciprocal", _square(t, t.op("Add", t.op("Abs", x), 1.0)))


def _bell(t: Tape, x: Value, y: Value) -> Value:
    return t.op("Mul", 2 / math.sqrt(math.pi), t.op("Exp", t.op("Neg", _square(t, x))))


SMOOTH: dict[str, Derivative] = {
    "Relu": lambda t, x, y: _step(t, t.op("Greater", x, 0.0)),
    "Sigmoid": lambda t, x, y: t.op("Mul", y, _complement(t, y)),
    "Tanh": lambda t, x, y: _complement(t, _square(t, y)),
    "Softplus": lambda t, x, y: t.op("Sigmoid", x),
    "Softsign": _softsign,
    "HardSwish": _hard_swish,
    "Mish": _mish,
    "Erf": _bell,
    "Exp": lambda t, x, y: y,
    "Log": lambda t, x, y: t.op("Reciprocal", x),
    "Sqrt": lambda t, x, y: t.op("Div", 0.5, y),
    "Reciprocal": lambda t, x, y: t.op("Neg", _square(t, y)),
    "Abs": lambda t, x, y: t.op("Sign", x),
    "Sin": lambda t, x, y: t.op("Cos", x),
    "Cos": lambda t, x, y: t.op("Neg", t.op("Sin", x)),
    "Tan": lambda t, x, y: t.op("Add", _square(t, y), 1.0),
    "Sinh": lambda t, x, y: t.op("Cosh", x),
    "Cosh": lambda t, x, y: t.op("Sinh", x),
    "Asin": lambda t, x, y: _inverse_root(t, _complement(t, _square(t, x))),
    "Acos": lambda t, x, y: t.op("Neg", _inverse_root(t, _complement(t, _square(t, x)))),
    "Atan": lambda t, x, y: t.op("Reciprocal", t.op("Add", _square(t, x), 1.0)),
    "Asinh": lambda t, x, y: _inverse_root(t, t.op("Add", _square(t, x), 1.0)),
    "Acosh": lambda t, x, y: _inverse_root(t, t.op("Sub", _square(t, x), 1.0)),
    "Atanh": lambda t, x, y: t.op("Reciprocal", _complement(t, _square(t, x))),
}
"""Functions without parameters."""


@op(*SMOOTH)
def smooth(site: Site) -> Pointwise:
    """Forward: y = f(x). Derivative: see `SMOOTH`."""
    derivative = SMOOTH[site.op]
    return _pointwise(site, derivative, rectifier=site.op == "Relu")


def _pointwise(site: Site, derivative: Derivative, *, rectifier: bool = False) -> Pointwise:
    x, y = site.required(0), site.output
    return Pointwise(
        operands=(x,),
        output=y,
        derivative=lambda t: derivative(t, t.at(x), t.at(y)),
        rectifier=rectifier,
    )


def _below_zero(t: Tape, x: Value, inside: Value, outside: float | Value) -> Value:
    return t.op("Where", t.op("Less", x, 0.0), inside, outside)


@op("LeakyRelu")
def leaky_relu(site: Site) -> Pointwise:
    """Forward: y = x, or alpha x below zero. Derivative: 1 or alpha."""
    alpha = site.number("alpha", 0.01)
    return _pointwise(site, lambda t, x, y: _below_zero(t, x, t.scalar(alpha), 1.0))


@op("PRelu")
def prelu(site: Site) -> Kind:
    """Forward: y = x, or slope x below zero; the slope is a gate.

    Adjoint: r, or r slope below zero; to the slope r min(x, 0).
    """
    x, slope, y = site.required(0), site.required(1), site.output

    def factor(t: Tape) -> Value:
        return _below_zero(t, t.at(x), t.at(slope), 1.0)

    def below(t: Tape) -> Value:
        return t.op("Min", t.at(x), 0.0)

    def scale(t: Tape, value: Value, w: Maybe) -> Value:
        return t.op("Mul", value, w)

    if not site.is_live(1):
        return Pointwise(operands=(x,), output=y, derivative=factor)
    if not site.is_live(0):
        return LinearMap(
            operands=(slope,),
            output=y,
            broadcasts=True,
            weight=below,
            bias=lambda t: t.op("Max", t.at(x), 0.0),
            forward=scale,
            adjoint=scale,
        )
    return Product(
        operands=(x, slope),
        output=y,
        broadcasts=True,
        gates=(False, True),
        adjoints=(
            lambda t, r: t.op("Mul", r, factor(t)),
            lambda t, r: t.op("Mul", r, below(t)),
        ),
    )


@op("Elu")
def elu(site: Site) -> Pointwise:
    """Forward: y = x, or alpha (e^x - 1) below zero. Derivative: 1 or y + alpha."""
    alpha = site.number("alpha", 1.0)
    return _pointwise(site, lambda t, x, y: _below_zero(t, x, t.op("Add", y, alpha), 1.0))


@op("Celu")
def celu(site: Site) -> Pointwise:
    """Forward: y = x, or alpha (e^(x/alpha) - 1) below zero. Derivative: 1 or e^(x/alpha)."""
    alpha = site.number("alpha", 1.0)
    return _pointwise(
        site, lambda t, x, y: _below_zero(t, x, t.op("Exp", t.op("Div", x, alpha)), 1.0)
    )


@op("Selu")
def selu(site: Site) -> Pointwise:
    """Forward: y = gamma x, or gamma alpha (e^x - 1). Derivative: gamma or y + gamma alpha."""
    alpha = site.number("alpha", 1.6732632)
    gamma = site.number("gamma", 1.050701)
    return _pointwise(
        site,
        lambda t, x, y: t.op(
            "Where", t.op("Greater", x, 0.0), gamma, t.op("Add", y, gamma * alpha)
        ),
    )


@op("HardSigmoid")
def hard_sigmoid(site: Site) -> Pointwise:
    """Forward: y = max(0, min(1, alpha x + beta)). Derivative: alpha between 0 and 1."""
    alpha = site.number("alpha", 0.2)

    def derivative(t: Tape, x: Value, y: Value) -> Value:
        inside = t.op("And", t.op("Greater", y, 0.0), t.op("Less", y, 1.0))
        return t.op("Where", inside, alpha, 0.0)

    return _pointwise(site, derivative)


@op("ThresholdedRelu")
def thresholded_relu(site: Site) -> Pointwise:
    """Forward: y = x above alpha, else 0. Derivative: 1 above alpha."""
    alpha = site.number("alpha", 1.0)
    return _pointwise(site, lambda t, x, y: _step(t, t.op("Greater", x, alpha)))


@op("Shrink")
def shrink(site: Site) -> Pointwise:
    """Forward: y = x -+ bias where |x| > lambd, else 0. Derivative: 1 where |x| > lambd."""
    limit = site.number("lambd", 0.5)
    return _pointwise(site, lambda t, x, y: _step(t, t.op("Greater", t.op("Abs", x), limit)))


@op("Clip")
def clip(site: Site) -> Pointwise:
    """Forward: y = min(max(x, low), high). Derivative: 1 strictly between; bounds are stops."""
    low, high = site.input(1), site.input(2)

    def derivative(t: Tape, x: Value, y: Value) -> Value:
        tests = [t.op("Greater", x, t.at(low))] if low is not None else []
        tests += [t.op("Less", x, t.at(high))] if high is not None else []
        if not tests:
            return t.scalar(1.0)
        return _step(t, tests[0] if len(tests) == 1 else t.op("And", *tests))

    return _pointwise(site, derivative)


@op("Gelu")
def gelu(site: Site) -> Pointwise:
    """Forward: y = x Phi(x), exact or with tanh. Derivative: Phi(x) + x Phi'(x)."""
    tanh = site.text("approximate", "none") == "tanh"
    return _pointwise(site, _gelu_tanh if tanh else _gelu)


def _gelu(t: Tape, x: Value, y: Value) -> Value:
    phi = t.op("Mul", 0.5, t.op("Add", t.op("Erf", t.op("Mul", x, math.sqrt(0.5))), 1.0))
    bell = t.op("Exp", t.op("Mul", _square(t, x), -0.5))
    density = t.op("Mul", bell, 1 / math.sqrt(2 * math.pi))
    return t.op("Add", phi, t.op("Mul", x, density))


def _gelu_tanh(t: Tape, x: Value, y: Value) -> Value:
    root = math.sqrt(2 / math.pi)
    square = _square(t, x)
    inner = t.op("Mul", t.op("Mul", x, root), t.op("Add", t.op("Mul", square, 0.044715), 1.0))
    bend = t.op("Tanh", inner)
    slope = t.op("Mul", root, t.op("Add", t.op("Mul", square, 3 * 0.044715), 1.0))
    second = t.op("Mul", t.op("Mul", x, slope), _complement(t, _square(t, bend)))
    return t.op("Mul", 0.5, t.op("Add", t.op("Add", bend, 1.0), second))


@op("Swish")
def swish(site: Site) -> Pointwise:
    """Forward: y = x sigmoid(alpha x). Derivative: s + alpha y (1 - s)."""
    alpha = site.number("alpha", 1.0)

    def derivative(t: Tape, x: Value, y: Value) -> Value:
        s = t.op("Sigmoid", x if alpha == 1 else t.op("Mul", x, alpha))
        slope = t.op("Mul", y, _complement(t, s))
        return t.op("Add", s, slope if alpha == 1 else t.op("Mul", slope, alpha))

    return _pointwise(site, derivative)


@op("Softmax", "LogSoftmax")
def softmax(site: Site) -> Kind:
    """Forward: y = e^x / sum e^x over an axis, or its logarithm. Derivative: see `Softmax`."""
    return Softmax(
        operands=(site.required(0),),
        output=site.output,
        axis=site.integer("axis", -1),
        log=site.op == "LogSoftmax",
    )
