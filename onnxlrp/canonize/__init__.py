"""Recognises exporter idioms as sites of one kind each."""

from collections.abc import Callable

from onnxlrp.canonize.activations import fold_activations
from onnxlrp.canonize.batchnorm import fold_batch_norm
from onnxlrp.canonize.bias import lower_live_bias, move_bias
from onnxlrp.canonize.gates import mark_gates
from onnxlrp.canonize.norms import fold_norms
from onnxlrp.canonize.tokens import find_token_ids
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import View

__all__ = ["CANONIZERS", "canonize"]

CANONIZERS: tuple[Callable[[View, Tape], None], ...] = (
    fold_activations,
    fold_norms,  # before the biases: its Add is no bias of a map
    lower_live_bias,
    move_bias,  # before batch normalisation: MatMul -> Add -> BatchNormalization is one map
    fold_batch_norm,
    find_token_ids,
    mark_gates,  # behind the activations: x Sigmoid(x) is no gate
)


def canonize(view: View, t: Tape, bn: str = "fold") -> None:
    """Run every canonizer, in bodies too; batch normalisation is folded only where `bn` says so."""
    for canonizer in CANONIZERS:
        if canonizer is not fold_batch_norm or bn == "fold":
            canonizer(view, t)
    for site in view:
        for body in site.bodies:
            canonize(body.view, body.tape, bn)
