"""Resize: interpolation as one matrix per axis."""

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Attribute, Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import LinearMap, Maybe
from onnxlrp.ops.registry import op


@op("Resize")
def resize(site: Site) -> LinearMap:
    """Interpolation, separable over the axes.

    Forward: y = x M_1^T ... M_k^T.
    Adjoint: one product with M per resized axis; M is the same Resize of an identity matrix.
    """
    x, y = site.required(0), site.output
    if x.shape is None or x.rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    if site.text("coordinate_transformation_mode") == "tf_crop_and_resize":
        raise UnsupportedOp("coordinate_transformation_mode tf_crop_and_resize")
    resized = _resized(site)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        for axis in resized:
            r = _along(t, r, _matrix(t, site, axis), axis, x.rank or 0)
        return r

    return LinearMap(
        operands=(x,),
        output=y,
        forward=lambda t, x, w: t.op("Resize", x, *site.inputs[1:], **site.attributes),
        adjoint=adjoint,
        positive=site.text("mode", "nearest") != "cubic",
    )


def _resized(site: Site) -> list[int]:
    """The axes whose size may change."""
    x, y = site.required(0), site.output
    rank = x.rank or 0
    axes = [axis % rank for axis in site.integers("axes", list(range(rank)))]
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
        for key, value in site.attributes.items()
        if key not in {"axes", "keep_aspect_ratio_policy"}
    }
    scales = site.input(2)
    if scales is not None and scales.size != 0:
        given = site.integers("axes", list(range(x.rank or 0)))
        index = [axis % (x.rank or 1) for axis in given].index(axis)
        both = t.op("Concat", t.op("Slice", scales, [index], [index + 1]), _one(t), axis=0)
        return t.op("Resize", eye, None, both, **attributes)
    sizes = t.op("Concat", t.op("Shape", y, start=axis, end=axis + 1), size, axis=0)
    return t.op("Resize", eye, None, None, sizes, **attributes)


def _one(t: Tape) -> Value:
    return t.op("Reshape", 1.0, [1])


def _along(t: Tape, r: Value, matrix: Value, axis: int, rank: int) -> Value:
    """M^T r along one axis."""
    if axis == rank - 1:
        return t.op("MatMul", r, matrix)
    if axis == rank - 2:
        return t.op("MatMul", t.op("Transpose", matrix, perm=[1, 0]), r)
    order = [i for i in range(rank) if i != axis] + [axis]
    product = t.op("MatMul", t.op("Transpose", r, perm=order), matrix)
    return t.op("Transpose", product, perm=[order.index(i) for i in range(rank)])
