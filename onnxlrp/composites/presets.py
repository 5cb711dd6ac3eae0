"""The methods by name: each preset is one function that returns rows."""

from collections.abc import Mapping
from dataclasses import replace

from onnxlrp.composites.attention import attnlrp, cp_lrp, has_attention
from onnxlrp.composites.base import Row, row
from onnxlrp.composites.options import (
    COMMON,
    CONVOLUTIONS,
    SCALING,
    UNMERGED,
    WEIGHTED,
    Options,
    Preset,
    lrp_rows,
    pool_rule,
    split_rule,
)
from onnxlrp.composites.peers import PEERS
from onnxlrp.composites.relative import RAP
from onnxlrp.errors import CompositeError
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import (
    Kind,
    LinearMap,
    Move,
    Norm,
    Pointwise,
    Product,
    Select,
    Softmax,
    Sum,
)
from onnxlrp.rules import (
    AlphaBeta,
    Deconvnet,
    Epsilon,
    Flat,
    Gamma,
    Gradient,
    GuidedBackprop,
    Leaky,
    Pass,
    Rule,
    Scaled,
    Stabilizer,
    WSquare,
    ZBox,
    ZPlusFlat,
)

__all__ = ["AUTO_SOURCE", "EVERY_KIND", "PRESETS", "auto_choice"]


def _positive(o: Options) -> AlphaBeta:
    return AlphaBeta(
        stabilizer=o.stable, bias=o.bias or "positive", negative_input=o.negative_input
    )


def _alpha_beta(o: Options) -> AlphaBeta:
    return AlphaBeta(
        alpha=o.alpha,
        beta=o.beta,
        stabilizer=o.stable,
        bias=o.bias or "positive",
        negative_input=o.negative_input,
        negative=o.negative,
    )


def _epsilon(o: Options) -> tuple[Row, ...]:
    return lrp_rows(o)


def _epsilon_plus(o: Options) -> tuple[Row, ...]:
    return lrp_rows(o, SCALING, UNMERGED, row(LinearMap, _positive(o), op=CONVOLUTIONS))


def _flat(o: Options) -> Row:
    return row(LinearMap, Flat(stabilizer=o.stable), op=WEIGHTED, position="first")


def _epsilon_plus_flat(o: Options) -> tuple[Row, ...]:
    return lrp_rows(o, SCALING, UNMERGED, _flat(o), row(LinearMap, _positive(o), op=CONVOLUTIONS))


def _epsilon_alpha_beta(o: Options) -> tuple[Row, ...]:
    return lrp_rows(o, SCALING, UNMERGED, row(LinearMap, _alpha_beta(o), op=CONVOLUTIONS))


def _epsilon_alpha_beta_flat(o: Options) -> tuple[Row, ...]:
    return lrp_rows(o, SCALING, UNMERGED, _flat(o), row(LinearMap, _alpha_beta(o), op=CONVOLUTIONS))


def _box(o: Options) -> ZBox:
    low = -3.0 if o.low is None else o.low
    return ZBox(low=low, high=3.0 if o.high is None else o.high, stabilizer=o.stable)


def _epsilon_gamma_box(o: Options) -> tuple[Row, ...]:
    gamma = Gamma(
        gamma=o.gamma,
        stabilizer=o.stable,
        bias=o.bias or "positive",
        negative_input=o.negative_input,
    )
    return lrp_rows(
        o,
        SCALING,
        UNMERGED,
        row(LinearMap, _box(o), op=CONVOLUTIONS, position="first"),
        row(LinearMap, gamma, op=CONVOLUTIONS),
    )


def _excitation_backprop(o: Options) -> tuple[Row, ...]:
    return lrp_rows(o, SCALING, UNMERGED, row(LinearMap, _positive(o), op=WEIGHTED))


