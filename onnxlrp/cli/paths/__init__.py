"""`onnxlrp paths`: the command, and what it writes."""

from onnxlrp.cli.paths.command import add

__all__ = ["add"]
