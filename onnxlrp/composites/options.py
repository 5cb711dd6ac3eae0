"""The parameters of presets, and the rows that presets share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from onnxlrp.composites.base import CELLS, Composite, Row, row
from onnxlrp.errors import CompositeError
from onnxlrp.ops.kinds import LinearMap, Move, Norm, Pointwise, Product, Select, Softmax, Sum
from onnxlrp.rules import (
    Average,
    Branch,
    Coef,
    Epsilon,
    Frozen,
    Gradient,
    Moved,
    Pass,
    Proportional,
    Ratio,
    Rule,
    Skip,
    Stabilizer,
    Symmetric,
    Taylor,
    Uniform,
    WinnerTakesAll,
)
from onnxlrp.rules.base import choice
from onnxlrp.rules.leaky import LEAKS
from onnxlrp.rules.products import GATES

__all__ = [
    "COMMON",
    "CONVOLUTIONS",
    "DENSE",
    "SCALING",
    "UNMERGED",
    "WEIGHTED",
    "Options",
    "Preset",
    "batch_norm_rows",
    "lrp_rows",
    "pool_rule",
    "split_rule",
]

COMMON = ("epsilon", "stabilizer", "bn", "split", "maxpool", "identity", "cell")
"""The parameters of every LRP preset."""

CONVOLUTIONS = ("Conv", "ConvTranspose")
DENSE = ("Gemm", "MatMul")
WEIGHTED = (*CONVOLUTIONS, *DENSE)
DEADS = ("drop", "keep")
AFFINE = ("Add", "Sub", "Mul", "Div")


SCALING = row(LinearMap, Pass(), op=AFFINE, position="input")
"""Scaling of the input inside the graph is preprocessing: it passes relevance on."""

UNMERGED = row(LinearMap, Pass(), op="BatchNormalization")
"""As zennit: a batch normalisation that cannot be merged passes relevance on."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """The parameters that a preset may take; None: its own default.

    Attributes:
        gates: How a product with a gate is shared: `all` (the signal takes all), `half`, `abs` or
            `prop`.
        cell: Whether the input and the recurrent part of a cell are one linear map (`whole`) or
            shared op by op (`opwise`).
        totals: `sample` or `batch`, of the split of Chefer et al. 2021.
        leak: Split of a leaky integrator: `coef` or `contribution`; None: `coef`.
        dead: Whether what a rule has nowhere to put is lost (`drop`) or shared evenly (`keep`);
            `keep` also gives nothing to a summand that is 0 where a split is symmetric.
    """

    epsilon: float = 1e-6
    gamma: float = 0.25
    alpha: float = 2.0
    beta: float = 1.0
    low: float | None = None
    high: float | None = None
    stabilizer: str = "signed"
    bias: str | None = None
    negative_input: str = "split"
    negative: str = "products"
    bn: str = "fold"
    split: str | None = None
    maxpool: str = "winner"
    identity: bool = True
    gates: str = "all"
    cell: str = "whole"
    totals: str = "sample"
    dead: str = "drop"
    leak: str | None = None

    def __post_init__(self) -> None:
        choice("gates", self.gates, GATES)
        choice("cell", self.cell, CELLS)
        choice("dead", self.dead, DEADS)
        choice("leak", self.leak or "coef", LEAKS)

    @property
    def stable(self) -> Stabilizer:
        """The stabiliser of every denominator."""
        return Stabilizer(epsilon=self.epsilon, mode=self.stabilizer)


@dataclass(frozen=True)
class Preset:
    """A named method.

    Attributes:
        name: Its name.
        source: Authors, year, or the library whose profile it is.
        rows: Makes its rows from the options.
        takes: Names of the parameters that it takes.
        defaults: Options that differ from the general ones.
        split: Its own split at an Add.
        start: Its own start.
        times_input: Whether the result is multiplied by the input.
    """

    name: str
    source: str
    rows: Callable[[Options], tuple[Row, ...]]
    takes: tuple[str, ...] = ()
    defaults: Mapping[str, object] | None = None
    split: str = "proportional"
    start: str = "logit"
    times_input: bool = False

    def options(self, given: Mapping[str, object]) -> Options:
        """The options of the preset with those given.

        Raises:
            CompositeError: A parameter is unknown.
        """
        for name in given:
            if name not in self.takes:
                known = ", ".join(self.takes) or "none"
                raise CompositeError(
                    f"composite '{self.name}' has no parameter '{name}'; it takes: {known}"
                )
        return replace(Options(**{"split": self.split, **(self.defaults or {})}), **given)  # type: ignore[arg-type]

    def build(self, given: Mapping[str, object], title: str) -> Composite:
        """The composite with the given parameters."""
        options = self.options(given)
        return Composite(
            name=title,
            rows=self.rows(options),
            split=options.split or self.split,
            start=self.start,
            bn=options.bn,
            cell=options.cell,
            times_input=self.times_input,
            source=self.source,
        )


def split_rule(o: Options) -> Rule[Sum]:
    """The rule of a split by name."""
    rules: dict[str, Rule[Sum]] = {
        "proportional": Proportional(stabilizer=o.stable),
        "ratio": Ratio(identity=o.identity),
        "symmetric": Symmetric(identity=o.identity, zeros=o.dead == "drop"),
        "coef": Coef(),
        "skip": Skip(),
        "branch": Branch(),
        "copy": Gradient(),
    }
    name = o.split or "proportional"
    if name not in rules:
        raise CompositeError(f"split={name!r} is not one of {', '.join(rules)}")
    return rules[name]


def pool_rule(o: Options) -> Rule[Select]:
    """The rule of `maxpool` by name."""
    rules: dict[str, Rule[Select]] = {
        "winner": WinnerTakesAll(),
        "mask": WinnerTakesAll(form="mask"),
        "avg": Average(window="same", stabilizer=o.stable),
        "avg2": Average(window="half", stabilizer=o.stable),
    }
    if o.maxpool not in rules:
        raise CompositeError(f"maxpool={o.maxpool!r} is not one of {', '.join(rules)}")
    return rules[o.maxpool]


def batch_norm_rows(o: Options, rule: Rule[LinearMap] | None = None) -> tuple[Row, ...]:
    """What is said about batch normalisation; nothing where it is folded.

    Args:
        o: The options.
        rule: The preset's own in place of Epsilon.
    """
    if o.bn == "epsilon":
        own = rule or Epsilon(stabilizer=o.stable)
        return (row(LinearMap, own, op="BatchNormalization"),)
    if o.bn == "identity":
        return (row(LinearMap, Pass(), op="BatchNormalization"),)
    if o.bn != "fold":
        raise CompositeError(f"bn={o.bn!r} is not one of fold, epsilon, identity")
    return ()


def lrp_rows(o: Options, *rows: Row, linear: Rule[LinearMap] | None = None) -> tuple[Row, ...]:
    """The given rows for linear maps, then what all LRP presets share."""
    return (
        *batch_norm_rows(o),
        *rows,
        row(LinearMap, linear or Epsilon(stabilizer=o.stable, bias=o.bias or "raw")),
        row(Sum, split_rule(o)),
        row(Select, pool_rule(o)),
        row(Pointwise, Pass()),
        row(Move, Moved()),
        row(Norm, Frozen(stabilizer=o.stable)),
        row(Product, Uniform(gates=o.gates, stabilizer=o.stable)),
        row(Softmax, Taylor()),
    )
