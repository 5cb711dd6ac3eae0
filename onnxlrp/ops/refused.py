"""Operators that relevance cannot cross, and what to do instead."""

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Unsupported
from onnxlrp.ops.registry import op

TREES = (
    "decision trees are piecewise constant, so no relevance passes their thresholds; explain them "
    "with a tree method (TreeSHAP), or the model before the trees"
)
KERNELS = (
    "a support vector machine compares its input with stored vectors, no rule shares that out; "
    "export a linear model (LinearSVC, LinearSVR) or a network instead"
)
MAPS = "its input is a map, not a tensor; start the model at the vector that it makes"

REASONS = {
    "ImageDecoder": "its input is an encoded file; start the model at the decoded picture",
    "SequenceMap": "it runs a body on every entry of a sequence; export a Scan over a tensor",
    "TfIdfVectorizer": "its counts belong to n-grams of tokens; start the model at the counts",
    "ai.onnx.ml.CastMap": MAPS,
    "ai.onnx.ml.DictVectorizer": MAPS,
    "ai.onnx.ml.SVMClassifier": KERNELS,
    "ai.onnx.ml.SVMRegressor": KERNELS,
    "ai.onnx.ml.TreeEnsemble": TREES,
    "ai.onnx.ml.TreeEnsembleClassifier": TREES,
    "ai.onnx.ml.TreeEnsembleRegressor": TREES,
}
"""Why each of them is refused."""


@op(*REASONS)
def refused(site: Site) -> Unsupported:
    """Refused by name, with a reason and a way out."""
    raise UnsupportedOp(REASONS[site.op])
