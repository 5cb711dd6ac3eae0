"""Writes the README's table of operators from their declarations in `onnxlrp.ops`.

Without an option the table is printed; `--check` fails when README.md holds another one and
`--write` puts it there, between `<!-- operators -->` and `<!-- /operators -->`.
"""

import argparse
import ast
import inspect
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from onnxlrp.ops import OPS, kinds  # noqa: E402
from onnxlrp.ops.registry import Describe  # noqa: E402

BEGIN, END = "<!-- operators -->", "<!-- /operators -->"
HEAD = ("operators", "kind", "what it is", "described in")


def table() -> str:
    """Return the table in Markdown: one row per declaration, by name of the first operator."""
    declared: dict[Describe, list[str]] = {}
    for name in sorted(OPS, key=str.lower):
        declared.setdefault(OPS[name], []).append(name)
    rows = [HEAD, tuple("---" for _ in HEAD)]
    for function, names in declared.items():
        path = Path(inspect.getsourcefile(function) or "").resolve().relative_to(ROOT)
        shown = ", ".join(f"`{name}`" for name in names)
        rows.append((shown, ", ".join(kinds_of(function)), summary(function), f"`{path}`"))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def summary(function: Describe) -> str:
    """Return what a declaration says of the forward map, or else its first sentence."""
    text = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    text = re.split(r"(?:^|\. )(?:Adjoint|Derivative): ", text.removeprefix("Forward: "))[0]
    return text.replace("|", "\\|").rstrip(".")


def kinds_of(function: Describe, seen: frozenset[object] = frozenset()) -> list[str]:
    """Return the kinds that a declaration can give: its return type, or what it returns."""
    stated = inspect.signature(function).return_annotation
    name = stated if isinstance(stated, str) else getattr(stated, "__name__", "")
    if name in kind_names():
        return [name]
    found: set[str] = set()
    for called in returned_calls(function):
        value = inspect.unwrap(function).__globals__.get(called)
        if called in kind_names():
            found.add(called)
        elif inspect.isfunction(value) and value not in seen:
            found.update(kinds_of(value, seen | {function}))
    return sorted(found)


def kind_names() -> set[str]:
    """Return the names of the kinds."""
    return {
        name
        for name, member in vars(kinds).items()
        if inspect.isclass(member) and issubclass(member, kinds.Kind) and member is not kinds.Kind
    }


def returned_calls(function: Describe) -> Iterator[str]:
    """Yield the names that are called in the return statements of a function itself."""
    declared = ast.parse(inspect.getsource(function)).body[0]
    waiting = list(ast.iter_child_nodes(declared))
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Return) and node.value is not None:
            yield from _calls(node.value)
        elif not isinstance(node, ast.FunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _calls(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.IfExp):
        yield from _calls(value.body)
        yield from _calls(value.orelse)
    if isinstance(value, ast.Call) and isinstance(value.func, ast.Name):
        yield value.func.id


def main(arguments: Sequence[str] | None = None) -> int:
    """Print, check or write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when README.md is stale")
    parser.add_argument("--write", action="store_true", help="write the table into README.md")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md")
    options = parser.parse_args(arguments)
    made = table()
    if not (options.check or options.write):
        print(made)
        return 0
    text = options.readme.read_text() if options.readme.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    held, end, after = rest.partition(END)
    if not (begin and end):
        print(f"error: {options.readme} has no lines {BEGIN} and {END}", file=sys.stderr)
        return 1
    if options.write:
        options.readme.write_text(f"{before}{BEGIN}\n{made}\n{END}{after}")
    elif held.strip() != made:
        print("error: the table of operators is stale: run tools/supported_ops.py --write")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
