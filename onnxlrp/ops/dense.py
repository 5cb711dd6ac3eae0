"""Matrix products and determinants."""

import numpy as np

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Dim, Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Norm, Product, Thunk
from onnxlrp.ops.registry import op


@op("Gemm")
def gemm(site: Site) -> Kind:
    """Dense layer.

    Forward: y = alpha op(A) op(B) + beta C.
    Adjoint: of the live factor; the other one is the weight.
    """
    if site.is_live(2):
        raise UnsupportedOp("its summand C depends on the input")
    alpha = site.number("alpha", 1.0)
    flags = (bool(site.integer("transA")), bool(site.integer("transB")))

    def scaled(t: Tape, value: Value) -> Value:
        return value if alpha == 1 else t.op("Mul", value, alpha)

    a, b = site.required(0), site.required(1)
    if site.is_live(0) and site.is_live(1):
        return Product(
            operands=(a, b),
            output=site.output,
            gates=(False, False),
            adjoints=(
                lambda t, r: _before(t, scaled(t, r), t.at(b), flags),
                lambda t, r: _behind(t, scaled(t, r), t.at(a), flags),
            ),
        )
    x, weight = (a, b) if site.is_live(0) else (b, a)

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        assert w is not None
        return _product(t, *((x, w) if site.is_live(0) else (w, x)), flags)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        assert w is not None
        undo = _before if site.is_live(0) else _behind
        if not _is_square(weight):
            return undo(t, r, w, flags)
        return _unread_transposed(t, r, w, flags, first=site.is_live(0))

    return LinearMap(
        operands=(x,),
        samplewise=site.is_live(0) and not flags[0],
        output=site.output,
        weight=lambda t: scaled(t, weight),
        bias=_scaled_bias(site),
        forward=forward,
        adjoint=adjoint,
    )


def _product(t: Tape, a: Value, b: Value, flags: tuple[bool, bool]) -> Value:
    return t.op("Gemm", a, b, transA=int(flags[0]), transB=int(flags[1]))


def _before(t: Tape, r: Value, b: Value, flags: tuple[bool, bool]) -> Value:
    """The adjoint of the first factor, from r and the second one."""
    if flags[0]:
        return _product(t, b, r, (flags[1], True))
    return _product(t, r, b, (False, not flags[1]))


def _unread_transposed(
    t: Tape, r: Value, w: Value, flags: tuple[bool, bool], *, first: bool
) -> Value:
    """The adjoint for a square weight, which is read as the forward pass reads it."""
    if first:
        result, straight = _product(t, w, r, (flags[1], True)), flags[0]
    else:
        result, straight = _product(t, r, w, (True, flags[0])), flags[1]
    return result if straight else t.op("Transpose", result, perm=[1, 0])


def _behind(t: Tape, r: Value, a: Value, flags: tuple[bool, bool]) -> Value:
    """The adjoint of the second factor, from r and the first one."""
    if flags[1]:
        return _product(t, r, a, (True, flags[0]))
    return _product(t, a, r, (not flags[0], False))


def _scaled_bias(site: Site) -> Thunk | None:
    bias, beta = site.input(2), site.number("beta", 1.0)
    if bias is None or beta == 0 or bias.is_zero:
        return None
    return lambda t: bias if beta == 1 else t.op("Mul", bias, beta)


@op("MatMul")
def matmul(site: Site) -> Kind:
    """Matrix product; a third input is a bias that a canonizer moved in.

    Forward: y = A B (+ b).
    Adjoint: r B^T or A^T r; leading axes that were broadcast are summed.
    """
    a, b = site.required(0), site.required(1)
    if a.rank is None or b.rank is None:
        raise UnsupportedOp("the rank of its factors is not known")
    if site.is_live(0) and site.is_live(1):
        return Product(
            operands=(a, b),
            output=site.output,
            gates=(False, False),
            switch=site.switch,
            adjoints=(
                lambda t, r: _left(t, r, t.at(b), site),
                lambda t, r: _right(t, r, t.at(a), site),
            ),
        )
    first = site.is_live(0)
    x, w = (a, b) if first else (b, a)
    bias = site.input(2)

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        return t.op("MatMul", x, w) if first else t.op("MatMul", w, x)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        assert w is not None
        return _left(t, r, w, site) if first else _right(t, r, w, site)

    return LinearMap(
        operands=(x,),
        output=site.output,
        weight=lambda t: w,
        bias=None if bias is None or bias.is_zero else lambda t: bias,
        forward=forward,
        adjoint=adjoint,
    )


