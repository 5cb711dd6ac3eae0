"""Writes the tables of operators from what `onnxlrp.ops` and `onnxlrp.lower` declare.

Without an option the tables are printed. `--write` puts them into docs/operators.md and the count
of operators per state into README.md, between `<!-- operators -->` and `<!-- /operators -->`;
`--check` fails when either is stale.
"""

import argparse
import ast
import inspect
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import defs

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import onnxlrp.lower  # noqa: E402, F401 - importing it declares the lowerings
from onnxlrp.graph.lift import NEWEST_STAMP  # noqa: E402
from onnxlrp.lower.registry import LOWERINGS, Lowering  # noqa: E402
from onnxlrp.ops import OPS, kinds  # noqa: E402
from onnxlrp.ops.bodies import BODIED  # noqa: E402
from onnxlrp.ops.refused import REASONS  # noqa: E402
from onnxlrp.ops.registry import Describe  # noqa: E402

BEGIN, END = "<!-- operators -->", "<!-- /operators -->"
DOCS = "docs/operators.md"
DOMAINS = {"ai.onnx": "", "ai.onnx.ml": "ai.onnx.ml", "com.microsoft": "com.microsoft"}
HEAD = ("operator", "state", "kind", "what it is, or why not", "stated in")

STATES = {
    "kind": "described by the kind of map that it is",
    "lowered": "seen through simpler operators",
    "function": "expanded into simpler operators as its ONNX schema does",
    "body": "its bodies are explained, by a reverse If or Scan",
    "renamed": "converted into its successor when the model is read",
    "source": "reads nothing, so nothing depends on an input",
    "stop": "no relevance flows: an integer, boolean, text, random or piecewise constant output",
    "refused": "an error that names the node and the reason",
}
"""What can become of an operator."""

DESCRIBED = ("kind", "lowered", "function", "body", "renamed")
"""The states of operators that relevance crosses."""

INTRODUCTION = (
    "All operators of onnx {release} in `ai.onnx` (up to opset {opset}) and `ai.onnx.ml`, and "
    "those that ONNX Runtime's optimisers and quantisers write (`com.microsoft`). Training and "
    "preview operators are not listed: they are refused."
)
AMOUNT = (
    "Relevance crosses {crossed} of the {asked} operators of `ai.onnx` with float outputs, stops "
    "and operators without inputs not counted."
)

RENAMED = {"Scatter": "ScatterElements", "Upsample": "Resize"}
FLOATS = {"tensor(float)", "tensor(double)", "tensor(float16)", "tensor(bfloat16)"}


@dataclass(frozen=True)
class Row:
    """One operator of the table."""

    name: str
    state: str
    kinds: str = ""
    text: str = ""
    path: str = ""

    def markdown(self) -> str:
        """Return the row in Markdown."""
        path = f"`{self.path}`" if self.path else ""
        cells = (f"`{self.name}`", self.state, self.kinds, self.text.replace("|", "\\|"), path)
        return f"| {' | '.join(cells)} |"


def names(domain: str) -> list[str]:
    """Return the operators of a domain: those of ONNX, or else those that are declared here.

    ONNX Runtime has a few of its own in the domain of ONNX; they stand with `com.microsoft`.
    """
    if domain == "com.microsoft":
        found = {name for name in (*OPS, *LOWERINGS) if name.startswith(domain)}
        found |= {name for name in LOWERINGS if "." not in name and not defs.has(name)}
    else:
        schemas = (s for s in defs.get_all_schemas() if s.domain == domain)
        found = {f"{domain}.{s.name}" if domain else s.name for s in schemas}
    return sorted(found, key=str.lower)


def row(name: str) -> Row:
    """Return what becomes of an operator."""
    if name in REASONS:
        return Row(name, "refused", text=REASONS[name], path=_path(OPS[name]))
    if name in BODIED:
        return Row(name, "body", text=summary(LOWERINGS[name]), path=_path(LOWERINGS[name]))
    if name in OPS:
        found = kinds_of(OPS[name])
        state = "stop" if found == ["Stop"] else "kind"
        return Row(name, state, ", ".join(found), summary(OPS[name]), _path(OPS[name]))
    if name in LOWERINGS:
        return Row(name, "lowered", text=summary(LOWERINGS[name]), path=_path(LOWERINGS[name]))
    if name in RENAMED:
        return Row(name, "renamed", text=f"`{RENAMED[name]}` since opset {_since(name)}")
    return _of_schema(name)


def _since(name: str) -> int:
    """Return the opset that deprecates an operator."""
    return int(defs.get_schema(name).since_version)


def _of_schema(name: str) -> Row:
    """Return the state of an operator about which nothing is declared."""
    schema = defs.get_schema(name)
    first = min(s.since_version for s in defs.get_all_schemas_with_history() if s.name == name)
    if first > NEWEST_STAMP:
        reason = f"newer than opset {NEWEST_STAMP}, the newest that explanation graphs have"
        return Row(name, "refused", text=reason, path="onnxlrp/graph/lift.py")
    if schema.max_input == 0:
        return Row(name, "source")
    if schema.has_function or schema.has_context_dependent_function:  # type: ignore[attr-defined]
        return Row(name, "function", text=STATES["function"], path="onnxlrp/lower/functions.py")
    raise LookupError(f"nothing says what becomes of operator '{name}'")


