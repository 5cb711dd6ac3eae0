"""Every invariant fails on a graph that breaks it, and holds on one that does not."""

import numpy as np
import pytest

from onnxlrp.errors import GraphError
from onnxlrp.graph.check import CHECKS, check
from onnxlrp.graph.graph import Graph, Node, Value
from onnxlrp.graph.load import load
from onnxlrp.graph.tape import Tape
from tests.engine import model_of


def graph() -> Graph:
    source = model_of("a = Relu(x) y = Add(a, w)", {"x": ("N", 3)}, {"w": np.ones(3, np.float32)})
    return load(source)


def two_producers(g: Graph) -> None:
    g.add(Node("lrp/again", "Neg", (g.values["x"],), (g.values["y"],)))


def wrong_order(g: Graph) -> None:
    later = Value("later")
    g.add(Node("lrp/early", "Neg", (later,), (Value("out"),)))
    g.add(Node("lrp/late", "Neg", (g.values["x"],), (later,)))


def stray_edge(g: Graph) -> None:
    g._dag.add_edge(g.values["x"], g.nodes[1])


def cycle(g: Graph) -> None:
    g._dag.add_edge(g.values["y"], g.nodes[0])


def same_name(g: Graph) -> None:
    for index in (0, 1):
        g.add(Node("lrp/same", "Neg", (g.values["x"],), (Value(f"v{index}"),)))


def deployed_reads_emitted(g: Graph) -> None:
    made = Tape(g).op("Neg", g.values["x"])
    g.add(Node("Relu_9", "Relu", (made,), (Value("v"),), deployed=True))


def lost_node(g: Graph) -> None:
    g.remove(g.nodes[-1])


def outside(g: Graph) -> None:
    g.add(Node("somewhere", "Neg", (g.values["x"],), (Value("v"),)))


BROKEN = {
    "single_producer": two_producers,
    "ordered": wrong_order,
    "edges_follow_nodes": stray_edge,
    "acyclic": cycle,
    "unique_names": same_name,
    "deployed_untouched": deployed_reads_emitted,
    "emitted_in_scope": outside,
}


def test_every_check_is_broken_below() -> None:
    assert {test.__name__ for test in CHECKS} == set(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_invariant_is_named(name: str) -> None:
    g = graph()
    check(g, "load")
    BROKEN[name](g)
    with pytest.raises(GraphError, match=f"after breaking: .*{name}"):
        check(g, "breaking")


def test_a_lost_deployed_node_is_named() -> None:
    g = graph()
    lost_node(g)
    with pytest.raises(GraphError, match="deployed nodes differ from the source"):
        check(g, "breaking")


def test_equal_calls_of_the_tape_are_one_value() -> None:
    g = graph()
    t, x = Tape(g), g.values["x"]
    assert t.op("Neg", x) is t.op("Neg", x)
    assert t.op("Mul", x, 2.0) is t.op("Mul", x, 2.0)
    assert t.op("Mul", x, 2.0) is not t.op("Mul", x, 3.0)
    assert t.op("ReduceSum", x, [1], keepdims=0) is not t.op("ReduceSum", x, [1], keepdims=1)
    check(g, "tape")
