"""Profiles: the presets of other libraries under their conventions."""

from dataclasses import replace

from onnxlrp.composites.base import Row, row
from onnxlrp.composites.options import (
    COMMON,
    CONVOLUTIONS,
    DENSE,
    WEIGHTED,
    Options,
    Preset,
    batch_norm_rows,
    lrp_rows,
    split_rule,
)
from onnxlrp.ops.kinds import LinearMap, Norm, Product, Softmax, Sum
from onnxlrp.rules import (
    Absolute,
    AbsoluteBias,
    AlphaBeta,
    Epsilon,
    Gamma,
    Pass,
    Rescaled,
    Rule,
    Stabilizer,
    Uniform,
    ZBox,
)

__all__ = ["PEERS"]

SUMS = ("Add", "Sub")
SCALINGS = ("Div", "Mul", "Neg")
CAPTUM = {"epsilon": 1e-9, "bn": "epsilon"}
GATED = (*COMMON, "gates")
INNVESTIGATE = {"epsilon": 0.1, "bn": "epsilon"}


def _captum_epsilon(o: Options) -> tuple[Row, ...]:
    return lrp_rows(o)


def _captum_gamma(o: Options) -> tuple[Row, ...]:
    gamma = Gamma(gamma=o.gamma, stabilizer=o.stable, bias="raw", negative_input="ignore")
    return lrp_rows(o, row(LinearMap, gamma, op=WEIGHTED))


def _captum_alpha1_beta0(o: Options) -> tuple[Row, ...]:
    positive = AlphaBeta(stabilizer=o.stable, bias="raw", negative_input="ignore")
    return lrp_rows(o, row(LinearMap, positive, op=WEIGHTED))


def _innvestigate(o: Options, alpha: float, beta: float) -> tuple[Row, ...]:
    """Dense layers by epsilon, convolutions by alpha-beta with the whole bias in both parts."""
    z = replace(o, epsilon=1e-7, stabilizer="zero-only")
    signed = AlphaBeta(alpha=alpha, beta=beta, stabilizer=z.stable, bias="both")
    # Its x (y - shift) r / ((x - mean) y) is x k r / y, k the factor of the normalisation.
    norm = Epsilon(stabilizer=Stabilizer(epsilon=1e-7))
    return (
        *batch_norm_rows(o, norm),
        row(LinearMap, Epsilon(stabilizer=o.stable), op=DENSE),
        row(LinearMap, signed, op=CONVOLUTIONS),
        *lrp_rows(z),
    )


def _innvestigate_a(o: Options) -> tuple[Row, ...]:
    return _innvestigate(o, 1.0, 0.0)


def _innvestigate_b(o: Options) -> tuple[Row, ...]:
    return _innvestigate(o, 2.0, 1.0)


def _dynamic_lrp(o: Options) -> tuple[Row, ...]:
    """Sums and products by size, biases as summands, normalisations and softmax passed."""
    sizes = Absolute(epsilon=o.epsilon)
    kernel: Rule[LinearMap] = Epsilon(stabilizer=o.stable, bias="none")
    if o.gamma:
        kernel = Gamma(gamma=o.gamma, stabilizer=o.stable, bias="none")
    return (
        row(LinearMap, kernel, op=CONVOLUTIONS),
        row(LinearMap, AbsoluteBias(epsilon=o.epsilon), op=DENSE),
        row(LinearMap, sizes, op=(*SUMS, "Mean", "ReduceMean", "ReduceSum", "Sum")),
        row(LinearMap, Pass(), op=SCALINGS),
        row(Sum, sizes if o.split == "ratio" else split_rule(o)),
        row(Product, sizes),
        row(Norm, Pass()),
        row(Softmax, Pass()),
        *lrp_rows(o),
    )


def _chefer(o: Options) -> tuple[Row, ...]:
    """The relevance walk behind the class-specific attention maps, without their rollout."""
    positive = AlphaBeta(stabilizer=o.stable, bias="none")
    box = ZBox(own=True, stabilizer=Stabilizer(epsilon=o.epsilon, mode="unsigned"))
    rescaled = Rescaled(totals=o.totals, stabilizer=o.stable)
    plain = Epsilon(stabilizer=o.stable, bias="none")
    halved = replace(o, epsilon=2 * o.epsilon)  # it halves behind the quotient, Uniform before
    return (
        *batch_norm_rows(o, plain),
        row(LinearMap, box, op="Conv", position="first"),
        row(LinearMap, replace(positive, joint=False), op=CONVOLUTIONS),
        row(LinearMap, positive, op=DENSE),
        row(LinearMap, rescaled, op=SUMS),
        row(LinearMap, plain),
        row(Sum, rescaled),
        row(Product, Uniform(gates="half", stabilizer=halved.stable)),
        row(Norm, Pass()),
        row(Softmax, Pass()),
        *lrp_rows(o),
    )


PEERS: tuple[Preset, ...] = (
    Preset("captum-epsilon", "captum LRP, EpsilonRule", _captum_epsilon, GATED, CAPTUM),
    Preset("captum-gamma", "captum LRP, GammaRule", _captum_gamma, (*GATED, "gamma"), CAPTUM),
    Preset(
        "captum-alpha1-beta0",
        "captum LRP, Alpha1_Beta0_Rule",
        _captum_alpha1_beta0,
        GATED,
        CAPTUM,
    ),
    Preset(
        "innvestigate-a",
        "iNNvestigate LRP, sequential preset A",
        _innvestigate_a,
        GATED,
        INNVESTIGATE,
    ),
    Preset(
        "innvestigate-b",
        "iNNvestigate LRP, sequential preset B",
        _innvestigate_b,
        GATED,
        INNVESTIGATE,
    ),
    Preset(
        "dynamic-lrp",
        "DynamicLRP",
        _dynamic_lrp,
        (*COMMON, "gamma"),
        {"epsilon": 1e-11, "bn": "identity", "gamma": 0.0},
        split="ratio",
    ),
    Preset(
        "chefer",
        "Chefer et al. 2021, the relevance walk without the rollout",
        _chefer,
        ("epsilon", "bn", "maxpool", "cell", "totals"),
        {"epsilon": 1e-9, "stabilizer": "unsigned-dead", "bn": "epsilon"},
        start="one",
    ),
)
"""Every profile."""
