"""Makes the emitted graph smaller and faster without changing its values."""

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from onnxlrp.errors import InputError
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.optimize.bias import absorb
from onnxlrp.optimize.dead import remove_dead
from onnxlrp.optimize.factor import cancel, collect, halve
from onnxlrp.optimize.fold import fold
from onnxlrp.optimize.moves import merge
from onnxlrp.optimize.recompute import recompute
from onnxlrp.optimize.scale import sink
from onnxlrp.optimize.signs import unbranch
from onnxlrp.optimize.sweep import Pass, run
from onnxlrp.optimize.tiles import untile

__all__ = ["ALL", "PASSES", "SUPPORT", "WEIGHTS", "Effort", "Pass", "optimize"]

log = logging.getLogger(__name__)

WEIGHTS = ("fold", "recompute")

SUPPORT = "support"
"""Not a pass: rules leave out what relevance that is zero behind a ReLU does not need."""

PASSES: tuple[Pass, ...] = (
    Pass("moves", "merges Transpose and Reshape that follow one another", merge),
    Pass("collect", "takes the common factor out of sums: x a + x b = x (a + b)", collect),
    Pass("halve", "writes the part of z c where z > 0 without Where", halve),
    Pass("cancel", "cancels R = z c against s = R / z, so that no sign is tested", cancel),
    Pass("scale", "moves constant factors of relevance into derived weights", sink),
    Pass("bias", "adds epsilon and biases inside of convolutions", absorb),
    Pass("unbranch", "writes signed stabilisers without Where", unbranch),
    Pass("targets", "computes once per sample what several targets share", untile),
    Pass("fold", "computes numbers and constant shapes", fold),
)
"""In this order: `cancel` reads products of `collect`; `unbranch` and `fold` hide what it reads."""


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Which optimisations are made.

    Attributes:
        without: Names of passes that are left out.
        weights: `fold`: derived weights are constants, which runtimes compute once and keep;
            `recompute`: they are computed in every run.
    """

    without: Collection[str] = ()
    weights: str = "fold"

    def __post_init__(self) -> None:
        known = [SUPPORT, *(item.name for item in PASSES)]
        for name in self.without:
            if name not in known:
                raise InputError(f"there is no optimisation '{name}'; there are {', '.join(known)}")
        if self.weights not in WEIGHTS:
            raise InputError(f"weights={self.weights!r} is not one of {', '.join(WEIGHTS)}")


ALL = Effort()


def optimize(t: Tape, outputs: Sequence[Value], effort: Effort = ALL) -> None:
    """Run the passes on what a tape emitted, and remove what none of the outputs needs."""
    before = len(t.graph.nodes)
    log.info("dead nodes removed: %d", remove_dead(t.graph, outputs))
    last = (recompute(t),) if effort.weights == "recompute" else ()
    for item in (*PASSES, *last):
        if item.name in effort.without:
            continue
        count = run(item, t, outputs)
        removed = remove_dead(t.graph, outputs)
        after = len(t.graph.nodes)
        log.info("%s: %d times, %d nodes dead, %d left", item.name, count, removed, after)
    log.info("optimised: %d nodes, %d before", len(t.graph.nodes), before)
