"""`onnxlrp inspect`: kind and rule of every node, what is unsupported, and what it costs."""

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from onnxlrp.cli.files import check_no_overwrite, check_writable, write_bytes
from onnxlrp.cli.options import Commands, add_method, plan_keywords, target_keywords
from onnxlrp.cli.table import format_table
from onnxlrp.errors import ModelError, RuleError

if TYPE_CHECKING:
    from onnxlrp.costs import Cost
    from onnxlrp.inspection import Report

_MOST_WEIGHTS: Final = 10
_MIB: Final = 2**20


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "show the kind and the rule of every node, what is unsupported and why, and the cost"
    parser = commands.add_parser("inspect", parents=[common], help=text, description=text)
    parser.add_argument("model", metavar="MODEL", help="an ONNX model")
    add_method(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument(
        "--why", action="store_true", help="show why a node has its kind, and all derived weights"
    )
    parser.add_argument("--dot", metavar="FILE", help="write the graph in the DOT language")
    parser.add_argument("--html", metavar="FILE", help="write a page for the browser")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    files = [Path(name) for name in (options.dot, options.html) if name]
    for file in files:
        check_writable(file)
        check_no_overwrite(file, options.model)
    from onnxlrp.inspection import inspect

    report = inspect(options.model, **plan_keywords(options))
    cost, unknown = _cost(options)
    _write(options, report, cost, unknown)
    if options.json:
        known = None if cost is None else cost.to_json()
        print(json.dumps(report.to_json() | {"cost": known, "cost_unknown": unknown}, indent=2))
        return 0
    _print_rows(report, why=options.why)
    print("\n" + "\n".join(_summary(report, cost, unknown)))
    if cost is not None:
        print(_weights(cost, len(cost.derived) if options.why else _MOST_WEIGHTS), end="")
    if options.why:
        for name, op, reason in report.unmatched:
            print(f"no pattern: '{name}' ({op}): {reason}")
    for row in report.unsupported:
        print(f"unsupported: '{row.name}' ({row.op}): {row.why}")
    for file in files:
        print(f"wrote {file}")
    return 0


def _cost(options: argparse.Namespace) -> tuple["Cost | None", str | None]:
    """The cost, or why it cannot be told."""
    from onnxlrp.compile import compile as compile_model
    from onnxlrp.costs import count

    try:
        graph = compile_model(options.model, **plan_keywords(options), **target_keywords(options))
    except (ModelError, RuleError) as error:
        return None, " ".join(str(error).split())
    return count(graph.model), None


def _print_rows(report: "Report", *, why: bool) -> None:
    head = ("node", "operator", "kind", "rule", "why")
    rows = [(row.name, row.op, row.kind, row.rule, row.why) for row in report.rows]
    shown = len(head) if why else len(head) - 1
    print(format_table(head[:shown], [row[:shown] for row in rows]))


def _summary(report: "Report", cost: "Cost | None", unknown: str | None) -> Iterator[str]:
    inputs = ", ".join(f"'{name}'" for name in report.inputs)
    yield f"composite {report.composite}, output '{report.output}', inputs {inputs}"
    if report.shadow:
        yield "relevance runs on a float32 copy of the model; --ledger shows how far it is off"
    for name, reason in report.others:
        yield f"input '{name}' is not explained: {reason}"
    yield f"coverage {report.coverage:.1%}, {len(report.unsupported)} nodes unsupported"
    yield f"multiply-adds covered {report.covered_work:.1%}"
    if cost is None:
        yield f"the cost cannot be told: {unknown}"
        return
    yield _passes(cost)
    if cost.uncounted:
        names = ", ".join(f"'{name}'" for name in cost.uncounted[:5])
        more = ", ..." if len(cost.uncounted) > 5 else ""
        yield f"not counted, shapes unknown: {len(cost.uncounted)} nodes ({names}{more})"
    size, number = cost.derived_size / _MIB, len(cost.derived)
    unknown_sizes = sum(value.size is None for value in cost.derived)
    but = f", the size of {unknown_sizes} not known" if unknown_sizes else ""
    yield (
        f"derived weights {size:.2f} MiB in {number} values{but}, computed once at load; the "
        f"weights of the model {cost.weights / _MIB:.2f} MiB"
    )


def _passes(cost: "Cost") -> str:
    if cost.passes is None:
        return "the cost cannot be told: no multiply-add of the model can be counted"
    about = "about " if cost.uncounted else ""
    return (
        f"cost {about}{cost.passes:.2f} forward passes: {cost.forward:,} multiply-adds for the "
        f"prediction, {cost.relevance:,} for relevance"
    )


def _weights(cost: "Cost", most: int) -> str:
    lines: Sequence[str] = [
        f"  {(value.size or 0) / _MIB:8.3f} MiB  {value.name}\n" for value in cost.derived[:most]
    ]
    rest = len(cost.derived) - len(lines)
    return "".join(lines) + (f"  and {rest} smaller ones (--why)\n" if rest > 0 else "")


def _write(
    options: argparse.Namespace, report: "Report", cost: "Cost | None", unknown: str | None
) -> None:
    from onnxlrp.cli.dot import to_dot
    from onnxlrp.cli.graph_page import make_page

    if options.dot:
        write_bytes(Path(options.dot), to_dot(report).encode())
    if options.html:
        said = list(_summary(report, cost, unknown))
        derived = () if cost is None else cost.derived
        page = make_page(Path(options.model).name, report, said, derived)
        write_bytes(Path(options.html), page)
