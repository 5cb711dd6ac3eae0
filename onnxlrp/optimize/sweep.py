"""One sweep over the emitted nodes, in which each may give way to an equal, cheaper expression."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from onnx import GraphProto

from onnxlrp.graph.graph import Node, Value
from onnxlrp.graph.tape import Tape
from onnxlrp.metadata import SCOPE

__all__ = ["Pass", "Sweep", "run"]


POINTWISE = frozenset({"Add", "Max", "Min", "Mul", "Neg", "Sub"})


class Sweep:
    """What a pass sees: the nodes so far, already rewritten.

    Attributes:
        t: Emits what takes the place of a node.
    """

    def __init__(self, t: Tape, readers: Counter[Value]) -> None:
        self.t = t
        self._readers = readers

    def producer(self, value: Value, *ops: str) -> Node | None:
        """The node that computes a value, where it is an operator of one of the given types."""
        node = self.t.graph.producer(value)
        return node if node is not None and not node.domain and node.op in ops else None

    def own(self, value: Value, *ops: str) -> Node | None:
        """As `producer`, where the value was emitted and only the node at hand reads it."""
        node = self.producer(value, *ops)
        return None if node is None or node.deployed or self._readers[value] > 1 else node

    def per_channel(self, value: Value) -> bool:
        """Whether a constant is a number, or `[C, 1, ...]` made of a vector."""
        if value.variable or value.shape == ():
            return not value.variable
        node = self.t.graph.producer(value)
        if node is None or node.deployed:
            return False
        if node.op in POINTWISE:
            return all(self.per_channel(source) for source in node.sources)
        if node.op != "Reshape" or node.inputs[1] is None or node.inputs[1].constant is None:
            return False
        first, *rest = node.inputs[1].constant.tolist()
        return first == -1 and bool(rest) and set(rest) == {1}

    def stands_for(self, new: Value, old: Value) -> None:
        """What read the old value reads the new one."""
        self._readers[new] += self._readers[old]


@dataclass(frozen=True)
class Pass:
    """A rewriting of emitted nodes that keeps every value.

    Attributes:
        name: How it is switched off.
        sentence: What it does.
        rewrite: Gives the value that takes the place of the first output of a node, or None.
    """

    name: str
    sentence: str
    rewrite: Callable[[Sweep, Node], Value | None]


def run(item: Pass, t: Tape, outputs: Iterable[Value]) -> int:
    """Rewrite all emitted nodes of a graph but the outputs; return the number of rewritings."""
    graph = t.graph
    emitted = [node for node in graph.nodes if not node.deployed]
    fixed = _fixed(emitted, outputs)
    readers = Counter(value for node in emitted for value in node.sources)
    for node in reversed(emitted):
        graph.remove(node)
    fresh = Tape(graph, t.targets)
    fresh.constants = t.constants
    fresh.avoid(node.name for node in emitted)
    sweep = Sweep(fresh, readers)
    placed: dict[Value, Value] = {}
    count = 0
    for old in emitted:
        node = replace(old, inputs=tuple(v and placed.get(v, v) for v in old.inputs))
        sweep.t.scope = _scope(node)
        free = fixed.isdisjoint(node.results)
        found = item.rewrite(sweep, node) if free else None
        if found is not None:
            placed[next(old.results)] = found
            sweep.stands_for(found, next(old.results))
            count += 1
        elif free:
            pairs = zip(old.outputs, sweep.t.place(node), strict=True)
            placed |= {a: b for a, b in pairs if a is not None and b is not None and a is not b}
        else:
            graph.add(node)
    return count


def _fixed(emitted: Iterable[Node], outputs: Iterable[Value]) -> set[Value]:
    """Values that others know by name: outputs, what bodies read, several outputs at once."""
    fixed = set(outputs)
    for node in emitted:
        fixed.update(node.captured)
        if len(node.outputs) != 1 or any(
            isinstance(v, GraphProto) for v in node.attributes.values()
        ):
            fixed.update(node.results)
    return fixed


def _scope(node: Node) -> str:
    """The part of a node's name that says on whose behalf it was emitted."""
    return node.name.removeprefix(SCOPE).rpartition("/")[0]
