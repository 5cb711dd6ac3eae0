"""Resize: interpolation as one matrix per axis."""

import numpy as np

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Attribute, Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Move, Relevance, Stop, Thunk, some
from onnxlrp.ops.registry import op

ZERO, ONE = np.zeros(1, np.float32), np.ones(1, np.float32)


@op("Resize")
def resize(site: Site) -> Kind:
    """Interpolation, separable over the axes; roi, scales and sizes are stops.

    Forward: y = x M_1^T ... M_k^T + e, with the extrapolation value e outside of x.
    Adjoint: one product with M per resized axis; M is the same Resize of an identity matrix.
    """
    x, y = site.required(0), site.output
    if x.shape is None or x.rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    if not site.is_live(0):
        return Stop(output=y)
    _refuse_policy(site)
    attributes = _plain(site)
    resized = _resized(site)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        for axis in resized:
            r = _along(t, r, _matrix(t, site, axis), axis, x.rank or 0)
        return r

    return LinearMap(
        operands=(x,),
        output=y,
        bias=_outside(site),
        forward=lambda t, x, w: t.op("Resize", x, *site.inputs[1:], **attributes),
        adjoint=adjoint,
        positive=site.text("mode", "nearest") != "cubic",
    )


def _plain(site: Site) -> dict[str, Attribute]:
    """The attributes of the linear part, which is 0 outside of x."""
    attributes = dict(site.attributes)
    if site.number("extrapolation_value"):
        attributes["extrapolation_value"] = 0.0
    return attributes


def _crops(site: Site) -> bool:
    return site.text("coordinate_transformation_mode") == "tf_crop_and_resize"


def _outside(site: Site) -> Thunk | None:
    """The extrapolation value where the output lies outside of x."""
    if not _crops(site) or not site.number("extrapolation_value"):
        return None
    rest = site.inputs[1:]
    return lambda t: t.op("Resize", t.zeros(site.required(0)), *rest, **site.attributes)


def _resized(site: Site) -> list[int]:
    """The axes whose size may change."""
    x, y = site.required(0), site.output
    rank = x.rank or 0
    axes = [axis % rank for axis in site.integers("axes", list(range(rank)))]
    if _crops(site):
        return axes
    scales = site.input(2)
    if scales is not None and scales.constant is not None and scales.constant.size:
        known = scales.constant.tolist()
        return [axis for axis, scale in zip(axes, known, strict=True) if scale != 1]
    if y.shape is None or x.shape is None:
        return axes
    same = [a == b and isinstance(a, int | str) for a, b in zip(x.shape, y.shape, strict=True)]
    return [axis for axis in axes if not same[axis]]


def _matrix(t: Tape, site: Site, axis: int) -> Value:
    """M `[Y, X]`: the Resize of the identity `[X, X]` along its first axis."""
    x, y = site.required(0), site.output
    size = t.op("Shape", x, start=axis, end=axis + 1)
    steps = t.op("Range", t.constant_int(0), t.op("Squeeze", size), t.constant_int(1))
    eye = t.op("Cast", t.op("Equal", t.op("Unsqueeze", steps, [1]), steps), to=1)
    attributes: dict[str, Attribute] = {
        key: value
        for key, value in _plain(site).items()
        if key not in {"axes", "keep_aspect_ratio_policy"}
    }
    given = site.integers("axes", list(range(x.rank or 0)))
    index = [each % (x.rank or 1) for each in given].index(axis)
    roi = _part_of_roi(t, site, index, len(given)) if _crops(site) else None
    scales = site.input(2)
    if scales is not None and scales.size != 0:
        both = t.op("Concat", t.op("Slice", scales, [index], [index + 1]), ONE, axis=0)
        return t.op("Resize", eye, roi, both, **attributes)
    height = t.op("Shape", y, start=axis, end=axis + 1)
    if _common_scale(site):
        return _by_policy(t, site, eye, height, attributes)
    sizes = t.op("Concat", height, size, axis=0)
    return t.op("Resize", eye, roi, None, sizes, **attributes)


