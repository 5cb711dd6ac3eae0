"""Presets for attention, and how `auto` recognises it."""

from collections.abc import Mapping
from dataclasses import replace

from onnxlrp.composites.base import Row, row
from onnxlrp.composites.options import CONVOLUTIONS, Options, lrp_rows, split_rule
from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Move, Norm, Pointwise, Product, Select, Softmax, Sum
from onnxlrp.rules import Epsilon, Gamma, MeanEpsilon, Pass, Uniform

__all__ = ["attnlrp", "cp_lrp", "has_attention"]

PASSING = ("LpNormalization", "RMSNormalization", "SimplifiedLayerNormalization")
"""Normalisations without a mean: relevance passes."""

SMALL = 1e-8
"""LXT's epsilon at sums and products."""


def attnlrp(o: Options) -> tuple[Row, ...]:
    """Rows of AttnLRP: softmax by Taylor expansion, products halved, statistics frozen."""
    small = replace(o, epsilon=SMALL)
    return _rows(o, small, row(Product, Uniform(gates="half", stabilizer=small.stable)))


def cp_lrp(o: Options) -> tuple[Row, ...]:
    """Rows of CP-LRP: the attention weights are constants, the values take all.

    The two factors of a gated MLP share alike, as in AttnLRP.
    """
    small = replace(o, epsilon=SMALL)
    return _rows(o, small, row(Product, Uniform(gates="all", stabilizer=o.stable)))


def _rows(o: Options, small: Options, product: Row) -> tuple[Row, ...]:
    gamma = Gamma(gamma=o.gamma, stabilizer=o.stable)
    return (
        *((row(LinearMap, gamma, op=CONVOLUTIONS),) if o.gamma else ()),
        row(LinearMap, Pass(), op=("Div", "Mul", "Neg")),
        row(LinearMap, Epsilon(stabilizer=small.stable), op=("Add", "Sub")),
        row(LinearMap, MeanEpsilon(stabilizer=o.stable), op="ReduceMean"),
        row(Norm, Pass(), op=PASSING),
        row(Sum, split_rule(small)),
        product,
        *lrp_rows(o),
    )


def has_attention(kinds: Mapping[Site, Kind]) -> bool:
    """Whether a softmax leads to a matrix product of live values: it weighs them."""
    weights: set[Value] = set()
    for site, kind in kinds.items():
        if isinstance(kind, Product) and not kind.broadcasts and weights & set(kind.operands):
            return True
        moves = isinstance(kind, Move | Select | Pointwise | LinearMap)
        passes = moves and weights & set(kind.operands)
        if isinstance(kind, Softmax) or (passes and not _mixes(site)):
            weights.update(value for value in site.outputs if value is not None)
    return False


def _mixes(site: Site) -> bool:
    return site.op in {*CONVOLUTIONS, "Gemm", "MatMul"}
