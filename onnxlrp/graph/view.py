"""The canonical view: deployed nodes seen as sites of one mathematical map each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from onnxlrp.errors import ModelError
from onnxlrp.graph.graph import Attribute, Graph, Node, Value

__all__ = ["Site", "View", "site_of"]


@dataclass(frozen=True, eq=False)
class Site:
    """One map of the view; it spans one or more deployed nodes.

    Attributes:
        name: Name of the node that gives the site its character.
        op: Operator type, also of composed sites (`Swish`, `BatchNormalization`, ...).
        inputs: Forward values that the map reads; None where an optional input is absent.
        outputs: Deployed values that it computes.
        nodes: The deployed nodes.
        live: For each input whether it depends on an explained input.
        note: Why a canonizer made this site.
    """

    name: str
    op: str
    inputs: tuple[Value | None, ...]
    outputs: tuple[Value | None, ...]
    attributes: Mapping[str, Attribute] = field(default_factory=dict)
    nodes: tuple[Node, ...] = ()
    domain: str = ""
    opset: int = 21
    live: tuple[bool, ...] = ()
    note: str = ""

    @property
    def output(self) -> Value:
        """The first output."""
        value = self.outputs[0]
        assert value is not None
        return value

    def input(self, index: int) -> Value | None:
        """An input, or None where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def required(self, index: int) -> Value:
        """An input that the operator cannot do without."""
        value = self.input(index)
        if value is None:
            raise ModelError(f"node '{self.name}' ({self.op}) lacks its input {index}")
        return value

    def is_live(self, index: int) -> bool:
        """Whether an input is present and depends on an explained input."""
        return index < len(self.live) and self.live[index]

    def integer(self, name: str, default: int = 0) -> int:
        """An integer attribute."""
        value = self.attributes.get(name, default)
        assert isinstance(value, int)
        return value

    def number(self, name: str, default: float = 0.0) -> float:
        """A floating-point attribute."""
        value = self.attributes.get(name, default)
        assert isinstance(value, int | float)
        return float(value)

    def text(self, name: str, default: str = "") -> str:
        """A string attribute."""
        value = self.attributes.get(name, default)
        assert isinstance(value, str)
        return value

    def integers(self, name: str, default: list[int] | None = None) -> list[int]:
        """An attribute that is a list of integers."""
        value = self.attributes.get(name, default or [])
        assert isinstance(value, list)
        return [int(item) for item in value]


def site_of(node: Node, opset: int) -> Site:
    """See one deployed node as a site of its own."""
    return Site(
        name=node.name,
        op=node.op if node.domain in {"", "ai.onnx"} else f"{node.domain}.{node.op}",
        inputs=node.inputs,
        outputs=node.outputs,
        attributes=node.attributes,
        nodes=(node,),
        domain=node.domain,
        opset=opset,
    )


class View:
    """An ordered list of sites over the deployed nodes of a graph."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.reasons: list[tuple[Node, str]] = []
        self._sites = {n: [site_of(n, graph.opset)] for n in graph.nodes if n.deployed}

    def __iter__(self) -> Iterator[Site]:
        for sites in list(self._sites.values()):
            yield from sites

    def site(self, node: Node) -> Site | None:
        """The site that ends at a deployed node; None where a canonizer gave it to a later one."""
        sites = self._sites.get(node)
        return sites[-1] if sites else None

    def merge(self, *sites: Site) -> None:
        """Let sites take the place of those of their nodes; they stand where the last one stood."""
        nodes = sites[-1].nodes
        for node in nodes[:-1]:
            self._sites.pop(node, None)
        self._sites[nodes[-1]] = [replace(site, opset=self.graph.opset) for site in sites]

    def replace(self, old: Site, new: Site) -> None:
        """Put a changed site in the place of an old one."""
        sites = self._sites[old.nodes[-1]]
        sites[sites.index(old)] = new

    def stands_alone(self, node: Node) -> bool:
        """Whether no canonizer has taken a node."""
        site = self.site(node)
        return site is not None and site.nodes == (node,)

    def refuse(self, node: Node, reason: str) -> None:
        """Record why a pattern did not match at a node."""
        self.reasons.append((node, reason))

    def only_consumer(self, value: Value) -> Node | None:
        """The one deployed node that reads a value, if it is one and the value is no output."""
        consumers = [node for node in self.graph.consumers(value) if node.deployed]
        if len(consumers) != 1 or value in self.graph.outputs:
            return None
        return consumers[0]
