"""Normalisations."""

from collections.abc import Callable

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import LinearMap, Maybe, Norm, Thunk
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


Mean = Callable[[Tape, Value], Value]
"""The mean over what is normalised together, in a shape that broadcasts."""


def _standardised(
    site: Site, mean: Mean, scale: Thunk, offset: Thunk | None, epsilon: float
) -> Norm:
    """Scaled and centred by the statistics of x: gamma (x - mean) / sigma + beta."""
    x = site.required(0)

    def centred(t: Tape) -> Value:
        return t.op("Sub", t.at(x), mean(t, t.at(x)))

    def inverse(t: Tape) -> Value:
        variance = mean(t, t.op("Mul", centred(t), centred(t)))
        return t.op("Reciprocal", t.op("Sqrt", t.op("Add", variance, epsilon)))

    def frozen(t: Tape, r: Value) -> Value:
        u = t.op("Mul", t.op("Mul", r, scale(t)), inverse(t))
        return t.op("Sub", u, mean(t, u))

    def derivative(t: Tape, r: Value) -> Value:
        g = t.op("Mul", r, scale(t))
        n = t.op("Mul", centred(t), inverse(t))
        along = t.op("Mul", n, mean(t, t.op("Mul", g, n)))
        rest = t.op("Sub", t.op("Sub", g, mean(t, g)), along)
        return t.op("Mul", rest, inverse(t))

    return Norm(
        operands=(x,), output=site.output, frozen=frozen, derivative=derivative, offset=offset
    )


def _fixed(site: Site, index: int) -> Value | None:
    value = site.input(index)
    if site.is_live(index):
        raise UnsupportedOp("its scale or bias depends on the input")
    return value


@op("LayerNormalization")
def layer_normalization(site: Site) -> Norm:
    """Normalisation over the axes from `axis` on.

    Forward: y = gamma (x - mean) / sqrt(variance + epsilon) + beta.
    Derivative: (g - mean(g) - n mean(g n)) / sigma, g = r gamma, n the normalised input.
    """
    x, scale, bias = site.required(0), _fixed(site, 1), _fixed(site, 2)
    if x.rank is None or scale is None:
        raise UnsupportedOp("the rank of its input is not known")
    axes = list(range(site.integer("axis", -1) % x.rank, x.rank))
    return _standardised(
        site,
        lambda t, v: t.op("ReduceMean", v, axes, keepdims=1),
        lambda t: scale,
        None if bias is None else lambda t: bias,
        site.number("epsilon", 1e-5),
    )


@op("InstanceNormalization")
def instance_normalization(site: Site) -> Norm:
    """Normalisation over the positions of a channel.

    Forward: y = gamma (x - mean) / sqrt(variance + epsilon) + beta, gamma and beta per channel.
    Derivative: as `LayerNormalization`.
    """
    x, scale, bias = site.required(0), _fixed(site, 1), _fixed(site, 2)
    if x.rank is None or scale is None or bias is None:
        raise UnsupportedOp("the rank of its input is not known")
    column = [-1] + [1] * (x.rank - 2)
    axes = list(range(2, x.rank))
    return _standardised(
        site,
        lambda t, v: t.op("ReduceMean", v, axes, keepdims=1),
        lambda t: t.op("Reshape", scale, column),
        lambda t: t.op("Reshape", bias, column),
        site.number("epsilon", 1e-5),
    )


@op("LpNormalization")
def lp_normalization(site: Site) -> Norm:
    """Division by the Lp norm along an axis.

    Forward: y = x / |x|_p.
    Derivative: (r - d sum(r y)) / |x|_p, d = sign(x) for p = 1, y for p = 2.
    """
    x, y, p = site.required(0), site.output, site.integer("p", 2)
    axis, reduction = site.integer("axis", -1), "ReduceL1" if p == 1 else "ReduceL2"

    def norm(t: Tape) -> Value:
        return t.op(reduction, t.at(x), [axis], keepdims=1)

    def frozen(t: Tape, r: Value) -> Value:
        return t.op("Div", r, norm(t))

    def derivative(t: Tape, r: Value) -> Value:
        along = t.op("ReduceSum", t.op("Mul", r, t.at(y)), [axis], keepdims=1)
        slope = t.op("Sign", t.at(x)) if p == 1 else t.at(y)
        return frozen(t, t.op("Sub", r, t.op("Mul", slope, along)))

    return Norm(operands=(x,), output=y, frozen=frozen, derivative=derivative)
