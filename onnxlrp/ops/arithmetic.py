"""Sums, products and powers, element by element."""

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Pointwise, Product, Stop, Sum, Thunk
from onnxlrp.ops.registry import op


@op("Add")
def add(site: Site) -> Kind:
    """Forward: y = a + b."""
    return _sum(site, (1.0, 1.0))


@op("Sub")
def sub(site: Site) -> Kind:
    """Forward: y = a - b."""
    return _sum(site, (1.0, -1.0))


@op("Sum")
def sum_(site: Site) -> Kind:
    """Forward: y = sum_i x_i."""
    return _sum(site, (1.0,) * len(site.inputs))


@op("Mean")
def mean(site: Site) -> Kind:
    """Forward: y = sum_i x_i / n."""
    return _sum(site, (1.0 / len(site.inputs),) * len(site.inputs))


def _sum(site: Site, signs: tuple[float, ...]) -> Kind:
    terms = list(zip((site.required(i) for i in range(len(signs))), signs, site.live, strict=True))
    live = [(value, sign) for value, sign, alive in terms if alive]
    dead = [(value, sign) for value, sign, alive in terms if not alive]
    offset = _offset(dead)
    if len(live) > 1:
        return Sum(
            operands=tuple(value for value, _ in live),
            output=site.output,
            signs=tuple(sign for _, sign in live),
            offset=offset,
        )
    operand, sign = live[0]
    weight: Thunk | None = None if sign == 1 else (lambda t: t.scalar(sign))
    return _diagonal(operand, site.output, weight, offset)


def _offset(terms: list[tuple[Value, float]]) -> Thunk | None:
    if not terms:
        return None

    def make(t: Tape) -> Value:
        scaled = [t.at(v) if sign == 1 else t.op("Mul", t.at(v), sign) for v, sign in terms]
        return scaled[0] if len(scaled) == 1 else t.op("Sum", *scaled)

    return make


def _diagonal(x: Value, y: Value, weight: Thunk | None, bias: Thunk | None) -> LinearMap:
    """Y = w x + b, element by element."""

    def scale(t: Tape, value: Value, w: Maybe) -> Value:
        return value if w is None else t.op("Mul", value, w)

    return LinearMap(
        operands=(x,),
        output=y,
        weight=weight,
        bias=bias,
        forward=scale,
        adjoint=scale,
        broadcasts=True,
    )


@op("Mul")
def mul(site: Site) -> Kind:
    """Forward: y = a b. Adjoint: r b and r a."""
    a, b = site.required(0), site.required(1)
    if site.is_live(0) and site.is_live(1):
        return Product(
            operands=(a, b),
            output=site.output,
            broadcasts=True,
            gates=(False, False),
            switch=site.switch,
            adjoints=(
                lambda t, r: t.op("Mul", r, t.at(b)),
                lambda t, r: t.op("Mul", r, t.at(a)),
            ),
        )
    x, w = (a, b) if site.is_live(0) else (b, a)
    return _diagonal(x, site.output, lambda t: t.at(w), None)


@op("Div")
def div(site: Site) -> Kind:
    """Forward: y = a / b; b is a gate. Adjoint: r / b and -r y / b."""
    a, b, y = site.required(0), site.required(1), site.output
    if not site.is_live(1):
        return _diagonal(a, y, lambda t: t.op("Div", 1.0, t.at(b)), None)

    def denominator(t: Tape, r: Value) -> Value:
        return t.op("Neg", t.op("Div", t.op("Mul", r, t.at(y)), t.at(b)))

    if not site.is_live(0):
        return Pointwise(
            operands=(b,),
            output=y,
            broadcasts=True,
            derivative=lambda t: t.op("Neg", t.op("Div", t.at(y), t.at(b))),
        )
    return Product(
        operands=(a, b),
        output=y,
        broadcasts=True,
        gates=(False, True),
        adjoints=(lambda t, r: t.op("Div", r, t.at(b)), denominator),
    )


@op("Neg")
def neg(site: Site) -> Kind:
    """Forward: y = -x. Adjoint: -r."""
    return _diagonal(site.required(0), site.output, lambda t: t.scalar(-1.0), None)


@op("Pow")
def power(site: Site) -> Kind:
    """Forward: y = x^p; p is a gate. Derivative: p x^(p-1), and y log x, 0 where x <= 0."""
    x, p, y = site.required(0), site.required(1), site.output

    def base(t: Tape) -> Value:
        exponent = t.at(p) if site.is_live(1) else t.op("Cast", t.at(p), to=1)
        return t.op("Mul", exponent, t.op("Pow", t.at(x), t.op("Sub", exponent, 1.0)))

    def logarithm(t: Tape) -> Value:
        above = t.op("Greater", t.at(x), 0.0)
        log = t.op("Log", t.op("Where", above, t.at(x), 1.0))
        return t.op("Mul", t.at(y), log)

    if site.is_live(0) and site.is_live(1):
        return Product(
            operands=(x, p),
            output=y,
            broadcasts=True,
            gates=(False, True),
            adjoints=(
                lambda t, r: t.op("Mul", r, base(t)),
                lambda t, r: t.op("Mul", r, logarithm(t)),
            ),
        )
    operand, derivative = (x, base) if site.is_live(0) else (p, logarithm)
    return Pointwise(operands=(operand,), output=y, broadcasts=True, derivative=derivative)


@op("Mod")
def mod(site: Site) -> Kind:
    """Forward: y = a - b n, n the integer quotient; b is a stop. Derivative: 1 in a."""
    if not site.is_live(0):
        return Stop(output=site.output)
    return Pointwise(
        operands=(site.required(0),),
        output=site.output,
        broadcasts=True,
        derivative=lambda t: t.scalar(1.0),
    )


@op("Range")
def range_(site: Site) -> Kind:
    """Forward: y_i = start + i delta; the limit is a stop. Adjoint: sum r_i, or sum i r_i.

    Only one of start and delta may depend on the input; integers carry nothing.
    """
    start, delta, y = site.required(0), site.required(2), site.output
    if not y.is_float or not (site.is_live(0) or site.is_live(2)):
        return Stop(output=y)
    if site.is_live(0) and site.is_live(2):
        raise UnsupportedOp("its start and its step depend on the input; use a constant Range")

    def steps(t: Tape) -> Value:
        line = t.op("Range", t.constant_int(0), t.op("Size", y), t.constant_int(1))
        return t.op("Cast", line, to=1)

    if site.is_live(2):
        return _diagonal(delta, y, steps, lambda t: start)
    return LinearMap(
        operands=(start,),
        output=y,
        bias=lambda t: t.op("Mul", steps(t), delta),
        forward=lambda t, x, w: t.op("Expand", x, t.shape(y)),
        adjoint=lambda t, r, w: r,
        broadcasts=True,
    )
