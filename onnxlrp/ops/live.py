"""Walks forward once: which values depend on the explained inputs, and through which kinds."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import onnx

from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site, View
from onnxlrp.ops.kinds import Kind, Stop, Unsupported
from onnxlrp.ops.registry import describe

__all__ = ["kinds_of"]


def kinds_of(
    view: View, explained: Iterable[Value], stops: frozenset[str] = frozenset()
) -> dict[Site, Kind]:
    """Describe every site that depends on an explained input, in order.

    Args:
        view: The canonical view; its sites learn which of their inputs are live.
        explained: The explained inputs.
        stops: Names of sites where relevance ends because the user says so.
    """
    live = set(explained)
    kinds: dict[Site, Kind] = {}
    for site in view:
        flags = tuple(value in live for value in site.inputs)
        captured = [view.graph.values[n] for n in _captured(site) if n in view.graph.values]
        if not any(flags) and not live.intersection(captured):
            continue
        alive = replace(site, live=flags)
        view.replace(site, alive)
        kind = Stop(output=site.output) if site.name in stops else describe(alive)
        kinds[alive] = kind
        if isinstance(kind, Stop):
            continue
        outputs = (value for value in site.outputs if value is not None)
        live.update(v for v in outputs if v.is_float or isinstance(kind, Unsupported))
    return kinds


def _captured(site: Site) -> Iterator[str]:
    """Names that the bodies of a site read from outside."""
    for attribute in site.attributes.values():
        if isinstance(attribute, onnx.GraphProto):
            for node in attribute.node:
                yield from node.input
