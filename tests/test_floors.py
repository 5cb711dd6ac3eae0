"""Imports go down only, the two columns do not see each other, and no modules form a cycle."""

import ast
import functools
from pathlib import Path

import networkx as nx
import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "onnxlrp"

COMPILER = {
    "graph": 1,
    "canonize": 2,
    "lower": 2,
    "ops": 2,
    "optimize": 2,
    "rules": 3,
    "composites": 4,
    "ledger": 4,
    "outputs": 4,
    "relevance": 4,
    "targets": 4,
    "turns": 4,
    "attributors": 5,
    "plan": 5,
    "hidden": 5,
    "compile": 6,
    "costs": 6,
    "inspection": 6,
    "pictures": 6,
    "probe": 6,
}
DEPLOYMENT = {"data": 1, "render": 1, "runtime": 1, "distribute": 2, "metrics": 2, "serve": 2}
SHARED = {"errors": 0, "metadata": 0}
TOP = {"audit": 7, "esn": 7, "evaluation": 7, "neurons": 7, "cli": 8}

FLOORS = COMPILER | DEPLOYMENT | SHARED | TOP
SIDEWAYS = {
    ("canonize", "ops"),  # a composed operator is described with the functions of its parts
    ("lower", "ops"),  # what no operator describes is lowered
    ("relevance", "ledger"),
    ("relevance", "turns"),
    ("turns", "ledger"),
    ("metadata", "errors"),
    ("attributors", "plan"),
    ("hidden", "plan"),
    ("inspection", "costs"),
    ("pictures", "compile"),
    ("audit", "evaluation"),
    ("audit", "esn"),
}
"""Imports on one floor, by unit; everything else goes strictly down."""

FOREIGN = {
    "compiler": {"onnxruntime", "PIL"},
    "deployment": {"networkx", "onnx"},
}
"""Packages that belong to the other column."""


def unit(module: str) -> str:
    """The folder or file directly below the package that holds a module."""
    return module.split(".")[1]


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def modules() -> dict[str, Path]:
    return {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def imports(module: str, *, at_load: bool = False) -> frozenset[str]:
    """The modules that a module imports; `at_load`: only those of its top level."""
    tree = ast.parse(modules()[module].read_text())
    nodes = tree.body if at_load else list(ast.walk(tree))
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            known = inner & modules().keys()
            found |= known if len(known) == len(inner) else known | {node.module}
    return frozenset(found)


@functools.cache
def own() -> tuple[str, ...]:
    """The modules with a floor; the package itself only names them (test_lazy)."""
    return tuple(name for name in modules() if name != "onnxlrp")


def edges() -> list[tuple[str, str]]:
    return [
        (module, target)
        for module in own()
        for target in imports(module)
        if target in modules() and unit_differs(module, target)
    ]


def unit_differs(module: str, target: str) -> bool:
    return target != "onnxlrp" and unit(module) != unit(target)


def test_every_module_has_a_floor() -> None:
    assert {unit(module) for module in own()} <= FLOORS.keys()


def test_imports_go_down() -> None:
    wrong = [
        f"{module} -> {target}"
        for module, target in edges()
        if FLOORS[unit(target)] >= FLOORS[unit(module)]
        and (unit(module), unit(target)) not in SIDEWAYS
    ]
    assert not wrong


def test_columns_do_not_see_each_other() -> None:
    wrong = [
        f"{module} -> {target}"
        for module, target in edges()
        for one, other in ((COMPILER, DEPLOYMENT), (DEPLOYMENT, COMPILER))
        if unit(module) in one and unit(target) in other
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("column", "units"), [("compiler", COMPILER), ("deployment", DEPLOYMENT | SHARED)]
)
def test_columns_use_their_own_packages(column: str, units: dict[str, int]) -> None:
    wrong = [
        f"{module} -> {target}"
        for module in own()
        if unit(module) in units
        for target in imports(module)
        if target.split(".")[0] in FOREIGN[column]
    ]
    assert not wrong


def test_nobody_imports_the_package_for_its_names() -> None:
    users = [module for module in own() if "onnxlrp" in imports(module)]
    assert not [module for module in users if unit(module) != "cli"]


def test_no_cycles() -> None:
    graph = nx.DiGraph()
    for module in own():
        targets = imports(module, at_load=True)
        graph.add_edges_from((module, target) for target in targets if target in modules())
    # A package loads its files; that they name it as the parent is no import.
    assert not list(nx.simple_cycles(graph))