def _deep_taylor(o: Options) -> tuple[Row, ...]:
    bounded = o.low is not None or o.high is not None
    first: Rule[LinearMap] = _box(o) if bounded else WSquare(stabilizer=o.stable, bias="none")
    return lrp_rows(
        o,
        SCALING,
        row(LinearMap, first, op=WEIGHTED, position="first"),
        row(LinearMap, AlphaBeta(stabilizer=o.stable, bias="none"), op=(*WEIGHTED, "Add", "Sub")),
    )


def _montavon(o: Options) -> tuple[Row, ...]:
    tiny = Stabilizer(epsilon=o.epsilon)
    gamma = Gamma(gamma=o.gamma, stabilizer=tiny, negative_input="ignore")
    upper = Epsilon(stabilizer=Stabilizer(epsilon=o.epsilon, rms=0.25))
    return lrp_rows(
        o,
        SCALING,
        row(LinearMap, _box(o), op=CONVOLUTIONS, position="first"),
        row(LinearMap, gamma, op=CONVOLUTIONS, position="lower"),
        row(LinearMap, upper, op=CONVOLUTIONS, position="upper"),
    )


def _otsuki(o: Options) -> tuple[Row, ...]:
    """As published; `dead=keep` shares evenly what each rule would lose to epsilon (ours)."""
    if o.dead == "keep" and o.stabilizer not in {"unsigned", "even"}:
        raise CompositeError(f"dead=keep has its own stabilizer: leave out '{o.stabilizer}'")
    o = replace(o, stabilizer="even") if o.dead == "keep" else o
    positive = AlphaBeta(stabilizer=o.stable, bias="none")
    return lrp_rows(
        o,
        SCALING,
        row(LinearMap, ZPlusFlat(stabilizer=o.stable), op=CONVOLUTIONS, position="first"),
        row(LinearMap, positive, op=WEIGHTED),
        UNMERGED,
        linear=Epsilon(stabilizer=o.stable, bias="none"),
    )


AVERAGES = ("AveragePool", "GlobalAveragePool", "ReduceMean", "ReduceSum")


def _landt_hayen(o: Options) -> tuple[Row, ...]:
    """Positive contributions, biases left out; the readout follows the sign of the score."""
    stable = Stabilizer(epsilon=1.0, mode="zero-only")
    positive = AlphaBeta(stabilizer=stable, bias="none")
    if o.leak is not None and o.split != "proportional":
        raise CompositeError(f"leak={o.leak} and split={o.split} contradict each other")
    sums = Leaky(leak=o.leak or "coef", cell=o.cell, stabilizer=stable)
    leaky = (Row((Sum, LinearMap), sums, ("Add",)),) if o.split == "proportional" else ()
    return lrp_rows(
        o,
        row(LinearMap, replace(positive, follow=True), op=WEIGHTED, position="last"),
        row(LinearMap, positive, op=(*WEIGHTED, *AVERAGES)),
        *leaky,
        row(LinearMap, Pass(), op=("Add", "Sub")),
        row(LinearMap, Scaled(), op=("Mul", "Div")),
        linear=Epsilon(stabilizer=stable, bias="none"),
    )


EVERY_KIND: tuple[type[Kind], ...] = (
    LinearMap,
    Sum,
    Product,
    Pointwise,
    Move,
    Select,
    Norm,
    Softmax,
)


def _gradient(o: Options) -> tuple[Row, ...]:
    sums = () if o.split in {None, "copy"} else (row(Sum, split_rule(o)),)
    pools = (row(Select, pool_rule(o)),)
    return (*sums, *pools, Row(EVERY_KIND, Gradient()))


def _deconvnet(o: Options) -> tuple[Row, ...]:
    return (row(Pointwise, Deconvnet()), *_gradient(o))


def _guided_backprop(o: Options) -> tuple[Row, ...]:
    return (row(Pointwise, GuidedBackprop()), *_gradient(o))


