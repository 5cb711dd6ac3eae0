"""Operators that copy, reorder or drop elements."""

from collections.abc import Callable

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, Move, Relevance, Stop, some
from onnxlrp.ops.positions import scatter
from onnxlrp.ops.registry import op

BOOL = 9
"""Number of the boolean type."""


def _move(site: Site, adjoint: Callable[[Tape, Value], Value]) -> Move:
    """A move of the first input, with one output."""
    return Move(
        operands=(site.required(0),),
        output=site.output,
        adjoint=lambda t, r: (adjoint(t, some(r)),),
    )


@op("Identity")
def identity(site: Site) -> Move:
    """Forward: y = x. Adjoint: r."""
    return _move(site, lambda t, r: r)


@op("Dropout")
def dropout(site: Site) -> Move:
    """Forward: y = x, outside of training. Adjoint: r."""
    training = site.input(2)
    if training is not None and (training.constant is None or training.constant.any()):
        raise UnsupportedOp("training_mode may be true; export the model in evaluation mode")
    return _move(site, lambda t, r: r)


@op("Cast", "CastLike")
def cast(site: Site) -> Kind:
    """Forward: y = x in another type. Adjoint: r.

    To integers nothing flows, but for token ids, which stay what they are.
    """
    x, y = site.required(0), site.output
    if not y.is_float and not site.integer("token_ids") and (x.is_float or y.dtype == BOOL):
        return Stop(output=y)
    return _move(site, lambda t, r: r)


