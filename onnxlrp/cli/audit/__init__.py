"""`onnxlrp audit`: the command, and what it writes."""

from onnxlrp.cli.audit.command import add

__all__ = ["add"]
