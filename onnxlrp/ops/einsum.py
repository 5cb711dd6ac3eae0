"""Sums of products after Einstein's convention."""

import string
from collections.abc import Sequence
from dataclasses import dataclass

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Dim, Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Product
from onnxlrp.ops.registry import op

ELLIPSIS = "..."


@dataclass(frozen=True)
class _Equation:
    """Subscripts, one letter per axis; `wide` letters stand for the axes of an ellipsis."""

    terms: tuple[str, ...]
    result: str
    wide: str

    def __str__(self) -> str:
        return f"{','.join(self.terms)}->{self.result}"


def _parse(site: Site) -> _Equation:
    text = site.text("equation").replace(" ", "")
    left, arrow, right = text.partition("->")
    given = left.split(",")
    ranks = [site.required(index).rank for index in range(len(given))]
    if any(rank is None for rank in ranks):
        raise UnsupportedOp("the rank of its inputs is not known")
    free = [letter for letter in string.ascii_letters if letter not in text]
    counts = [
        (rank or 0) - len(term.replace(ELLIPSIS, "")) if ELLIPSIS in term else 0
        for term, rank in zip(given, ranks, strict=True)
    ]
    wide = "".join(free[: max(counts)])
    terms = tuple(
        term.replace(ELLIPSIS, wide[len(wide) - count :])
        for term, count in zip(given, counts, strict=True)
    )
    if arrow:
        return _Equation(terms, right.replace(ELLIPSIS, wide), wide)
    named = left.replace(",", "").replace(ELLIPSIS, "")
    once = sorted(letter for letter in set(named) if named.count(letter) == 1)
    return _Equation(terms, wide + "".join(once), wide)


def _einsum(t: Tape, terms: Sequence[str], result: str, values: Sequence[Value]) -> Value:
    return t.op("Einsum", *values, equation=f"{','.join(terms)}->{result}")


@op("Einsum")
def einsum(site: Site) -> Kind:
    """Forward: y = sum over the subscripts that the result lacks of the product of the inputs.

    Adjoint of one input: the same sum with the subscripts of that input and of the result
    exchanged, r in the place of the input. Subscripts that only this input has are spread, those
    that it repeats are put on the diagonal, axes of size 1 that were broadcast are summed.
    One live input is a linear map, its weight the product of the others.
    """
    equation = _parse(site)
    live = [index for index in range(len(equation.terms)) if site.is_live(index)]
    if len(live) == 1:
        return _linear(site, equation, live[0])
    return Product(
        operands=tuple(site.required(index) for index in live),
        output=site.output,
        gates=(False,) * len(live),
        adjoints=tuple(
            lambda t, r, index=index: _adjoint(t, r, site, equation, index)  # type: ignore[misc]
            for index in live
        ),
    )


def _linear(site: Site, equation: _Equation, live: int) -> LinearMap:
    others = [index for index in range(len(equation.terms)) if index != live]
    own = equation.terms[live]
    kept = "".join(dict.fromkeys(own + equation.result))
    terms = [equation.terms[index] for index in others]
    joined = terms[0] if len(terms) == 1 else "".join(x for x in kept if x in "".join(terms))

    def weight(t: Tape) -> Value:
        values = [t.at(site.required(index)) for index in others]
        return values[0] if len(values) == 1 else _einsum(t, terms, joined, values)

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        if w is None:
            return _einsum(t, [own], equation.result, [x])
        return _einsum(t, [own, joined], equation.result, [x, w])

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        pairs = [] if w is None else [(joined, w)]
        return _swapped(t, r, site, equation, live, pairs)

    return LinearMap(
        operands=(site.required(live),),
        output=site.output,
        weight=weight if others else None,
        forward=forward,
        adjoint=adjoint,
    )


def _adjoint(t: Tape, r: Value, site: Site, equation: _Equation, index: int) -> Value:
    pairs = [
        (term, t.at(site.required(other)))
        for other, term in enumerate(equation.terms)
        if other != index
    ]
    return _swapped(t, r, site, equation, index, pairs)


def _swapped(
    t: Tape,
    r: Value,
    site: Site,
    equation: _Equation,
    index: int,
    others: list[tuple[str, Value]],
) -> Value:
    """The adjoint of input `index`; `others` are the subscripts and values of the factors."""
    x, own = site.required(index), equation.terms[index]
    free = [letter for letter in string.ascii_letters if letter not in str(equation)]
    target, factors = "", [(equation.result, r), *others]
    for axis, letter in enumerate(own):
        known = "".join(term for term, _ in factors)
        if letter in target:
            fresh = free.pop()
            factors.append((letter + fresh, _diagonal(t, x, axis)))
            letter = fresh
        elif letter not in known:
            factors.append((letter, t.op("Expand", 1.0, _size(t, x, axis))))
        target += letter
    back = _einsum(t, [term for term, _ in factors], target, [value for _, value in factors])
    return _narrowed(t, back, site, equation, index)


def _diagonal(t: Tape, x: Value, axis: int) -> Value:
    """The identity matrix of the size of an axis."""
    size = t.op("Squeeze", _size(t, x, axis))
    line = t.op("Range", t.constant_int(0), size, t.constant_int(1))
    same = t.op("Equal", t.op("Unsqueeze", line, [0]), t.op("Unsqueeze", line, [1]))
    return t.op("Cast", same, to=1)


def _size(t: Tape, x: Value, axis: int) -> Value:
    return t.op("Gather", t.shape(x), [axis], axis=0)


def _sizes(site: Site, equation: _Equation, letter: str, index: int) -> list[Dim]:
    """The sizes that the other inputs state for a letter."""
    pairs = (
        (site.required(other).shape or (), term)
        for other, term in enumerate(equation.terms)
        if other != index
    )
    return [shape[term.index(letter)] for shape, term in pairs if letter in term]


def _narrowed(t: Tape, back: Value, site: Site, equation: _Equation, index: int) -> Value:
    """Sum the axes along which the input was broadcast."""
    x, own = site.required(index), equation.terms[index]
    shape, ones, unsure = x.shape or (), [], []
    for axis, letter in enumerate(own):
        others = [size for size in _sizes(site, equation, letter, index) if size != shape[axis]]
        if shape[axis] == 1 and others:
            ones.append(axis)
        elif others and letter in equation.wide and not isinstance(shape[axis], int):
            unsure.append(axis)
    if t.targets > 1:
        unsure = [axis for axis in unsure if axis > 0]
    if ones:
        back = t.op("ReduceSum", back, ones, keepdims=1)
    if not unsure:
        return back
    single = t.op("Equal", t.op("Gather", t.op("Shape", x), unsure, axis=0), [1])
    axes = t.op("Gather", unsure, t.op("Reshape", t.op("NonZero", single), [-1]), axis=0)
    return t.op("ReduceSum", back, axes, keepdims=1, noop_with_empty_axes=1)