def _left(t: Tape, r: Value, b: Value, site: Site) -> Value:
    """R B^T, in the shape of A."""
    a, shaped = site.required(0), site.required(1)
    if shaped.rank == 1:
        return t.op("Mul", r if a.rank == 1 else t.op("Unsqueeze", r, [-1]), b)
    if a.rank == 1:
        r = t.op("Unsqueeze", r, [-2])
    if _is_square(shaped):
        rank = max((site.output.rank or 0) + (a.rank == 1), 2)
        result = _swapped(t, t.op("MatMul", b, _swapped(t, r, rank)), rank)
    else:
        result = t.op("MatMul", r, _swapped(t, b, shaped.rank or 2))
    if a.rank == 1:
        result = t.op("Squeeze", result, [-2])
    return _summed(t, result, a, shaped)


def _right(t: Tape, r: Value, a: Value, site: Site) -> Value:
    """A^T r, in the shape of B."""
    shaped, b = site.required(0), site.required(1)
    if shaped.rank == 1 and b.rank == 1:
        return t.op("Mul", r, a)
    if shaped.rank == 1:
        r, a = t.op("Unsqueeze", r, [-2]), t.op("Unsqueeze", a, [0])
    if b.rank == 1:
        r = t.op("Unsqueeze", r, [-1])
    if _is_square(shaped):
        rank = max((site.output.rank or 0) + (b.rank == 1), 2)
        result = _swapped(t, t.op("MatMul", _swapped(t, r, rank), a), rank)
    else:
        result = t.op("MatMul", _swapped(t, a, max(shaped.rank or 2, 2)), r)
    if b.rank == 1:
        result = t.op("Squeeze", result, [-1])
    return _summed(t, result, b, shaped)


def _is_square(weight: Value) -> bool:
    """Whether a matrix is square: such a one is never read transposed, but the relevance is.

    OpenVINO 2026.4 takes one packed copy of a square constant for both readings, without an error.
    """
    return weight.rank == 2 and not weight.variable and len(set(weight.shape or ())) == 1


def _swapped(t: Tape, value: Value, rank: int) -> Value:
    return t.op("Transpose", value, perm=[*range(rank - 2), rank - 1, rank - 2])


def _summed(t: Tape, result: Value, operand: Value, other: Value) -> Value:
    """Sum the leading axes along which the operand was broadcast."""
    mine, theirs = operand.shape or (), other.shape or ()
    extra = max(len(theirs), 2) - max(len(mine), 2)
    if extra > 0:
        result = t.op("ReduceSum", result, list(range(extra)), keepdims=0)
    lacking = max(-extra, 0)
    pairs = list(zip(mine[lacking:-2], theirs[max(extra, 0) : -2], strict=True))
    ones = [axis + lacking for axis, (own, dim) in enumerate(pairs) if own == 1 and dim != 1]
    if ones:
        result = t.op("ReduceSum", result, ones, keepdims=1)
    if not any(_may_differ(own, dim) for own, dim in pairs):
        return result
    single = t.op("Equal", t.op("Slice", t.shape(operand), [0], [-2]), [1])
    axes = t.op("Reshape", t.op("NonZero", single), [-1])
    return t.op("ReduceSum", result, axes, keepdims=1, noop_with_empty_axes=1)


def _may_differ(own: Dim, dim: Dim) -> bool:
    """Whether a symbolic axis may be 1 where that of the other factor is not."""
    return not isinstance(own, int) and dim != 1 and (own is None or own != dim)


@op("Det")
def det(site: Site) -> Norm:
    """Determinant of n x n matrices, n known.

    Forward: y = det X = sum_j x_ij c_ij for every row i, c_ij the cofactor.
    Derivative: c_ij r. Under LRP x_ij takes x_ij c_ij / (n y) of r.
    """
    x = site.required(0)
    size = x.shape[-1] if x.shape else None
    if not isinstance(size, int):
        raise UnsupportedOp("the size of its matrices is not known")

    def derivative(t: Tape, r: Value) -> Value:
        column = t.op("Unsqueeze", r, [-2, -1])
        return t.op("Mul", column, _cofactors(t, t.at(x), x.rank or 2, size))

    return Norm(
        operands=(x,),
        output=site.output,
        frozen=lambda t, r: t.op("Div", derivative(t, r), float(size)),
        derivative=derivative,
    )


def _cofactors(t: Tape, x: Value, rank: int, size: int) -> Value:
    """The signed determinants of all minors: `[..., n, n]`."""
    if size == 1:
        return t.scalar(1.0)
    others = np.array([[j for j in range(size) if j != i] for i in range(size)], dtype=np.int64)
    columns = t.op("Gather", x, others, axis=rank - 1)
    minors = t.op("Gather", columns, others, axis=rank - 2)
    lead = list(range(rank - 2))
    turned = t.op("Transpose", minors, perm=[*lead, *(rank - 2 + i for i in (0, 2, 1, 3))])
    signs = (-1.0) ** np.add.outer(np.arange(size), np.arange(size))
    return t.op("Mul", t.op("Det", turned), signs.astype(np.float32))
