"""Running sums and products along an axis."""

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import LinearMap, Maybe, Norm
from onnxlrp.ops.registry import op


def _running(
    t: Tape, site: Site, value: Value, *, back: bool = False, before: bool = False
) -> Value:
    """The running sum; `back`: its adjoint, from the other end; `before`: of those before."""
    flags = {
        "exclusive": site.integer("exclusive") | int(before),
        "reverse": site.integer("reverse") ^ int(back),
    }
    return t.op("CumSum", value, site.required(1), **flags)


@op("CumSum")
def cum_sum(site: Site) -> LinearMap:
    """Forward: y_i = sum of x_j over j <= i (`exclusive`: j < i; `reverse`: from the end).

    Adjoint: the same sum of r from the other end.
    """

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        return _running(t, site, x)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        return _running(t, site, r, back=True)

    return LinearMap(
        operands=(site.required(0),), output=site.output, forward=forward, adjoint=adjoint
    )


@op("CumProd")
def cum_prod(site: Site) -> Norm:
    """Forward: y_i = product of x_j over j <= i (`exclusive`: j < i; `reverse`: from the end).

    Derivative: the sum over i of r_i times the product of the other factors of y_i; right also
    where factors are 0. Under LRP each of the n_i factors takes r_i / n_i (uniform rule); a y_i
    without factors is absorbed as bias.
    """
    x = site.required(0)

    def factors(t: Tape) -> Value:
        return _running(t, site, t.op("Expand", 1.0, t.shape(x)))

    def derivative(t: Tape, r: Value) -> Value:
        empty = t.op("Equal", t.at(x), 0.0)
        ones = t.op("Cast", empty, to=1)
        safe = t.op("Where", empty, 1.0, t.at(x))
        zeros = _running(t, site, ones)
        product = t.op("CumProd", safe, site.required(1), **site.attributes)
        g = t.op("Mul", r, product)
        first = t.op("Equal", _running(t, site, ones, before=True), 0.0)
        whole, alone = (
            _running(t, site, t.op("Where", t.op("Equal", zeros, count), g, 0.0), back=True)
            for count in (0.0, 1.0)
        )
        at_zero = t.op("Where", first, alone, 0.0)
        return t.op("Where", empty, at_zero, t.op("Div", whole, safe))

    def frozen(t: Tape, r: Value) -> Value:
        return derivative(t, t.op("Div", r, t.op("Max", factors(t), 1.0)))

    def constant(t: Tape) -> Value:
        return t.op("Cast", t.op("Equal", factors(t), 0.0), to=1)

    return Norm(
        operands=(x,),
        output=site.output,
        frozen=frozen,
        derivative=derivative,
        offset=constant if site.integer("exclusive") else None,
    )
