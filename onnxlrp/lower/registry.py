"""Where operators are lowered: one function per operator says which simpler ones it stands for."""

from collections.abc import Callable

from onnxlrp.graph.view import Site
from onnxlrp.lower.sketch import Seen, Sketch

__all__ = ["LOWERINGS", "lower"]

Lowering = Callable[[Sketch, Site], tuple[Seen, ...] | None]
"""Emits the simpler operators and returns what the outputs of the site are, in order.

None: the operator stays as it is.
"""

LOWERINGS: dict[str, Lowering] = {}
"""Operator type -> its lowering."""


def lower(*names: str) -> Callable[[Lowering], Lowering]:
    """Declare a lowering; a second declaration for the same operator is an error."""

    def register(function: Lowering) -> Lowering:
        for name in names:
            if name in LOWERINGS:
                raise ValueError(f"operator '{name}' is lowered twice")
            LOWERINGS[name] = function
        return function

    return register
