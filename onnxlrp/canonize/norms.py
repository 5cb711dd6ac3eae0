"""Recognises normalisations that exporters write as several operators."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site, View

__all__ = ["fold_norms"]

COPIES = frozenset({"Cast", "Dropout", "Identity"})
"""Operators that may stand between the parts."""


def fold_norms(view: View, t: Tape) -> None:
    """(x - mean) / Sqrt(mean square + eps) * gamma + beta  =>  LayerNormalization;
    x / Sqrt(mean square + eps) * gamma  =>  RMSNormalization; over any axes.

    Written by PyTorch, TensorFlow and Keras exporters; also as x k + (beta - mean k) with
    k = gamma / Sqrt(...). Matches where gamma and beta are constant and no value in between is read
    by others or is an output.
    """  # noqa: D205
    for site in view:
        if site.op in {"Sqrt", "Pow"}:
            reason = _fold(view, t, site)
            if reason:
                view.refuse(site, reason)


@dataclass(frozen=True)
class _Root:
    """The part below the fraction bar.

    Attributes:
        x: What is normalised.
        axes: Over which axes.
        epsilon: Added to the variance.
        centre: x - mean, or x itself.
        mean: The mean; None where it is not taken off.
        inverse: 1 / sigma where it is computed by itself.
        sigma: sigma where it is not.
        sites: All sites of it.
    """

    x: Value
    axes: list[int]
    epsilon: float
    centre: Value
    mean: Value | None
    inverse: Value | None
    sigma: Value | None
    sites: tuple[Site, ...]


def _fold(view: View, t: Tape, site: Site) -> str:
    root = _root(view, site)
    if isinstance(root, str):
        return root
    tail = _quotient(view, root) or _affine(view, root)
    if tail is None:
        return "its result does not divide what it is computed from"
    sites, gamma, beta = tail
    every = list(dict.fromkeys((*root.sites, *sites)))
    last = view.ordered(every)[-1]
    inside = {value for item in every if item is not last for value in item.results}
    if any(reader not in every for value in inside for reader in view.readers(value)):
        return "a value in between is read by another node"
    if inside & set(view.outputs):
        return "a value in between is an output"
    merged = replace(
        last,
        op="RMSNormalization" if root.mean is None else "LayerNormalization",
        inputs=(root.x, gamma or t.constant(np.ones(1, dtype=np.float32)), beta)[: 2 + bool(beta)],
        attributes={"axes": root.axes, "epsilon": root.epsilon},
        nodes=tuple(dict.fromkeys(node for item in view.ordered(every) for node in item.nodes)),
        note="normalisation pattern",
    )
    view.merge(every, merged)
    return ""


def _root(view: View, site: Site) -> _Root | str:
    power = _number(site.input(1)) if site.op == "Pow" else 0.5
    if power not in {0.5, -0.5}:
        return "not a square root"
    add = _before(view, site.required(0))
    epsilon = _term(add, "Add") if add is not None else None
    if add is None or epsilon is None:
        return "no Add of a constant before it"
    average = _before(view, epsilon[0])
    axes = None if average is None else _axes(average)
    square = None if average is None else _before(view, average.required(0))
    centre = None if square is None else _squared(square)
    if average is None or square is None or axes is None or centre is None:
        return "no mean of squares before it"
    sites = [site, add, average, square]
    x, mean = centre, None
    off = _before(view, centre)
    if off is not None and off.op == "Sub" and _is_mean(view, off, axes):
        x, mean = off.required(0), off.required(1)
        sites += [off, *(item for item in [view.producer(mean)] if item is not None)]
    sigma: Value | None = site.output
    inverse = site.output if power == -0.5 else None
    reader = view.only_reader(site.output)
    if inverse is None and reader is not None and _is_reciprocal(reader):
        inverse = reader.output
        sites.append(reader)
    sigma = None if inverse is not None else sigma
    return _Root(x, axes, epsilon[1], centre, mean, inverse, sigma, tuple(sites))


def _before(view: View, value: Value) -> Site | None:
    """The site that computes a value, seen through copies."""
    site = view.producer(value)
    while site is not None and site.op in COPIES:
        site = view.producer(site.required(0))
    return site


def _number(value: Value | None) -> float | None:
    if value is None or value.size != 1 or value.constant is None:
        return None
    return float(np.asarray(value.constant, dtype=np.float64).reshape(()))


def _term(site: Site, op: str) -> tuple[Value, float] | None:
    """The variable and the constant part of a sum or product with a number."""
    if site.op != op:
        return None
    for value, other in (site.inputs[:2], site.inputs[1::-1]):
        number = _number(other)
        if value is not None and value.variable and number is not None:
            return value, number
    return None


def _axes(site: Site) -> list[int] | None:
    given, rank = site.input(1), site.required(0).rank
    if site.op != "ReduceMean" or not site.integer("keepdims", 1) or rank is None:
        return None
    if given is None or given.constant is None:
        return None
    return sorted(int(axis) % rank for axis in given.constant.reshape(-1))


def _squared(site: Site) -> Value | None:
    if site.op == "Mul" and site.inputs[0] is site.inputs[1]:
        return site.inputs[0]
    return site.inputs[0] if site.op == "Pow" and _number(site.input(1)) == 2 else None


def _is_mean(view: View, off: Site, axes: list[int]) -> bool:
    mean = view.producer(off.required(1))
    return mean is not None and _axes(mean) == axes and mean.input(0) is off.input(0)


def _is_reciprocal(site: Site) -> bool:
    return site.op == "Reciprocal" or (site.op == "Div" and _number(site.input(0)) == 1)


Tail = tuple[Sequence[Site], Value | None, Value | None]
"""The sites behind the root, gamma and beta."""


def _quotient(view: View, root: _Root) -> Tail | None:
    """Centre / sigma, then a product with gamma and a sum with beta where they are constant."""
    below = root.inverse or root.sigma
    assert below is not None
    site = view.only_reader(below)
    if site is None or site.op != ("Mul" if root.inverse else "Div"):
        return None
    other = site.input(0) if site.input(0) is not below else site.input(1)
    if not _same(view, other, root.centre) or (site.op == "Div" and site.input(1) is not below):
        return None
    sites = [site]
    gamma = _extend(view, sites, "Mul", root)
    beta = _extend(view, sites, "Add", root) if root.mean is not None else None
    return sites, gamma, beta


def _same(view: View, value: Value | None, wanted: Value) -> bool:
    while value is not None and value is not wanted:
        site = view.producer(value)
        value = site.input(0) if site is not None and site.op in COPIES else None
    return value is wanted


def _extend(view: View, sites: list[Site], op: str, root: _Root) -> Value | None:
    """The constant of the Mul or Add that alone reads the last site; the site joins the others."""
    reader = view.only_reader(sites[-1].output)
    copies = []
    while reader is not None and reader.op in COPIES:
        copies.append(reader)
        reader = view.only_reader(reader.output)
    if reader is None or reader.op != op:
        return None
    constants = [value for value in reader.sources if not value.variable]
    if len(constants) != 1 or reader.output.rank != root.x.rank:
        return None
    sites += [*copies, reader]
    return constants[0]


def _affine(view: View, root: _Root) -> Tail | None:
    """X k + (beta - mean k), k = gamma / sigma."""
    if root.inverse is None or root.mean is None:
        return None
    sites: list[Site] = []
    factor, gamma = root.inverse, None
    first = view.only_reader(factor)
    if first is not None and first.op == "Mul":
        gamma = next((value for value in first.sources if not value.variable), None)
        factor = first.output
        sites.append(first)
    products = {other: site for site in view.readers(factor) if (other := _partner(site, factor))}
    if set(products) != {root.x, root.mean}:
        return None
    shift = view.only_reader(products[root.mean].output)
    last = view.only_reader(products[root.x].output)
    if shift is None or shift.op != "Sub" or last is None or last.op != "Add":
        return None
    beta = shift.required(0)
    if beta.variable or shift.output not in last.inputs:
        return None
    return [*sites, *products.values(), shift, last], gamma, beta


def _partner(site: Site, factor: Value) -> Value | None:
    others = [value for value in site.sources if value is not factor]
    return others[0] if site.op == "Mul" and len(others) == 1 else None
