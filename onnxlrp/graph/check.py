"""States the invariants of a graph as named checks."""

from collections.abc import Callable, Iterator

import networkx as nx

from onnxlrp.errors import GraphError
from onnxlrp.graph.graph import Graph, Node, Value
from onnxlrp.metadata import SCOPE

__all__ = ["CHECKS", "check"]


def single_producer(graph: Graph) -> Iterator[str]:
    """Every value is computed by at most one node."""
    seen: set[Value] = set()
    for node in graph.nodes:
        for value in node.results:
            if value in seen:
                yield f"value '{value.name}' has two producers"
            seen.add(value)


def ordered(graph: Graph) -> Iterator[str]:
    """Every node stands behind the producers of its inputs."""
    done: set[Value] = set()
    produced = {value for node in graph.nodes for value in node.results}
    for node in graph.nodes:
        for value in node.sources:
            if value in produced and value not in done:
                yield f"node '{node.name}' reads '{value.name}' before it is computed"
        done.update(node.results)


def edges_follow_nodes(graph: Graph) -> Iterator[str]:
    """The edges are those of the nodes' inputs and outputs."""
    wanted: set[tuple[Node | Value, Node | Value]] = set()
    for node in graph.nodes:
        wanted |= {(value, node) for value in node.sources}
        wanted |= {(node, value) for value in node.results}
    for tail, head in wanted ^ set(graph.edges()):
        yield f"edge '{tail.name}' -> '{head.name}' is not that of a node"


def acyclic(graph: Graph) -> Iterator[str]:
    """No value depends on itself."""
    dag = nx.DiGraph(graph.edges())
    if not nx.is_directed_acyclic_graph(dag):
        yield "the graph has a cycle"


def unique_names(graph: Graph) -> Iterator[str]:
    """No two nodes share a name."""
    seen: set[str] = set()
    for node in graph.nodes:
        if node.name in seen:
            yield f"two nodes are called '{node.name}'"
        seen.add(node.name)


def deployed_untouched(graph: Graph) -> Iterator[str]:
    """Deployed nodes read deployed values only, and are those of the source."""
    emitted = {value for n in graph.nodes if not n.deployed for value in n.results}
    for node in graph.nodes:
        if node.deployed and emitted & set(node.sources):
            yield f"deployed node '{node.name}' reads an emitted value"
    names = [node.name for node in graph.nodes if node.deployed]
    if names != [node.name for node in graph.source.graph.node]:
        yield "deployed nodes differ from the source"


def emitted_in_scope(graph: Graph) -> Iterator[str]:
    """Emitted nodes carry names of the explanation part."""
    for node in graph.nodes:
        if not node.deployed and not node.name.startswith(SCOPE):
            yield f"emitted node '{node.name}' stands outside of '{SCOPE}'"


Check = Callable[[Graph], Iterator[str]]
CHECKS: tuple[Check, ...] = (
    single_producer,
    ordered,
    edges_follow_nodes,
    acyclic,
    unique_names,
    deployed_untouched,
    emitted_in_scope,
)


def check(graph: Graph, after: str) -> None:
    """Raise a GraphError that names the pass and everything that does not hold after it."""
    faults = [f"{test.__name__}: {fault}" for test in CHECKS for fault in test(graph)]
    if faults:
        raise GraphError(f"after {after}: " + "; ".join(faults[:5]))
