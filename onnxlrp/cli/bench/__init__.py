"""`onnxlrp bench`: the command, and what it writes."""

from onnxlrp.cli.bench.command import add

__all__ = ["add"]
