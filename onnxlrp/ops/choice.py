"""Operators whose every output element is one element of one of several inputs."""

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Move, Relevance, Select, some
from onnxlrp.ops.registry import op


def _live(site: Site, first: int = 0) -> tuple[Value, ...]:
    pairs = zip(site.inputs[first:], site.live[first:], strict=True)
    return tuple(value for value, live in pairs if live and value is not None)


def _kept(t: Tape, site: Site, parts: list[Value], first: int = 0) -> Relevance:
    """The parts of the live inputs; what falls on the others is absorbed as bias."""
    for part, live in zip(parts, site.live[first:], strict=True):
        if not live:
            t.absorb("bias", lambda part=part: part)  # type: ignore[misc]
    return tuple(part for part, live in zip(parts, site.live[first:], strict=True) if live)


@op("Where")
def where(site: Site) -> Move:
    """Forward: y = a where the condition holds, else b; the condition is a stop.

    Adjoint: r to a where it holds, to b elsewhere.
    """
    condition = site.required(0)

    def adjoint(t: Tape, r: Relevance) -> Relevance:
        held = t.at(condition)
        parts = [t.op("Where", held, some(r), 0.0), t.op("Where", held, 0.0, some(r))]
        return _kept(t, site, parts, 1)

    return Move(operands=_live(site, 1), output=site.output, broadcasts=True, adjoint=adjoint)


@op("Max", "Min")
def extreme(site: Site) -> Select:
    """Forward: y = max_i x_i, or min. Adjoint: r to the first input that equals y."""

    def winner(t: Tape, r: Value) -> Relevance:
        rest, parts = r, []
        for value in site.inputs[:-1]:
            mine = t.op("Equal", t.at(value), t.at(site.output)) if value else None
            parts.append(t.op("Where", mine, rest, 0.0))
            rest = t.op("Where", mine, 0.0, rest)
        return _kept(t, site, [*parts, rest])

    return Select(operands=_live(site), output=site.output, broadcasts=True, winner=winner)