GATED = (*COMMON, "gates")
SIGNED = (*GATED, "bias", "negative_input")
FAMILY = ("split", "maxpool")
ZENNIT = "zennit"

PRESETS: tuple[Preset, ...] = (
    Preset("epsilon", "Bach et al. 2015", _epsilon, (*GATED, "bias")),
    Preset("epsilon-plus", f"{ZENNIT} EpsilonPlus", _epsilon_plus, SIGNED),
    Preset("epsilon-plus-flat", f"{ZENNIT} EpsilonPlusFlat", _epsilon_plus_flat, SIGNED),
    Preset(
        "epsilon-gamma-box",
        f"{ZENNIT} EpsilonGammaBox",
        _epsilon_gamma_box,
        (*SIGNED, "gamma", "low", "high"),
    ),
    Preset(
        "epsilon-alpha2-beta1",
        f"{ZENNIT} EpsilonAlpha2Beta1",
        _epsilon_alpha_beta,
        (*SIGNED, "alpha", "beta", "negative"),
    ),
    Preset(
        "epsilon-alpha2-beta1-flat",
        f"{ZENNIT} EpsilonAlpha2Beta1Flat",
        _epsilon_alpha_beta_flat,
        (*SIGNED, "alpha", "beta", "negative"),
    ),
    Preset(
        "excitation-backprop",
        f"Zhang et al. 2016, as {ZENNIT} ExcitationBackprop",
        _excitation_backprop,
        SIGNED,
    ),
    Preset("deep-taylor", "Montavon et al. 2017", _deep_taylor, (*GATED, "low", "high")),
    Preset(
        "montavon",
        "Montavon et al. 2019, the VGG16 tutorial",
        _montavon,
        (*GATED, "gamma", "low", "high"),
        {"epsilon": 1e-9, "maxpool": "avg"},
    ),
    Preset(
        "otsuki",
        "Otsuki et al. 2024 and its published code",
        _otsuki,
        (*GATED, "dead"),
        {"epsilon": 1e-5, "stabilizer": "unsigned", "maxpool": "avg2"},
        split="ratio",
        start="probability",
    ),
    Preset(
        "landt-hayen",
        "Landt-Hayen et al. 2022",
        _landt_hayen,
        ("bn", "split", "maxpool", "gates", "cell", "leak"),
    ),
    Preset(
        "attnlrp",
        "Achtibat et al. 2024, conventions of LXT",
        attnlrp,
        (*COMMON, "gamma"),
        {"stabilizer": "unsigned", "gamma": 0.0, "gates": "half"},
    ),
    Preset(
        "cp-lrp",
        "Ali et al. 2022, conventions of LXT",
        cp_lrp,
        (*COMMON, "gamma"),
        {"stabilizer": "unsigned", "gamma": 0.0},
    ),
    RAP,
    *PEERS,
    Preset("gradient", "Simonyan et al. 2014", _gradient, FAMILY, split="copy", start="one"),
    Preset(
        "gradient-x-input",
        "Shrikumar et al. 2016",
        _gradient,
        FAMILY,
        split="copy",
        start="one",
        times_input=True,
    ),
    Preset("deconvnet", "Zeiler and Fergus 2014", _deconvnet, FAMILY, split="copy", start="one"),
    Preset(
        "guided-backprop",
        "Springenberg et al. 2015",
        _guided_backprop,
        FAMILY,
        split="copy",
        start="one",
    ),
)
"""Every preset but `auto`, which picks one of them from the graph."""

AUTO_SOURCE = (
    "picked from the graph: attention: attnlrp; convolutions: epsilon-plus; else epsilon; "
    "split ratio"
)


def auto_choice(kinds: Mapping[Site, Kind]) -> str:
    """The preset that `auto` picks for a graph."""
    if has_attention(kinds):
        return "attnlrp"
    convolutions = any(site.op in CONVOLUTIONS for site in kinds)
    return "epsilon-plus" if convolutions else "epsilon"
