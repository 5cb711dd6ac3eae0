"""Walks forward once: which values depend on the explained inputs, and through which kinds."""

from collections.abc import Iterable
from dataclasses import replace

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site, View
from onnxlrp.ops.bodies import BODIED, describe_bodies
from onnxlrp.ops.kinds import Kind, Move, Stop, Unsupported
from onnxlrp.ops.registry import describe, unsupported

__all__ = ["kinds_of"]


def kinds_of(
    view: View, explained: Iterable[Value], stops: frozenset[str] = frozenset()
) -> dict[Site, Kind]:
    """Describe every site that depends on an explained input, in order.

    Args:
        view: The canonical view.
        explained: The explained inputs.
        stops: Names of sites where relevance ends because the user says so.
    """
    return _walk(view, explained, stops)[0]


def _walk(
    view: View, explained: Iterable[Value], stops: frozenset[str]
) -> tuple[dict[Site, Kind], set[Value]]:
    """The kinds, by sites that know which of their inputs are live, and all live values."""
    live = set(explained)
    kinds: dict[Site, Kind] = {}
    for site in view:
        if live.isdisjoint(site.sources):
            continue
        alive = replace(site, live=tuple(value in live for value in site.inputs))
        kind, outputs = _described(alive, live, stops)
        kinds[alive] = kind
        live.update(outputs)
    return kinds, live


def _described(
    site: Site, live: set[Value], stops: frozenset[str]
) -> tuple[Kind, tuple[Value, ...]]:
    """The kind of a site and its live outputs."""
    if site.name in stops or all(value.size == 0 for value in site.results):
        return Stop(output=site.output), ()
    if site.op in BODIED and site.bodies:
        try:
            return describe_bodies(site, live, lambda view, given: _walk(view, given, stops))
        except UnsupportedOp as error:
            kind: Kind = unsupported(site, str(error))
    else:
        kind = describe(site)
    if isinstance(kind, Stop):
        return kind, ()
    floats = any(value.is_float for value in kind.operands) and not site.integer("token_ids")
    every = isinstance(kind, Unsupported) or (isinstance(kind, Move) and not floats)
    return kind, tuple(v for v in site.results if every or v.is_float or not v.dtype)
