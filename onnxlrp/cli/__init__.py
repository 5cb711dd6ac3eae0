"""The command line: one file per command, parsing and printing only."""

from onnxlrp.cli.app import main

__all__ = ["main"]
