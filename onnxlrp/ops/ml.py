"""Operators of `ai.onnx.ml` that prepare features."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Move, Norm, Relevance, Stop, some
from onnxlrp.ops.positions import scatter
from onnxlrp.ops.reduce import winner_over
from onnxlrp.ops.registry import op

Numbers = NDArray[np.float32]

__all__ = ["Numbers", "numbers", "require_float"]


def numbers(site: Site, name: str) -> Numbers:
    """An attribute that is a list of numbers; empty where it is absent."""
    return np.array(site.attributes.get(name, []), dtype=np.float32)


def require_float(site: Site) -> Value:
    """The first input, which has to be floating-point."""
    x = site.required(0)
    if not x.is_float:
        raise UnsupportedOp("its input is not floating-point; put a Cast to float before it")
    return x


def _moved(site: Site, adjoint: Callable[[Tape, Value], Value]) -> Move:
    return Move(
        operands=(site.required(0),),
        output=site.output,
        adjoint=lambda t, r: (adjoint(t, some(r)),),
    )


@op("ai.onnx.ml.Scaler")
def scaler(site: Site) -> LinearMap:
    """Forward: y = (x - offset) scale, per feature or for all. Adjoint: r scale."""
    x, scale = require_float(site), numbers(site, "scale")
    offset = numbers(site, "offset")

    def scaled(t: Tape, value: Value, w: Maybe) -> Value:
        return t.op("Mul", value, w)

    return LinearMap(
        operands=(x,),
        output=site.output,
        weight=lambda t: t.constant(scale),
        bias=(lambda t: t.constant(-offset * scale)) if offset.any() else None,
        forward=scaled,
        adjoint=scaled,
    )


@op("ai.onnx.ml.Normalizer")
def normalizer(site: Site) -> Norm:
    """Division of every row by its greatest element, its L1 norm or its L2 norm.

    Forward: y = x / n(x), n = max x, sum |x| or sqrt(sum x^2); y = x where n is 0.
    Derivative: (r - d sum(r y)) / n, d = dn/dx.
    """
    x, form = require_float(site), site.text("norm", "MAX")
    if x.rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    last = x.rank - 1
    reduction = {"MAX": "ReduceMax", "L1": "ReduceL1", "L2": "ReduceL2"}[form]

    def size(t: Tape) -> Value:
        found = t.op(reduction, t.at(x), [last], keepdims=1)
        return t.op("Where", t.op("Equal", found, 0.0), 1.0, found)

    def through(t: Tape, along: Value) -> Value:
        """What reaches x through n."""
        if form == "MAX":
            return winner_over(t, along, x, [last])
        slope = t.op("Sign", t.at(x)) if form == "L1" else t.at(site.output)
        return t.op("Mul", slope, along)

    def derivative(t: Tape, r: Value) -> Value:
        along = t.op("ReduceSum", t.op("Mul", r, t.at(site.output)), [last], keepdims=1)
        return t.op("Div", t.op("Sub", r, through(t, along)), size(t))

    return Norm(
        operands=(x,),
        output=site.output,
        frozen=lambda t, r: t.op("Div", r, size(t)),
        derivative=derivative,
    )


@op("ai.onnx.ml.ArrayFeatureExtractor")
def array_feature_extractor(site: Site) -> Move:
    """Forward: y = x[..., indices]. Adjoint: r added at the indices."""
    x, indices = site.required(0), site.required(1)
    if site.is_live(1):
        raise UnsupportedOp("its indices depend on the input")

    def chosen(t: Tape, at: Value) -> Value:
        return t.op("Gather", at, t.op("Reshape", indices, [-1]), axis=-1)

    return _moved(site, lambda t, r: scatter(t, r, x, lambda at: chosen(t, at)))


@op("ai.onnx.ml.Imputer")
def imputer(site: Site) -> Move:
    """Forward: x, with a number in the place of missing values.

    Adjoint: r where x is kept; what falls on the numbers put in is absorbed as bias.
    """
    x, missing = require_float(site), site.number("replaced_value_float")

    def adjoint(t: Tape, r: Value) -> Value:
        value = t.at(x)
        gone = t.op("IsNaN", value) if np.isnan(missing) else t.op("Equal", value, missing)
        t.absorb("bias", lambda: t.op("Where", gone, r, 0.0))
        return t.op("Where", gone, 0.0, r)

    return _moved(site, adjoint)


@op("ai.onnx.ml.FeatureVectorizer")
def feature_vectorizer(site: Site) -> Move:
    """Forward: the rows of all inputs side by side. Adjoint: r cut at the joints.

    What falls on constant inputs is absorbed as bias. Inputs that would be cut or padded to the
    stated sizes are refused.
    """
    values = [site.required(index) for index in range(len(site.inputs))]
    sizes = site.integers("inputdimensions")
    if [(value.shape or ())[1:] for value in values] != [(size,) for size in sizes]:
        raise UnsupportedOp("its inputs are not [N, size] with the sizes of inputdimensions")

    def adjoint(t: Tape, r: Relevance) -> Relevance:
        pieces = t.ops("Split", some(r), sizes, outputs=len(sizes), axis=1)
        for piece, live in zip(pieces, site.live, strict=True):
            if not live:
                t.absorb("bias", lambda piece=piece: piece)  # type: ignore[misc]
        return tuple(piece for piece, live in zip(pieces, site.live, strict=True) if live)

    operands = tuple(value for value, live in zip(values, site.live, strict=True) if live)
    return Move(operands=operands, output=site.output, adjoint=adjoint)


@op("ai.onnx.ml.OneHotEncoder")
def one_hot_encoder(site: Site) -> Kind:
    """Forward: 1 at the category of each element, 0 elsewhere, along a new last axis.

    Adjoint: of integers the sum of r over the new axis (relevance per position, as for `Gather`);
    through floating-point numbers nothing flows.
    """
    if site.required(0).is_float:
        return Stop(output=site.output)
    return _moved(site, lambda t, r: t.op("ReduceSum", r, [-1], keepdims=0))