def _path(function: Describe | Lowering) -> str:
    return str(Path(inspect.getsourcefile(function) or "").resolve().relative_to(ROOT))


def rows() -> dict[str, list[Row]]:
    """Return all rows by domain."""
    return {title: [row(name) for name in names(domain)] for title, domain in DOMAINS.items()}


def counts(found: dict[str, list[Row]]) -> str:
    """Return the number of operators per state and domain, in Markdown."""
    per = {title: Counter(item.state for item in items) for title, items in found.items()}
    lines = [f"| state | {' | '.join(found)} | meaning |", "| --- |" + " --- |" * (len(found) + 1)]
    for state, meaning in STATES.items():
        numbers = " | ".join(str(per[title][state]) for title in found)
        lines.append(f"| {state} | {numbers} | {meaning} |")
    totals = " | ".join(str(len(items)) for items in found.values())
    return "\n".join([*lines, f"| all | {totals} | |"])


def share(found: dict[str, list[Row]]) -> tuple[int, int]:
    """Return how many operators of ai.onnx with float outputs relevance crosses, and of how many.

    Stops and operators without inputs are not counted.
    """
    floats = [item for item in found["ai.onnx"] if _gives_floats(item.name)]
    asked = [item for item in floats if item.state not in {"stop", "source"}]
    return sum(item.state in DESCRIBED for item in asked), len(asked)


def _gives_floats(name: str) -> bool:
    outputs = defs.get_schema(name).outputs
    return any(FLOATS & {text.removeprefix("seq(") for text in _types(out)} for out in outputs)


def _types(output: defs.OpSchema.FormalParameter) -> set[str]:
    """Return the element types of an output, also of a sequence or an optional value."""
    return {re.sub(r"^(?:seq\(|optional\()+(tensor\(\w+\)).*$", r"\1", t) for t in output.types}


def short(found: dict[str, list[Row]]) -> str:
    """Return what stands in the README."""
    crossed, asked = share(found)
    amount = AMOUNT.format(crossed=crossed, asked=asked)
    return f"{counts(found)}\n\n{amount} [All of them, one by one]({DOCS})."


def document(found: dict[str, list[Row]]) -> str:
    """Return docs/operators.md."""
    crossed, asked = share(found)
    parts = [
        "# Operators\n\nWritten by `tools/supported_ops.py --write`; do not edit.",
        INTRODUCTION.format(release=_release(), opset=defs.onnx_opset_version()),
        counts(found),
        AMOUNT.format(crossed=crossed, asked=asked),
    ]
    for title, items in found.items():
        head = [f"| {' | '.join(HEAD)} |", "| --- " * len(HEAD) + "|"]
        parts += [f"## {title}", "\n".join([*head, *(item.markdown() for item in items)])]
    return "\n\n".join(parts) + "\n"


def _release() -> str:
    """Return the release of onnx without its patch number."""
    return ".".join(onnx.__version__.split(".")[:2])


def summary(function: Describe | Lowering) -> str:
    """Return what a declaration says of the forward map, or else its first sentence."""
    text = (inspect.getdoc(function) or "").split("\n\n")[0].replace("\n", " ")
    text = re.split(r"(?:^|\. )(?:Adjoint|Derivative): ", text.removeprefix("Forward: "))[0]
    return text.rstrip(".")


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
    """Print, check or write the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a table is stale")
    parser.add_argument("--write", action="store_true", help="write the tables")
    parser.add_argument("--root", type=Path, default=ROOT, help="folder of README.md and docs")
    options = parser.parse_args(arguments)
    found = rows()
    if not (options.check or options.write):
        print(document(found))
        return 0
    readme, docs = options.root / "README.md", options.root / DOCS
    text = readme.read_text() if readme.exists() else ""
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        print(f"error: {readme} has no lines {BEGIN} and {END}", file=sys.stderr)
        return 1
    wanted = {readme: f"{before}{BEGIN}\n{short(found)}\n{END}{after}", docs: document(found)}
    if options.write:
        docs.parent.mkdir(exist_ok=True)
        for path, made in wanted.items():
            path.write_text(made)
        return 0
    return _checked(wanted, docs)


def _checked(wanted: dict[Path, str], docs: Path) -> int:
    """Compare; another release of onnx has other operators."""
    held = docs.read_text() if docs.exists() else ""
    release = re.search(r"^All operators of onnx (\S+) ", held, re.MULTILINE)
    if release and release[1] != _release():
        print(f"not checked: the tables are of onnx {release[1]}, installed is {onnx.__version__}")
        return 0
    for path, made in wanted.items():
        if not path.exists() or path.read_text() != made:
            print(f"error: {path.name} is stale: run tools/supported_ops.py --write")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
