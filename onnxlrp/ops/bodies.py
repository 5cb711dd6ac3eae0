"""Kinds of the operators that have bodies: which values inside depend on an explained input."""

from collections.abc import Callable, Iterable, Mapping, Sequence

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Body, Site, View
from onnxlrp.ops.kinds import Branch, Inside, Kind, Repeat, Track

__all__ = ["BODIED", "LOOPED", "describe_bodies", "insides", "nested", "tracks", "turns_first"]

BODIED = frozenset({"If", "Loop", "Scan"})
"""Operators with bodies."""

LOOPED = "a Loop that reads one entry of a sequence per turn"
"""Note of a Scan that the model has as a Loop."""

Walk = Callable[[View, Iterable[Value]], tuple[dict[Site, Kind], set[Value]]]
"""The forward walk: the kinds of a view, and all its live values."""


def describe_bodies(site: Site, live: set[Value], walk: Walk) -> tuple[Kind, tuple[Value, ...]]:
    """The kind of an If, Loop or Scan, and its live outputs.

    Args:
        site: The site.
        live: The live values outside.
        walk: Walks a view forward.

    Raises:
        UnsupportedOp: Relevance cannot be carried through its turns.
    """
    captured = tuple(value for value in site.captured if value in live)
    if site.op == "If":
        return _branch(site, captured, walk)
    return _repeat(site, live, captured, walk)


def _branch(site: Site, captured: tuple[Value, ...], walk: Walk) -> tuple[Kind, tuple[Value, ...]]:
    walked = [walk(body.view, captured) for body in site.bodies]
    first, second = (
        Inside(body, kinds) for body, (kinds, _) in zip(site.bodies, walked, strict=True)
    )
    flags = [
        any(
            body.outputs[index] in live for body, (_, live) in zip(site.bodies, walked, strict=True)
        )
        for index in range(len(site.outputs))
    ]
    outputs = _flowing(site.outputs, flags)
    captured = _passed(captured, first.kinds, second.kinds)
    kind = Branch(operands=captured, output=site.output, site=site, insides=(first, second))
    return kind, outputs


def _passed(captured: tuple[Value, ...], *kinds: Mapping[Site, Kind]) -> tuple[Value, ...]:
    """Those of the captured values that relevance can reach inside."""
    reached = {value for each in kinds for kind in each.values() for value in kind.operands}
    return tuple(value for value in captured if value in reached)


def _flowing(values: Sequence[Value | None], flags: Sequence[bool]) -> tuple[Value, ...]:
    return tuple(v for v, flag in zip(values, flags, strict=True) if v is not None and flag)


def _repeat(
    site: Site, live: set[Value], captured: tuple[Value, ...], walk: Walk
) -> tuple[Kind, tuple[Value, ...]]:
    (body,) = site.bodies
    states, slices, stacks = tracks(site, body)
    hot = [track for track in slices if track.outer in live and track.inner.is_float]
    alive = {track for track in states if track.outer in live and track.inner.is_float}
    while True:
        given = [*captured, *(track.inner for track in (*alive, *hot))]
        kinds, inside = walk(body.view, given)
        reached = {track for track in states if track.result in inside and track.inner.is_float}
        if reached <= alive:
            break
        alive |= reached
    captured = _passed(captured, kinds)
    carried = tuple(track for track in states if track in alive)
    _check_states(site, carried)
    kept = tuple(track for track in stacks if track.inner in inside)
    kind = Repeat(
        operands=_operands(live, carried, hot, captured),
        output=site.output,
        site=site,
        inside=Inside(body, kinds),
        states=carried,
        slices=tuple(hot),
        stacks=kept,
        captured=captured,
    )
    finals = [track.final for track in carried]
    return kind, tuple(v for v in (*finals, *(track.outer for track in kept)) if v is not None)


def _operands(
    live: set[Value],
    carried: Sequence[Track],
    slices: Sequence[Track],
    captured: tuple[Value, ...],
) -> tuple[Value, ...]:
    first = [track.outer for track in carried if track.outer in live]
    return tuple(
        v for v in (*first, *(track.outer for track in slices), *captured) if v is not None
    )


def _check_states(site: Site, states: Iterable[Track]) -> None:
    for track in states:
        outer, result = track.outer, track.result
        if outer is None or result is None or track.inner.shape is None:
            raise UnsupportedOp("the rank of a carried value is not known")


def tracks(site: Site, body: Body) -> tuple[list[Track], list[Track], list[Track]]:
    """Carried, sliced and stacked values of a Loop or Scan."""
    lead = 2 if site.op == "Loop" else 0
    sliced = site.integer("num_scan_inputs") if site.op == "Scan" else 0
    count = len(site.inputs) - lead - sliced
    results = body.outputs[lead // 2 :]
    states = [
        Track(site.inputs[lead + i], body.inputs[lead + i], results[i], site.outputs[i])
        for i in range(count)
    ]
    slices = _along(site, "input", site.inputs[lead + count :], body.inputs[lead + count :])
    return states, slices, _along(site, "output", site.outputs[count:], results[count:])


def _along(
    site: Site, side: str, outers: Sequence[Value | None], inners: Sequence[Value]
) -> list[Track]:
    axes = site.integers(f"scan_{side}_axes", [0] * len(outers))
    backwards = site.integers(f"scan_{side}_directions", [0] * len(outers))
    return [
        Track(outer, inner, axis=axis, backwards=bool(back))
        for outer, inner, axis, back in zip(outers, inners, axes, backwards, strict=True)
    ]


def nested(kinds: Mapping[Site, Kind]) -> dict[Site, Kind]:
    """All sites with those inside of bodies, each body before the site that holds it."""
    found: dict[Site, Kind] = {}
    for site, kind in kinds.items():
        for inside in insides(kind):
            found |= nested(inside.kinds)
        found[site] = kind
    return found


def insides(kind: Kind) -> tuple[Inside, ...]:
    """The live bodies of a kind."""
    if isinstance(kind, Branch):
        return kind.insides
    return (kind.inside,) if isinstance(kind, Repeat) else ()


def turns_first(kind: Kind) -> bool:
    """Whether a kind has values with its turns on axis 0, where others have the batch."""
    return isinstance(kind, Repeat) and any(v.axis == 0 for v in (*kind.slices, *kind.stacks))
