"""`onnxlrp inspect`: kind and rule of every node, and what is unsupported."""

import argparse
import json

from onnxlrp.cli.options import Commands, add_method, plan_keywords
from onnxlrp.cli.table import format_table


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "show the kind and the rule of every node, and what is unsupported and why"
    parser = commands.add_parser("inspect", parents=[common], help=text, description=text)
    parser.add_argument("model", metavar="MODEL", help="an ONNX model")
    add_method(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--why", action="store_true", help="show why a node has its kind")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from onnxlrp.inspection import inspect

    report = inspect(options.model, **plan_keywords(options))
    if options.json:
        print(json.dumps(report.to_json(), indent=2))
        return 0
    head = ("node", "operator", "kind", "rule", "why")
    rows = [(row.name, row.op, row.kind, row.rule, row.why) for row in report.rows]
    shown = len(head) if options.why else len(head) - 1
    print(format_table(head[:shown], [row[:shown] for row in rows]))
    print(
        f"\ncomposite {report.composite}, output '{report.output}', inputs "
        + ", ".join(f"'{name}'" for name in report.inputs)
    )
    print(f"coverage {report.coverage:.1%}, {len(report.unsupported)} nodes unsupported")
    if options.why:
        for name, op, reason in report.unmatched:
            print(f"no pattern: '{name}' ({op}): {reason}")
    for row in report.unsupported:
        print(f"unsupported: '{row.name}' ({row.op}): {row.why}")
    return 0
