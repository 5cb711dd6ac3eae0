"""`onnxlrp serve`: one file per server, and what they share."""

from onnxlrp.cli.serve.command import add

__all__ = ["add"]
