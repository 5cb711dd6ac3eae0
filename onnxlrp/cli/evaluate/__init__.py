"""`onnxlrp evaluate`: the command, and what it writes."""

from onnxlrp.cli.evaluate.command import add

__all__ = ["add"]
