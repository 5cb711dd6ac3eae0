"""Measures files and functions against the caps of the house style.

Prints medians and the worst; the status is 1 when a file or function exceeds its cap.
"""

import argparse
import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("onnxlrp", "models", "tools")
CAPS = {"lines": 400, "statements": 40, "complexity": 10}

Function = ast.FunctionDef | ast.AsyncFunctionDef
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
BRANCHES = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.match_case)


@dataclass(frozen=True)
class Size:
    """One measurement: what is measured, where, and how much it is."""

    what: str
    where: str
    amount: int

    @property
    def too_large(self) -> bool:
        """Whether it exceeds its cap."""
        return self.amount > CAPS[self.what]


def measure(path: Path, name: str) -> Iterator[Size]:
    """Yield the sizes of a file and its functions."""
    text = path.read_text()
    yield Size("lines", name, len(text.splitlines()))
    for function in functions(ast.parse(text)):
        where = f"{name}:{function.lineno} {function.name}"
        yield Size("statements", where, statements(function))
        yield Size("complexity", where, complexity(function))


def functions(tree: ast.AST) -> Iterator[Function]:
    """Yield every function, nested ones too."""
    for node in ast.walk(tree):
        if isinstance(node, FUNCTIONS):
            yield node


def statements(function: Function) -> int:
    """Count the statements of a function without its docstring."""
    inside = sum(isinstance(node, ast.stmt) for node in ast.walk(function)) - 1
    return inside - (ast.get_docstring(function) is not None)


def complexity(function: Function) -> int:
    """Count the paths through a function as ruff does: one, and one for each branch."""
    inside = (node for node in ast.walk(function) if node is not function)
    return 1 + sum(isinstance(node, (*BRANCHES, *FUNCTIONS)) for node in inside)


def report(sizes: Sequence[Size], worst: int) -> list[str]:
    """Return the lines to print."""
    lines = []
    for what, cap in CAPS.items():
        found = sorted((s for s in sizes if s.what == what), key=lambda s: -s.amount)
        amounts = [size.amount for size in found] or [0]
        lines.append(f"{what}: median {median(amounts):g}, largest {amounts[0]}, cap {cap}")
        for size in found[:worst]:
            lines.append(f"  {size.amount:5d}  {size.where}{'  TOO LARGE' * size.too_large}")
        lines += [f"  {s.amount:5d}  {s.where}  TOO LARGE" for s in found[worst:] if s.too_large]
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the sizes; return 1 when a cap is exceeded."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="*", default=[ROOT / name for name in FOLDERS], type=Path)
    parser.add_argument("--worst", type=int, default=3, help="how many of each to print")
    options = parser.parse_args(arguments)
    sizes: list[Size] = []
    for folder in options.folders:
        for path in sorted(folder.rglob("*.py")):
            name = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
            sizes += measure(path, str(name))
    print("\n".join(report(sizes, options.worst)))
    return int(any(size.too_large for size in sizes))


if __name__ == "__main__":
    sys.exit(main())
