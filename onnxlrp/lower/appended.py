"""Sequences to which each turn of a Loop adds one value: what the turns give, stacked."""

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from onnxlrp.lower.sketch import Seen, Stack

__all__ = ["Appended", "appended"]


@dataclass(frozen=True)
class Appended:
    """A Loop without the sequences that it carries.

    Attributes:
        proto: Its body, in which the values that were added are scan outputs behind the others.
        kept: Which states are left.
        moved: Which states are sequences.
    """

    proto: onnx.GraphProto
    kept: tuple[int, ...]
    moved: tuple[int, ...]

    def states(self, states: Sequence[Seen]) -> list[Seen]:
        """The states that are left."""
        return [states[index] for index in self.kept]

    def results(self, count: int, found: Sequence[Seen]) -> tuple[Seen, ...]:
        """The outputs of the Loop, given those of the one without sequences."""
        stacks = found[len(found) - len(self.moved) :]
        by_place: dict[int, Seen] = dict(zip(self.kept, found, strict=False))
        for index, value in zip(self.moved, stacks, strict=True):
            by_place[index] = None if value is None or isinstance(value, list) else Stack(value)  # type: ignore[arg-type]
        total = len(self.kept) + len(self.moved)
        rest = found[len(self.kept) : len(found) - len(self.moved)]
        return (*(by_place[index] for index in range(total)), *rest)[:count]


def appended(proto: onnx.GraphProto, states: Sequence[Seen]) -> Appended | None:
    """SequenceInsert(state, value) once per turn  =>  a scan output.

    Matches where every sequence is empty at first, grows at its end and is not read otherwise.
    """
    moved = tuple(i for i, state in enumerate(states) if isinstance(state, list))
    body = onnx.GraphProto()
    body.CopyFrom(proto)
    added: list[str] = []
    for index in moved:
        name, result = body.input[2 + index].name, body.output[1 + index].name
        node = next((n for n in body.node if result in n.output), None)
        readers = [n for n in body.node if name in n.input]
        if states[index] or node is None or node.op_type != "SequenceInsert":
            return None
        if list(node.input[:1]) != [name] or len(node.input) != 2 or len(readers) != 1:
            return None
        added.append(node.input[1])
        body.node.remove(node)
    for index in reversed(moved):
        del body.input[2 + index]
        del body.output[1 + index]
    for place, name in enumerate(added):
        fresh = f"{name}/appended_{place}"
        body.node.append(onnx.helper.make_node("Identity", [name], [fresh], name=fresh))
        body.output.append(onnx.ValueInfoProto(name=fresh))
    kept = tuple(i for i in range(len(states)) if i not in moved)
    return Appended(body, kept, moved)
