"""Normalisations."""

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import LinearMap, Maybe, Norm
from onnxlrp.ops.registry import op


@op("BatchNormalization")
def batch_normalization(site: Site) -> LinearMap:
    """Batch normalisation with stored statistics, as an affine map per channel.

    Forward: y = k x + (beta - mean k), k = gamma / sqrt(var + epsilon).
    Adjoint: k r.
    """
    if site.integer("training_mode"):
        raise UnsupportedOp("training_mode=1; export the model in evaluation mode")
    x = site.required(0)
    if x.rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    column = [-1] + [1] * (x.rank - 2)

    def scale(t: Tape, value: Value, w: Maybe) -> Value:
        return t.op("Mul", value, w)

    return LinearMap(
        operands=(x,),
        output=site.output,
        weight=lambda t: t.op("Reshape", factor(t, site), column),
        bias=lambda t: t.op("Reshape", shift(t, site), column),
        forward=scale,
        adjoint=scale,
    )


def factor(t: Tape, site: Site) -> Value:
    """K = gamma / sqrt(var + epsilon), `[C]`."""
    variance = t.op("Add", site.required(4), site.number("epsilon", 1e-5))
    return t.op("Div", site.required(1), t.op("Sqrt", variance))


def shift(t: Tape, site: Site) -> Value:
    """Beta - mean k, `[C]`."""
    return t.op("Sub", site.required(2), t.op("Mul", site.required(3), factor(t, site)))


@op("LRN")
def lrn(site: Site) -> Norm:
    """Local response normalisation over channels.

    Forward: y = x u^-beta, u = bias + alpha / size * sum over the window of x^2.
    Derivative: r u^-beta - 2 alpha beta / size * x * (sum over the mirrored window of r y / u).
    """
    x, y, size = site.required(0), site.output, site.integer("size")
    alpha, beta = site.number("alpha", 1e-4), site.number("beta", 0.75)
    before, after = (size - 1) // 2, size - 1 - (size - 1) // 2

    def base(t: Tape) -> Value:
        squares = _over_channels(t, t.op("Mul", t.at(x), t.at(x)), x, (before, after))
        return t.op("Add", t.op("Mul", squares, alpha / size), site.number("bias", 1.0))

    def frozen(t: Tape, r: Value) -> Value:
        return t.op("Mul", r, t.op("Pow", base(t), -beta))

    def derivative(t: Tape, r: Value) -> Value:
        inner = t.op("Div", t.op("Mul", r, t.at(y)), base(t))
        total = _over_channels(t, inner, x, (after, before))
        share = t.op("Mul", t.op("Mul", t.at(x), total), 2 * alpha * beta / size)
        return t.op("Sub", frozen(t, r), share)

    return Norm(operands=(x,), output=y, frozen=frozen, derivative=derivative)


def _over_channels(t: Tape, value: Value, x: Value, reach: tuple[int, int]) -> Value:
    """Sum over the channels from `-reach[0]` to `+reach[1]`."""
    rows = t.op("Unsqueeze", t.op("Reshape", value, [0, 0, -1]), [1])
    size = sum(reach) + 1
    pads = [reach[0], 0, reach[1], 0]
    mean = t.op("AveragePool", rows, kernel_shape=[size, 1], pads=pads, count_include_pad=1)
    return t.reshape(t.op("Mul", mean, float(size)), x)