def _common_scale(site: Site) -> bool:
    """Whether all axes share one scale, which is not the quotient of their rounded sizes."""
    fixed = {"align_corners", "tf_crop_and_resize"}
    policy = site.text("keep_aspect_ratio_policy", "stretch")
    return policy != "stretch" and site.text("coordinate_transformation_mode") not in fixed


def _by_policy(
    t: Tape, site: Site, eye: Value, height: Value, attributes: dict[str, Attribute]
) -> Value:
    """M for the common scale: with the last element repeated, for a size may be rounded up."""
    x, sizes = site.required(0), site.required(3)
    axes = site.integers("axes", list(range(x.rank or 0)))
    given = t.op("Cast", t.op("Gather", t.op("Shape", x), axes), to=1)
    reduce = "ReduceMin" if site.text("keep_aspect_ratio_policy") == "not_larger" else "ReduceMax"
    scale = t.op(reduce, t.op("Div", t.op("Cast", sizes, to=1), given), keepdims=1)
    more = t.op("Cast", t.op("Ceil", t.op("Reciprocal", scale)), to=7)
    longer = t.op("Pad", eye, t.op("Concat", [0, 0], more, [0], axis=0), mode="edge")
    whole = t.op("Resize", longer, None, t.op("Concat", scale, ONE, axis=0), **attributes)
    return t.op("Slice", whole, [0], height, [0])


def _refuse_policy(site: Site) -> None:
    """The borders of these are not those of a longer input."""
    symmetric = site.text("coordinate_transformation_mode") == "half_pixel_symmetric"
    if _common_scale(site) and (
        symmetric or site.integer("exclude_outside") or site.integer("antialias")
    ):
        raise UnsupportedOp(
            "keep_aspect_ratio_policy with half_pixel_symmetric, exclude_outside or antialias"
        )


def _part_of_roi(t: Tape, site: Site, index: int, count: int) -> Value:
    """Start and end of one axis, and all of the columns of the identity."""
    roi = site.required(1)
    start, end = (t.op("Slice", roi, [i], [i + 1]) for i in (index, count + index))
    return t.op("Concat", start, ZERO, end, ONE, axis=0)


def _along(t: Tape, r: Value, matrix: Value, axis: int, rank: int) -> Value:
    """M^T r along one axis."""
    if axis == rank - 1:
        return t.op("MatMul", r, matrix)
    if axis == rank - 2:
        return t.op("MatMul", t.op("Transpose", matrix, perm=[1, 0]), r)
    order = [i for i in range(rank) if i != axis] + [axis]
    product = t.op("MatMul", t.op("Transpose", r, perm=order), matrix)
    return t.op("Transpose", product, perm=[order.index(i) for i in range(rank)])


@op("CenterCropPad")
def center_crop_pad(site: Site) -> Move:
    """Forward: the middle of x, or x in the middle of zeros, axis by axis. Adjoint: the opposite.

    What falls on the border is absorbed as padding.
    """
    x = site.required(0)
    if not site.is_live(0) or site.is_live(1):
        raise UnsupportedOp("its shape depends on the input")
    if x.rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    axes = [axis % x.rank for axis in site.integers("axes", list(range(x.rank)))]

    def adjoint(t: Tape, r: Relevance) -> Relevance:
        shape = t.op("Gather", t.shape(x), axes)
        t.absorb("padding", lambda: _border(t, some(r), site))
        return (t.op("CenterCropPad", some(r), shape, axes=axes),)

    return Move(operands=(x,), output=site.output, adjoint=adjoint)


def _border(t: Tape, r: Value, site: Site) -> Value:
    ones = t.op("Expand", 1.0, t.op("Shape", site.required(0)))
    inside = t.op("CenterCropPad", ones, site.required(1), **site.attributes)
    return t.op("Mul", r, t.op("Sub", 1.0, t.at(inside)))
