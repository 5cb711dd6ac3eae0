"""Walks the view backwards once and finds the relevance of every value that it passes."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from onnx import TensorProto

from onnxlrp.errors import RuleError, UnsupportedOp
from onnxlrp.graph.graph import Dim, Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ledger import Ledger
from onnxlrp.ops.kinds import Branch, Kind, Move, Repeat, Stop, Unsupported
from onnxlrp.rules import AnyRule, Gradient, Moved, WinnerTakesAll
from onnxlrp.turns import Walk, across

__all__ = ["Filter", "propagate"]

Filter = Callable[[Tape, Value], Value]
"""Changes the relevance of one value as the walk passes it: a mask, a selection."""


def propagate(
    t: Tape,
    kinds: Mapping[Site, Kind],
    rules: Mapping[Site, AnyRule],
    seeds: Mapping[Value, Value],
    filters: Mapping[Value, Filter] | None = None,
    ledger: Ledger | None = None,
) -> dict[Value, Value]:
    """Propagate relevance from the seeds to every value before them.

    Args:
        t: The tape.
        kinds: The live sites in forward order.
        rules: The rule of each site.
        seeds: Relevance `[T*N, ...]` at the values where it starts.
        filters: What changes the relevance of a value once all of it has arrived.
        ledger: Receives one row per site.

    Returns:
        The relevance of every value that was passed.

    Raises:
        UnsupportedOp: Relevance would have to cross a site without a kind.
    """
    arriving = defaultdict(list, {value: [seed] for value, seed in seeds.items()})
    settled: dict[Value, Value] = {}

    def settle(value: Value | None) -> Value | None:
        """All relevance of a value, now that its consumers are done."""
        if value is None or value not in arriving:
            return None
        if value not in settled:
            total = t.total(arriving[value])
            settled[value] = filters[value](t, total) if filters and value in filters else total
        return settled[value]

    for site, kind in reversed(list(kinds.items())):
        t.scope = site.name
        r = tuple(settle(value) for value in site.outputs)
        if all(part is None for part in r) or isinstance(kind, Stop):
            continue
        if isinstance(kind, Unsupported):
            raise UnsupportedOp(kind.reason)
        _check_values(t, site, kind, r)
        walk = partial(_inside, rules)
        step = partial(_step, t, kind, rules.get(site), r, walk)
        shares = step() if ledger is None else _booked(t, site, r, step, ledger)
        keeps = _keeps_support(t, site, rules.get(site), r)
        for operand, share in _fitted(t, kind, shares):
            arriving[operand].append(share)
            if keeps:
                t.support.state(share, operand)
    for value in list(arriving):
        t.scope = t.home
        settle(value)
    return settled


def _inside(
    rules: Mapping[Site, AnyRule],
    t: Tape,
    kinds: Mapping[Site, Kind],
    seeds: Mapping[Value, Value],
    ledger: Ledger | None,
) -> dict[Value, Value]:
    """The walk through a body."""
    return propagate(t, kinds, rules, seeds, None, ledger)


def _step(
    t: Tape, kind: Kind, rule: AnyRule | None, r: tuple[Value | None, ...], walk: Walk
) -> tuple[Value | None, ...]:
    """The relevance of the operands of one site."""
    if isinstance(kind, Repeat | Branch):
        return across(t, kind, r, walk)
    assert rule is not None
    return rule.propagate(t, kind, r)


def _booked(
    t: Tape,
    site: Site,
    r: tuple[Value | None, ...],
    step: Callable[[], tuple[Value | None, ...]],
    ledger: Ledger,
) -> tuple[Value | None, ...]:
    """One step with its row in the ledger."""
    with ledger.row(t, site.name) as entry:
        shares = step()
    entry.flows([part for part in r if part], [part for part in shares if part])
    return shares


def _fitted(t: Tape, kind: Kind, shares: tuple[Value | None, ...]) -> Iterator[tuple[Value, Value]]:
    """Each operand that gets relevance, and that relevance in its shape."""
    for operand, share in zip(kind.operands, shares, strict=True):
        if share is not None:
            fitted = unbroadcast(t, share, kind.output, operand) if kind.broadcasts else share
            yield operand, fitted


COPIES = frozenset({
    "Concat", "DepthToSpace", "Dropout", "Expand", "Flatten", "Gather", "GlobalMaxPool", "Identity",
    "MaxPool", "Pad", "Reshape", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose",
    "Unsqueeze",
})  # fmt: skip
"""Operators each of whose outputs is one of the inputs, or a constant."""


def _keeps_support(t: Tape, site: Site, rule: AnyRule | None, r: tuple[Value | None, ...]) -> bool:
    """Whether relevance that is 0 where an output is goes to inputs that are not 0."""
    return (
        site.op in COPIES
        and isinstance(rule, Gradient | Moved | WinnerTakesAll)
        and all(
            part is None or value is None or t.support.vanishes(part, value)
            for part, value in zip(r, site.outputs, strict=True)
        )
    )


MANY = (Branch, Move, Repeat)
"""Kinds that take relevance at every output; the others only at the first."""


def _check_values(t: Tape, site: Site, kind: Kind, r: tuple[Value | None, ...]) -> None:
    if not isinstance(kind, MANY) and (r[0] is None or any(part is not None for part in r[1:])):
        raise UnsupportedOp(
            f"node '{site.name}' ({site.op}, opset {site.opset}): relevance arrives at an output "
            f"behind its first one; stop it there with --stop {site.name}"
        )
    for value in (*kind.operands, kind.output):
        if t.targets > 1:
            t.require_batch(value)
        if value.is_float and value.dtype != TensorProto.FLOAT and site.op != "Cast":
            raise UnsupportedOp(
                f"node '{site.name}' ({site.op}, opset {site.opset}): '{value.name}' is not float32"
            )


def unbroadcast(t: Tape, r: Value, wide: Value, narrow: Value) -> Value:
    """Sum relevance in the shape of `wide` down to the shape of `narrow`."""
    if wide.shape is None or narrow.shape is None:
        raise RuleError(f"the ranks of '{wide.name}' and '{narrow.name}' must be known")
    lead = len(wide.shape) - len(narrow.shape)
    pairs = list(zip(wide.shape[lead:], narrow.shape, strict=True))
    if lead:
        r = t.op("ReduceSum", r, list(range(lead)), keepdims=0)
    ones = [i for i, (out, own) in enumerate(pairs) if own == 1 and out != 1]
    if ones:
        r = t.op("ReduceSum", r, ones, keepdims=1)
    first = int(t.targets > 1)
    if not any(_may_differ(out, own) for out, own in pairs[first:]):
        return r
    size = t.op("Shape", narrow, start=first)
    axes = t.op("Reshape", t.op("NonZero", t.op("Equal", size, [1])), [-1])
    axes = t.op("Add", axes, [first]) if first else axes
    return t.op("ReduceSum", r, axes, keepdims=1, noop_with_empty_axes=1)


def _may_differ(out: Dim, own: Dim) -> bool:
    """Whether a symbolic axis may have been broadcast."""
    return not isinstance(own, int) and (own is None or own != out)
