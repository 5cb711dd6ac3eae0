"""The arithmetic limit of an explanation: multiply-adds by rule, counted in the source graph.

Every Conv, ConvTranspose, Gemm and MatMul of the source graph (those in the bodies of loops and
recurrent cells too) counts as often as its rule needs it, once for the prediction included:

    no relevance crosses it, Pass                   1
    Epsilon, Gradient                               2    z is reused; one adjoint
    Flat, WSquare, ZPlusFlat                        2    the denominator depends on weights only
    ZBox                                            3    W and low W+ + high W- backwards
    z+, Gamma; input >= 0 (signed)                  3 (5)
    alpha-beta; input >= 0 (signed)                 4 (7)
    product of two live values                      1 + the operands that take relevance

z- needs no product of its own where the input is >= 0: it is z - b - z+. The limit is the sum over
the graph divided by the multiply-adds of one forward pass. Nothing is read from an emitted graph.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from onnx import ModelProto

from onnxlrp.costs import multiply_adds
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.bodies import insides
from onnxlrp.ops.kinds import Kind, LinearMap, Product, Repeat, Stop
from onnxlrp.plan import Plan, Request, plan
from onnxlrp.rules import (
    AlphaBeta,
    AnyRule,
    Epsilon,
    Flat,
    Gamma,
    Gradient,
    Pass,
    SignalOnly,
    Uniform,
    WSquare,
    ZBox,
    ZPlusFlat,
)

__all__ = ["Count", "NoCountError", "counts", "fixed", "limit"]

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
ONE_ADJOINT = (Epsilon, Flat, Gradient, WSquare, ZPlusFlat)


class NoCountError(ValueError):
    """A rule for which this table says nothing."""


@dataclass(frozen=True)
class Count:
    """One product of the source graph.

    Attributes:
        name: Name of its site.
        work: Its multiply-adds, over all turns of a loop.
        times: How often an explanation needs them, the forward pass included.
        signed: Whether its input may be negative.
    """

    name: str
    work: int
    times: int
    signed: bool


def limit(model: ModelProto, composite: str, dims: Mapping[str, int]) -> float:
    """Return the fewest forward passes that an explanation can cost.

    Args:
        model: The source model.
        composite: A preset with parameters.
        dims: Sizes of the symbolic axes of the inputs.

    Raises:
        NoCountError: The table does not know a rule.
    """
    found = list(counts(model, composite, dims))
    forward = sum(item.work for item in found)
    return sum(item.work * item.times for item in found) / forward if forward else float("nan")


def counts(model: ModelProto, composite: str, dims: Mapping[str, int]) -> Iterator[Count]:
    """Yield what each product of the source graph costs; see `limit`."""
    planned = plan(fixed(model, dims), Request(composite=composite))
    reached = {planned.output.explained}
    for pair in reversed(list(planned.kinds.items())):
        yield from _site(planned, planned.tape, pair, reached, 1)
    on_path = {site.output for site in planned.kinds}
    for site in planned.view:
        if site.op in PRODUCTS and site.output not in on_path:
            yield Count(site.name, _work(site), 1, signed=True)


def fixed(model: ModelProto, dims: Mapping[str, int]) -> ModelProto:
    """Return the model with sizes in place of the symbolic axes of its inputs and outputs."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for info in (*copy.graph.input, *copy.graph.output):
        for dim in info.type.tensor_type.shape.dim:
            if dim.dim_param in dims:
                dim.dim_value = dims[dim.dim_param]
    return copy


def _site(
    planned: Plan, t: Tape, pair: tuple[Site, Kind], reached: set[Value], turns: int
) -> Iterator[Count]:
    """The products of one site, those of its bodies first; notes which values relevance reaches."""
    site, kind = pair
    rule = planned.assigned[site].rule
    crossed = not isinstance(kind, Stop) and any(value in reached for value in site.results)
    for inside in insides(kind):
        hot = set(inside.body.outputs) if crossed else set()
        inner = reversed(list(inside.kinds.items()))
        for each in inner:
            yield from _site(planned, inside.body.tape, each, hot, turns * _turns(kind))
    takers = _takers(kind, rule) if crossed else ()
    reached.update(takers)
    if site.op in PRODUCTS and multiply_adds(site.op, _shapes(site)):
        signed = not t.signs.nonnegative(kind.operands[0])
        times = _times(site, kind, rule, signed=signed) if crossed else 1
        yield Count(site.name, turns * _work(site), times, signed)


def _takers(kind: Kind, rule: AnyRule) -> tuple[Value, ...]:
    """The operands that take relevance."""
    if not isinstance(kind, Product) or isinstance(rule, Gradient):
        return kind.operands
    silent = kind.gates
    if isinstance(rule, Uniform) and rule.gates == "all" and kind.switch is not None:
        silent = tuple(gate or i == kind.switch for i, gate in enumerate(silent))
    takers = [x for x, gate in zip(kind.operands, silent, strict=True) if not gate]
    return tuple(takers[:1] if isinstance(rule, SignalOnly) else takers)


def _times(site: Site, kind: Kind, rule: AnyRule, *, signed: bool) -> int:
    if isinstance(kind, Product):
        return 1 + len(_takers(kind, rule))
    if isinstance(rule, Pass):
        return 1
    if isinstance(kind, LinearMap) and isinstance(rule, ONE_ADJOINT):
        return 2
    if isinstance(rule, ZBox):
        return 4 if rule.own else 3
    if isinstance(rule, AlphaBeta | Gamma):
        both = isinstance(rule, AlphaBeta) and (rule.beta != 0 or rule.follow)
        split = signed and rule.negative_input == "split"
        return (7 if split else 4) if both else (5 if split else 3)
    raise NoCountError(f"node '{site.name}' ({site.op}): no count for {type(rule).__name__}")


def _work(site: Site) -> int:
    return multiply_adds(site.op, _shapes(site))


def _shapes(site: Site) -> list[tuple[int, ...]]:
    """Shapes of x, w and y; what is not known counts once."""
    values = (site.required(0), site.required(1), site.output)
    return [tuple(d if isinstance(d, int) else 1 for d in v.shape or ()) for v in values]


def _turns(kind: Kind) -> int:
    """How many turns a loop takes, where that is known; else 1."""
    if not isinstance(kind, Repeat):
        return 1
    tracks = [track for track in (*kind.slices, *kind.stacks) if track.outer is not None]
    lengths = [
        track.outer.shape[track.axis] for track in tracks if track.outer and track.outer.shape
    ]
    return next((length for length in lengths if isinstance(length, int)), 1)
