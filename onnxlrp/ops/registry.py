"""Where operators are declared: one function per operator, its return value is the kind."""

from collections.abc import Callable

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, Unsupported

__all__ = ["OPS", "describe", "op", "unsupported"]

Describe = Callable[[Site], Kind]

OPS: dict[str, Describe] = {}
"""Operator type -> function that says what kind of map a site is."""


def op(*names: str) -> Callable[[Describe], Describe]:
    """Declare an operator; a second declaration of the same one is an error."""

    def register(function: Describe) -> Describe:
        for name in names:
            if name in OPS:
                raise ValueError(f"operator '{name}' is declared twice")
            OPS[name] = function
        return function

    return register


def describe(site: Site) -> Kind:
    """Say what kind of map a site is; a reason where nothing describes it."""
    if site.op not in OPS:
        return unsupported(site, site.note or "carries relevance but has no kind")
    try:
        return OPS[site.op](site)
    except UnsupportedOp as error:
        return unsupported(site, str(error))


def unsupported(site: Site, reason: str) -> Unsupported:
    """The kind of a site that relevance must not reach."""
    flags = (*site.live, *[True] * len(site.captured))
    values = (*site.inputs, *site.captured)
    return Unsupported(
        operands=tuple(v for v, live in zip(values, flags, strict=False) if live and v is not None),
        output=site.output,
        reason=(
            f"node '{site.name}' ({site.op}, opset {site.opset}): {reason}; "
            f"replace it before export or stop relevance there with --stop {site.name}"
        ),
    )
