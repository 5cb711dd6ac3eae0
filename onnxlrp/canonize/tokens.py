"""Finds floating-point inputs that are token ids."""

from dataclasses import replace

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import View

__all__ = ["mark_token_ids"]

ROUTES = frozenset({
    "Cast", "Concat", "Expand", "Flatten", "Identity", "Reshape", "Slice", "Squeeze", "Transpose",
    "Unsqueeze", "Where",
})  # fmt: skip
"""Operators behind which an id is an id still."""


def mark_token_ids(view: View, t: Tape) -> None:
    """Cast of a float to an integer that picks rows of a constant table  =>  `token_ids`.

    Written by Keras and hand-made PyTorch models whose token ids are float32. Relevance passes such
    a Cast; any other one from a float to an integer is a stop.
    """
    for site in view:
        if site.op == "Cast" and site.required(0).is_float and not site.output.is_float:
            if _picks_rows(view, site.output):
                view.merge([site], replace(site, attributes={**site.attributes, "token_ids": 1}))
            else:
                view.refuse(site, "its integers pick no rows of a constant table")


def _picks_rows(view: View, ids: Value) -> bool:
    queue = [ids]
    for value in queue:
        for site in view.readers(value):
            if site.op == "Gather" and site.input(1) is value and not site.required(0).variable:
                return True
            if site.op == "OneHot" and site.input(0) is value:
                return True
            if site.op in ROUTES:
                queue += [output for output in site.results if output not in queue]
    return False