@op("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(site: Site) -> Move:
    """Forward: the same elements in another shape. Adjoint: r in the shape of x."""
    return _move(site, lambda t, r: t.reshape(r, site.required(0)))


@op("Transpose")
def transpose(site: Site) -> Move:
    """Forward: axes permuted. Adjoint: the inverse permutation."""
    rank = site.required(0).rank
    if rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    perm = site.integers("perm", list(range(rank))[::-1])
    if sorted(perm) != list(range(rank)):
        raise UnsupportedOp(f"its permutation {perm} is not one of {rank} axes")
    inverse = [perm.index(axis) for axis in range(rank)]
    return _move(site, lambda t, r: t.op("Transpose", r, perm=inverse))


@op("Expand")
def expand(site: Site) -> Move:
    """Forward: broadcast to a shape. Adjoint: r summed over the copies."""
    return Move(
        operands=(site.required(0),),
        output=site.output,
        broadcasts=True,
        adjoint=lambda t, r: (some(r),),
    )


@op("Tile")
def tile(site: Site) -> Move:
    """Forward: the input repeated along each axis. Adjoint: r summed over the copies."""
    return _move(
        site,
        lambda t, r: scatter(t, r, site.required(0), lambda at: t.op("Tile", at, site.required(1))),
    )


@op("Gather", "GatherElements", "GatherND")
def gather(site: Site) -> Kind:
    """Forward: y = x[indices]. Adjoint: r added at the indices.

    Indices that depend on the input select rows of a table: their relevance is the sum of r
    over the row, `[N, L]`. Where the table depends on the input too, it takes all.
    """
    if not site.is_live(0):
        return _lookup(site)
    indices = site.required(1)
    return _move(
        site,
        lambda t, r: scatter(
            t, r, site.required(0), lambda at: t.op(site.op, at, indices, **site.attributes)
        ),
    )


def _lookup(site: Site) -> Kind:
    table, indices = site.required(0), site.required(1)
    if site.op != "Gather" or table.rank is None or indices.rank is None:
        raise UnsupportedOp("its indices depend on the input")
    axis = site.integer("axis") % table.rank
    rank = indices.rank + table.rank - 1
    axes = [i for i in range(rank) if not axis <= i < axis + indices.rank]
    return Move(
        operands=(indices,),
        output=site.output,
        adjoint=lambda t, r: (t.op("ReduceSum", some(r), axes, keepdims=0) if axes else some(r),),
    )


@op("Slice")
def slice_(site: Site) -> Move:
    """Forward: y = x[starts:ends:steps]. Adjoint: r at its place in zeros."""
    x = site.required(0)

    def adjoint(t: Tape, r: Value) -> Value:
        pads = _slice_pads(site)
        if pads is not None:
            return t.op("Pad", r, pads)
        return scatter(t, r, x, lambda at: t.op("Slice", at, *site.inputs[1:]))

    return _move(site, adjoint)


def _slice_pads(site: Site) -> list[int] | None:
    """The zeros around r, where the slice is known, without steps, of static axes but the batch."""
    x = site.required(0)
    constants = [None if v is None else v.constant for v in site.inputs[1:]]
    if x.shape is None or any(
        c is None for c, v in zip(constants, site.inputs[1:], strict=True) if v is not None
    ):
        return None
    starts, ends, axes, steps = [*constants, None, None][:4]
    assert starts is not None
    assert ends is not None
    chosen = range(len(starts)) if axes is None else [int(axis) for axis in axes]
    if steps is not None and any(int(step) != 1 for step in steps):
        return None
    pads = [0] * 2 * len(x.shape)
    for axis, start, end in zip(chosen, starts, ends, strict=True):
        dim = x.shape[axis]
        if not isinstance(dim, int) or axis % len(x.shape) == 0:
            return None
        first, stop, _ = slice(int(start), int(end)).indices(dim)
        pads[axis % len(x.shape)] = first
        pads[axis % len(x.shape) + len(x.shape)] = dim - max(stop, first)
    return pads


@op("Split")
def split(site: Site) -> Move:
    """Forward: pieces along an axis. Adjoint: the pieces joined, zeros for those without r."""
    axis = site.integer("axis")

    def adjoint(t: Tape, r: Relevance) -> Relevance:
        pieces = [
            t.zeros(value) if piece is None else piece
            for piece, value in zip(r, site.outputs, strict=True)
            if value is not None
        ]
        return (t.op("Concat", *pieces, axis=axis),)

    return Move(operands=(site.required(0),), output=site.output, adjoint=adjoint)


@op("Concat")
def concat(site: Site) -> Move:
    """Forward: inputs joined along an axis. Adjoint: r cut at the joints.

    What falls on constant inputs is absorbed as bias.
    """
    axis, rank = site.integer("axis"), site.output.rank
    if rank is None or not -rank <= axis < rank:
        raise UnsupportedOp(f"its axis {axis} is none of its output")

    def adjoint(t: Tape, r: Relevance) -> Relevance:
        pieces = t.ops("Split", some(r), _sizes(t, site, axis), outputs=len(site.inputs), axis=axis)
        for piece, live in zip(pieces, site.live, strict=True):
            if not live:
                t.absorb("bias", lambda piece=piece: piece)  # type: ignore[misc]
        return tuple(piece for piece, live in zip(pieces, site.live, strict=True) if live)

    operands = (v for v, live in zip(site.inputs, site.live, strict=True) if live and v is not None)
    return Move(operands=tuple(operands), output=site.output, adjoint=adjoint)


def _sizes(t: Tape, site: Site, axis: int) -> Value | list[int]:
    dims = [value.shape[axis] if value and value.shape else None for value in site.inputs]
    if all(isinstance(dim, int) for dim in dims):
        return [dim for dim in dims if isinstance(dim, int)]
    end = {} if axis == -1 else {"end": axis + 1}
    return t.op("Concat", *(t.op("Shape", v, start=axis, **end) for v in site.inputs), axis=0)


@op("Pad")
def pad(site: Site) -> Move:
    """Forward: x with a border. Adjoint: r cut to x; of copied borders added to their source.

    What falls on a constant border is absorbed as padding.
    """
    x, mode = site.required(0), site.text("mode", "constant")
    rest = site.inputs[3:]

    def adjoint(t: Tape, r: Value) -> Value:
        if mode != "constant":
            return scatter(
                t, r, x, lambda at: t.op("Pad", at, site.required(1), None, *rest, mode=mode)
            )
        result = _unpad(t, r, site)
        t.absorb("padding", lambda: _border(t, r, site))
        return result

    return _move(site, adjoint)


def _border(t: Tape, r: Value, site: Site) -> Value:
    ones = t.op("Expand", 1.0, t.shape(site.required(0)))
    inside = t.op("Pad", ones, site.required(1), 0.0, *site.inputs[3:])
    return t.op("Mul", r, t.op("Sub", 1.0, inside))


def _unpad(t: Tape, r: Value, site: Site) -> Value:
    """The adjoint of padding with a constant is padding with the opposite numbers."""
    opposite = t.op("Neg", site.required(1))
    return t.op("Pad", r, opposite, 0.0, *site.inputs[3:])


@op("DepthToSpace")
def depth_to_space(site: Site) -> Move:
    """Forward: channels to blocks of pixels. Adjoint: the blocks back to channels."""
    x, size = site.required(0), site.integer("blocksize")

    def adjoint(t: Tape, r: Value) -> Value:
        back = t.op("SpaceToDepth", r, blocksize=size)
        if site.text("mode", "DCR") == "DCR":
            return back
        split = t.op("Reshape", back, t.op("Concat", [0, size**2, -1], _area(t, x), axis=0))
        return t.reshape(t.op("Transpose", split, perm=[0, 2, 1, 3]), x)

    return _move(site, adjoint)


def _area(t: Tape, x: Value) -> Value:
    return t.op("ReduceProd", t.op("Shape", x, start=2), keepdims=1)


@op("SpaceToDepth")
def space_to_depth(site: Site) -> Move:
    """Forward: blocks of pixels to channels. Adjoint: the channels back to blocks."""
    size = site.integer("blocksize")
    return _move(site, lambda t, r: t.op("DepthToSpace", r, blocksize=size, mode="DCR"))
