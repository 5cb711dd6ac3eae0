"""Finds the token ids behind the indices that pick rows of a table."""

from dataclasses import replace

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site, View

__all__ = ["find_token_ids"]

ARITHMETIC = frozenset({
    "Abs", "Add", "And", "Cast", "Clip", "Equal", "Floor", "Greater", "GreaterOrEqual", "Identity",
    "Less", "LessOrEqual", "Max", "Min", "Mod", "Mul", "Not", "Or", "Round", "Sub", "Where",
})  # fmt: skip
"""Element by element."""

MOVES = frozenset({"Expand", "Flatten", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators behind which an id is an id still; they need no pattern."""


def find_token_ids(view: View, t: Tape) -> None:
    """Gather of a constant table at f(ids), OneHot of f(ids), f element by element  =>  of the ids.

    Written by Keras (negative indices are wrapped by a comparison and sums) and by models whose
    token ids are float32 and cast. Matches where f reads one value that is no constant, as large as
    the indices. Any other Cast of floating-point numbers to integers is a stop.
    """
    for site in list(view):
        index = _indices(site)
        source = None if index is None else view.producer(index)
        if index is None or source is None or source.op in MOVES:
            continue
        found = _source(view, index)
        if found is None:
            view.refuse(site, "its indices are no function of one value, element by element")
        elif found is not index:
            attributes = {"to": index.dtype, "token_ids": 1}
            ids = replace(
                source, op="Cast", inputs=(found,), attributes=attributes, note="token ids"
            )
            view.merge([source], ids)


def _indices(site: Site) -> Value | None:
    """The indices of a lookup in a constant table."""
    if site.op == "Gather" and not site.required(0).variable:
        return site.required(1)
    return site.required(0) if site.op == "OneHot" else None


def _source(view: View, index: Value) -> Value | None:
    """The one value of the same shape of which the indices are a function."""
    leaves: list[Value] = []
    queue = [index]
    for value in queue:
        site = view.producer(value)
        if site is None or site.op not in ARITHMETIC:
            leaves.append(value)
            continue
        queue += [v for v in site.sources if v.variable and v not in queue]
    return leaves[0] if len(leaves) == 1 and leaves[0].shape == index.shape else None
