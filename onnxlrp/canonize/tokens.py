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

COUNTS = frozenset({"ArgMax", "ArgMin", "CumSum", "NonZero", "Range", "Shape", "Size", "TopK"})
"""Operators whose integers are positions or sizes."""


def find_token_ids(view: View, t: Tape) -> None:
    """Gather of a constant table at f(ids), OneHot of f(ids), f element by element  =>  of the ids.

    Written by Keras (negative indices are wrapped by a comparison and sums) and by models whose
    token ids are float32 and cast. Matches where f reads one value that is no constant and no
    position, as large as the indices. Any other Cast of floating-point numbers to integers is a
    stop.
    """
    for site in list(view):
        index = _indices(site)
        while index is not None:
            index = _moved(view, index)
            found = _find(view, index)
            if isinstance(found, str):
                view.refuse(site, found)
            index = found if isinstance(found, Value) else None


def _moved(view: View, index: Value) -> Value:
    """What an index is before moves."""
    source = view.producer(index)
    while source is not None and source.op in MOVES:
        index = source.required(0)
        source = view.producer(index)
    return index


def _find(view: View, index: Value) -> Value | str | None:
    """Let indices be those of the ids that they are a function of; the ids, or why not."""
    source, found = view.producer(index), _source(view, index)
    if found is None:
        return "its indices are no function of one value, element by element"
    if found is index or source is None:
        return None
    made = view.producer(found)
    if made is not None and made.op in COUNTS:
        return f"its indices are positions: they come from {made.op}"
    attributes = {"to": index.dtype, "token_ids": 1}
    ids = replace(source, op="Cast", inputs=(found,), attributes=attributes, note="token ids")
    view.merge([source], ids)
    return found


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
