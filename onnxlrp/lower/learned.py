"""Linear models with a label beside the scores, and scattered sums."""

import numpy as np

from onnxlrp.graph.view import Site
from onnxlrp.lower.registry import lower
from onnxlrp.lower.sketch import Seen, Sketch

FINAL = {"LOGISTIC": "Sigmoid", "SOFTMAX": "Softmax", "SOFTMAX_ZERO": "Softmax"}


@lower("ai.onnx.ml.LinearClassifier")
def linear_classifier(sketch: Sketch, site: Site) -> tuple[Seen, ...] | None:
    """A label, that nothing flows through, and the scores f(W x + b), f sigmoid or softmax.

    One row of coefficients for two labels gives f(-z) and f(z) behind LOGISTIC; without it
    runtimes disagree, so that and PROBIT stay as they are and are refused.
    """
    weights = np.array(site.attributes.get("coefficients", []), dtype=np.float32)
    labels = site.attributes.get("classlabels_ints") or site.attributes.get("classlabels_strings")
    count = len(labels) if isinstance(labels, list) else 0
    bias = np.array(site.attributes.get("intercepts", [0.0] * count), dtype=np.float32)
    transform = site.text("post_transform", "NONE")
    weights = weights.reshape(max(bias.size, 1), -1)
    if (bias.size, count, transform) == (1, 2, "LOGISTIC"):
        weights, bias = np.concatenate([-weights, weights]), np.concatenate([-bias, bias])
    if bias.size != count or transform not in {"NONE", *FINAL}:
        return None
    z = sketch.op("Gemm", site.required(0), weights, bias, transB=1)
    return None, sketch.op(FINAL[transform], z) if transform in FINAL else z


@lower("ScatterElements", "ScatterND")
def scatter_add(sketch: Sketch, site: Site) -> tuple[Seen, ...] | None:
    """Data plus updates scattered into zeros, where both are computed."""
    data, indices, updates = (site.required(index) for index in range(3))
    if site.text("reduction", "none") != "add" or not (data.variable and updates.variable):
        return None
    zeros = sketch.op("Expand", 0.0, sketch.op("Shape", data))
    return (sketch.op("Add", data, sketch.op(site.op, zeros, indices, updates, **site.attributes)),)
