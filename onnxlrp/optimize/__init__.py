"""Makes the emitted graph smaller without changing its values."""

import logging
from collections.abc import Iterable

from onnxlrp.graph.graph import Graph, Value
from onnxlrp.optimize.dead import remove_dead

__all__ = ["optimize"]

log = logging.getLogger(__name__)


def optimize(graph: Graph, outputs: Iterable[Value]) -> None:
    """Run every pass."""
    log.info("dead nodes removed: %d", remove_dead(graph, outputs))
