"""Operators whose parameters depend on an input."""

from onnxlrp.graph.view import Site
from onnxlrp.lower.registry import lower
from onnxlrp.lower.sketch import Seen, Sketch


@lower("BatchNormalization")
def batch_normalization(sketch: Sketch, site: Site) -> tuple[Seen, ...] | None:
    """(x - mean) gamma / sqrt(variance + epsilon) + beta, where one of these is computed."""
    x, parameters = site.required(0), [site.required(index) for index in range(1, 5)]
    computed = any(sketch.view.producer(value) for value in parameters)
    if not computed or site.integer("training_mode"):
        return None
    shape = [-1] + [1] * ((x.rank or 2) - 2)
    gamma, beta, mean, variance = (sketch.op("Reshape", value, shape) for value in parameters)
    sigma = sketch.op("Sqrt", sketch.op("Add", variance, site.number("epsilon", 1e-5)))
    standard = sketch.op("Div", sketch.op("Sub", x, mean), sigma)
    return (sketch.op("Add", sketch.op("Mul", standard, gamma), beta),)
