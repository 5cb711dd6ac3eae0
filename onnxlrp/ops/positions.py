"""The adjoint of any move: where each element of the output came from."""

from collections.abc import Callable, Sequence

from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape

__all__ = ["added", "assign", "positions_of", "scatter", "taken", "tiled"]


def scatter(t: Tape, r: Value, x: Value, move: Callable[[Value], Value]) -> Value:
    """The adjoint of any move: apply it to the positions of x, then add r at these positions.

    The move sees the positions of the forward value itself, without the copies of several targets.
    """
    moved = move(positions_of(t, x))
    return t.op("Reshape", added(t, r, moved, x), t.shape(x))


def positions_of(t: Tape, x: Value) -> Value:
    """The positions of the elements of a forward value, in its shape."""
    shape = _own_shape(t, x)
    line = t.op("Range", t.constant_int(0), _count(t, x), t.constant_int(1))
    return t.op("Reshape", line, shape)


def added(t: Tape, r: Value, at: Value, x: Value) -> Value:
    """Zeros as many as x has elements, one row per target, with r added at positions."""
    return _added(t, r, at, _count(t, x))


def taken(t: Tape, r: Value, at: Value, like: Value) -> Value:
    """The elements of r at positions, in the shape of the relevance of a forward value."""
    if t.targets == 1:
        found = t.op("Gather", t.op("Reshape", r, [-1]), t.op("Reshape", at, [-1]))
    else:
        rows = t.op("Reshape", r, [t.targets, -1])
        found = t.op("Gather", rows, t.op("Reshape", at, [-1]), axis=1)
    return t.op("Reshape", found, t.shape(like))


def assign(
    t: Tape,
    r: Value,
    output: Value,
    parts: Sequence[tuple[Value, bool]],
    source: Callable[[list[Value]], Value],
) -> tuple[Value, ...]:
    """The adjoint of a map whose every output element is one element of one of several values.

    What falls on values that do not depend on the input is absorbed as bias.

    Args:
        t: The tape.
        r: Relevance of the output.
        output: The forward value of the output.
        parts: The forward values, and whether each depends on the input.
        source: From the positions of all elements, counted through the parts, to those of the
            output.
    """
    bounds, positions = [t.constant_int(0)], []
    for part, _ in parts:
        shape = _own_shape(t, part)
        bounds.append(t.op("Add", bounds[-1], _count(t, part)))
        line = t.op("Range", bounds[-2], bounds[-1], t.constant_int(1))
        positions.append(t.op("Reshape", line, shape))
    at = source(positions)
    flat = _added(t, r, at, bounds[-1])
    pieces = []
    for (part, live), *span in zip(parts, bounds[:-1], bounds[1:], strict=True):
        if live:
            edges = (t.op("Reshape", bound, [1]) for bound in span)
            pieces.append(t.op("Reshape", t.op("Slice", flat, *edges, [-1]), t.shape(part)))
        else:
            t.absorb("bias", lambda span=span: _within(t, r, output, at, span))  # type: ignore[misc]
    return tuple(pieces)


def _within(t: Tape, r: Value, output: Value, at: Value, span: list[Value]) -> Value:
    """The relevance of the output elements that come from a span of positions."""
    inside = t.op("And", t.op("GreaterOrEqual", at, span[0]), t.op("Less", at, span[1]))
    return t.op("Where", tiled(t, inside, output.rank or 0), r, 0.0)


def tiled(t: Tape, value: Value, rank: int) -> Value:
    """Copy what is known of a forward value once per target."""
    return value if t.targets == 1 else t.op("Tile", value, [t.targets] + [1] * (rank - 1))


def _own_shape(t: Tape, x: Value) -> Value:
    """The shape of a forward value itself."""
    return t.shape(x) if t.targets == 1 else t.op("Shape", x)


def _count(t: Tape, x: Value) -> Value:
    return t.op("ReduceProd", _own_shape(t, x), keepdims=0)


def _added(t: Tape, r: Value, at: Value, count: Value) -> Value:
    """Zeros `[count]`, or `[T, count]` for T targets, with r added at positions."""
    size = t.op("Reshape", count, [1])
    if t.targets == 1:
        zeros, index = t.op("Expand", 0.0, size), t.op("Reshape", at, [-1])
        rows = t.op("Reshape", r, [-1])
        return t.op("ScatterElements", zeros, index, rows, axis=0, reduction="add")
    rows = t.op("Reshape", r, [t.targets, -1])
    zeros = t.op("Expand", 0.0, t.op("Concat", [t.targets], size, axis=0))
    index = t.op("Expand", t.op("Reshape", at, [1, -1]), t.op("Shape", rows))
    return t.op("ScatterElements", zeros, index, rows, axis=1, reduction="add")
