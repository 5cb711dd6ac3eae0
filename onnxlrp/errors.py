"""Every error that onnxlrp raises: when it occurs and what the user can do."""

__all__ = [
    "CompositeError",
    "DataError",
    "Error",
    "GraphError",
    "InputError",
    "ModelError",
    "RuleError",
    "RuntimeMissing",
    "UnsupportedOp",
]


class Error(Exception):
    """Base of all errors of onnxlrp; the text says what is wrong, where, and what to do.

    It is one line, whatever names a model brings.
    """

    def __init__(self, text: str = "") -> None:
        super().__init__(" ".join(text.split()))


class ModelError(Error):
    """The model file cannot be read, is not valid ONNX, or cannot be compiled: export it anew."""


class UnsupportedOp(ModelError):  # noqa: N818 - a public name
    """Relevance would have to cross an operator that has no kind: replace it before export."""


class GraphError(Error):
    """An invariant of the graph does not hold after a pass: a defect of onnxlrp, report it."""


class CompositeError(Error):
    """A composite, parameter or rule is unknown or out of range: see `onnxlrp composites`."""


class RuleError(Error):
    """A rule does not fit the place that it is assigned to: choose another rule or input."""


class InputError(Error):
    """An input, target, seed or mask does not fit the model: the text says what is expected."""


class DataError(Error):
    """A picture, table, label or preprocessing file cannot be used: the text names the file."""


class RuntimeMissing(Error):  # noqa: N818 - a public name
    """ONNX Runtime is not installed: install the extra `cpu` or `gpu`."""
