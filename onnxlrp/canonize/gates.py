"""Finds the factors of products that only switch the other factor: sigmoids, softmax weights."""

from dataclasses import replace

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site, View

__all__ = ["mark_gates"]

SWITCHES = frozenset({"HardSigmoid", "Sigmoid", "Softmax"})
"""Functions with values in [0, 1]."""

MOVES = frozenset({
    "Cast", "Concat", "Dropout", "Expand", "Gather", "Identity", "Reshape", "Slice", "Split",
    "Squeeze", "Tile", "Transpose", "Unsqueeze",
})  # fmt: skip
"""Operators behind which a switch is a switch still."""


def mark_gates(view: View, t: Tape) -> None:
    """Mul | MatMul of two live values, one of them a switch  =>  the same, attribute `switch`.

    Written for recurrent cells, squeeze-and-excitation, gated units and attention by all exporters.
    Matches where exactly one factor comes from a sigmoid or a softmax, through moves, masks and
    `1 - x`.
    """
    for site in view:
        if site.op not in {"MatMul", "Mul"} or not all(v.variable for v in site.sources):
            continue
        found = [_is_switch(view, value) for value in site.inputs[:2]]
        if found.count(True) == 1:
            marked = {**site.attributes, "switch": found.index(True)}
            view.merge([site], replace(site, attributes=marked))
        else:
            view.refuse(site, "no factor, or both, come from a sigmoid or softmax")


def _is_switch(view: View, value: Value | None) -> bool:
    """Whether all that a value is made of are switches and constants, at least one a switch."""
    queue = [value]
    for item in queue:
        site = None if item is None else view.producer(item)
        if site is None:
            return False
        if site.op in SWITCHES:
            continue
        parts = _parts(site)
        if not parts:
            return False
        queue += [part for part in parts if part not in queue]
    return True


def _parts(site: Site) -> list[Value]:
    """What the values of a site are taken from; nothing where it is more than a move or `1 - x`."""
    if site.op in MOVES:
        taken = site.inputs if site.op == "Concat" else site.inputs[:1]
    elif (site.op == "Sub" and _is_one(site.required(0))) or site.op == "Where":
        taken = site.inputs[1:]
    else:
        taken = ()
    return [value for value in taken if value is not None and value.variable]


def _is_one(value: Value) -> bool:
    return value.size == 1 and value.constant is not None and value.constant.reshape(-1)[0] == 1
