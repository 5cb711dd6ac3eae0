"""Parses the command line, runs a command and turns errors into one line and a status."""

import argparse
import logging
import sys
import traceback
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from onnxlrp.cli import audit, batch, bench, composites, evaluate, explain, inspect, paths, serve
from onnxlrp.cli import compile as compile_command
from onnxlrp.errors import Error

_COMMANDS: Final = (
    compile_command,
    explain,
    inspect,
    composites,
    evaluate,
    paths,
    audit,
    serve,
    batch,
    bench,
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit status: 0 done, 1 an error, 2 wrong usage."""
    parser = make_parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 2
    level = logging.INFO if options.verbose else logging.ERROR
    logging.basicConfig(level=level, format="%(name)s: %(message)s", stream=sys.stderr)
    try:
        status: int = options.run(options)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("error: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0
    except (Error, OSError, MemoryError) as error:
        if options.debug:
            traceback.print_exc()
        print(f"error: {describe(error)}", file=sys.stderr)
        return 1
    return status


def make_parser() -> argparse.ArgumentParser:
    """Make the parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="onnxlrp",
        description="Explains predictions of ONNX models by layer-wise relevance propagation.",
    )
    parser.add_argument("--version", action="version", version=f"onnxlrp {_version()}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    common.add_argument("-v", "--verbose", action="store_true", help="say what is done")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add(commands, common)
    return parser


def describe(error: BaseException) -> str:
    """Return the text of an error on one line."""
    if isinstance(error, MemoryError):
        return "out of memory: use a smaller input or --batch-size 1"
    if isinstance(error, OSError) and error.strerror:
        return f"'{error.filename}': {error.strerror}" if error.filename else error.strerror
    text = " ".join(str(error).split()) or type(error).__name__
    return "".join(each if each.isprintable() else "?" for each in text)


def _version() -> str:
    try:
        return version("onnxlrp")
    except PackageNotFoundError:
        return "(not installed)"
