"""Sequences and optional values whose length is known: they are lists of values in the view."""

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.view import Site
from onnxlrp.lower.registry import lower
from onnxlrp.lower.sketch import Seen, Sketch, Stack


def _list(sketch: Sketch, index: int = 0) -> list[Value]:
    given = sketch.given[index] if index < len(sketch.given) else None
    if not isinstance(given, list):
        raise UnsupportedOp("the length of its sequence is not known")
    return given


def _place(sketch: Sketch, index: int, default: int) -> int:
    """A position that is a constant input."""
    given = sketch.given[index] if index < len(sketch.given) else None
    if given is None:
        return default
    if not isinstance(given, Value) or given.constant is None:
        raise UnsupportedOp("its position is computed")
    return int(given.constant.reshape(-1)[0])


@lower("SequenceEmpty")
def sequence_empty(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """No value."""
    return ([],)


@lower("SequenceConstruct")
def sequence_construct(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """The inputs in order."""
    return (list(site.sources),)


@lower("SequenceInsert")
def sequence_insert(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """One more value."""
    values = list(_list(sketch))
    values.insert(_place(sketch, 2, len(values)), site.required(1))
    return (values,)


@lower("SequenceErase")
def sequence_erase(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """One value less."""
    values = list(_list(sketch))
    del values[_place(sketch, 1, -1)]
    return (values,)


@lower("SequenceAt")
def sequence_at(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """One of the values."""
    stack = sketch.given[0]
    if isinstance(stack, Stack):
        return (sketch.op("Gather", stack.value, site.required(1), axis=0),)
    return (_list(sketch)[_place(sketch, 1, 0)],)


@lower("SequenceLength")
def sequence_length(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """A constant."""
    stack = sketch.given[0]
    if isinstance(stack, Stack):
        size = sketch.op("Shape", stack.value, start=0, end=1)
        return (sketch.op("Squeeze", size),)
    return (sketch.t.constant_int(len(_list(sketch))),)


@lower("ConcatFromSequence")
def concat_from_sequence(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """The values joined along an axis, which may be new."""
    axis = site.integer("axis")
    stack = sketch.given[0]
    if isinstance(stack, Stack):
        return (_joined(sketch, stack.value, axis, fresh=bool(site.integer("new_axis"))),)
    values = _list(sketch)
    if site.integer("new_axis"):
        values = [sketch.op("Unsqueeze", value, [axis]) for value in values]
    return (sketch.op("Concat", *values, axis=axis),)


def _joined(sketch: Sketch, stack: Value, axis: int, *, fresh: bool) -> Value:
    """The entries of a stack `[turns, ...]` joined along an axis of theirs, or along a new one."""
    if stack.rank is None:
        raise UnsupportedOp("the rank of what its sequence holds is not known")
    axis %= stack.rank if fresh else stack.rank - 1
    order = [*range(1, axis + 1), 0, *range(axis + 1, stack.rank)]
    moved = sketch.op("Transpose", stack, perm=order)
    if fresh:
        return moved
    start = sketch.op("Shape", moved, start=0, end=axis)
    end = sketch.op("Shape", moved, start=axis + 2)
    return sketch.op("Reshape", moved, sketch.op("Concat", start, [-1], end, axis=0))


@lower("SplitToSequence")
def split_to_sequence(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Pieces along an axis, of known sizes."""
    x, axis = site.required(0), site.integer("axis")
    dim = x.shape[axis] if x.shape else None
    if not isinstance(dim, int):
        raise UnsupportedOp("the size of the axis that it splits is not known")
    sizes = _sizes(site, dim)
    pieces = sketch.ops("Split", x, sizes, outputs=len(sizes), axis=axis)
    if site.input(1) is None and not site.integer("keepdims", 1):
        return ([sketch.op("Squeeze", piece, [axis]) for piece in pieces],)
    return (list(pieces),)


def _sizes(site: Site, dim: int) -> list[int]:
    given = site.input(1)
    if given is None:
        return [1] * dim
    if given.constant is None:
        raise UnsupportedOp("its sizes are computed")
    if given.rank:
        return [int(size) for size in given.constant]
    step = int(given.constant)
    return [min(step, dim - start) for start in range(0, dim, step)]


@lower("Optional", "OptionalGetElement")
def optional(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """The value itself."""
    if not sketch.given or sketch.given[0] is None:
        raise UnsupportedOp("it holds no value")
    return (sketch.given[0],)
