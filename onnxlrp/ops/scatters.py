"""Operators that write updates into data at indices."""

from collections.abc import Callable

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import Kind, LinearMap, Maybe, Move, Select, some
from onnxlrp.ops.positions import added, assign, positions_of, taken, tiled
from onnxlrp.ops.registry import op

Put = Callable[[Tape, Value, Value], Value]

FAR = 2**62
"""Greater than every position."""


@op("ScatterElements", "ScatterND")
def scatter_into(site: Site) -> Kind:
    """Forward: data with updates at indices: in its place, added, multiplied, or the extreme.

    Adjoint: `none`, `max`, `min`: r to the element, of data or updates, that each output is;
    `add`: r, and r gathered at the indices; `mul`: r times the updates. Under `add` one of data
    and updates depends on the input, under `mul` the data alone.
    """
    reduction = site.text("reduction", "none")
    if reduction == "none":
        parts = _parts(site, 0, 2)
        return _written(site, parts, lambda t, data, new: _put(t, site, data, new, "none"))
    if reduction in {"max", "min"}:
        return _extreme(site)
    if site.is_live(2) and (site.is_live(0) or reduction == "mul"):
        raise UnsupportedOp(
            f"reduction '{reduction}' with updates that depend on the input"
            + (", and data that do; add updates scattered into zeros" if reduction == "add" else "")
        )
    if site.is_live(2):
        return _sent(site)
    return _scaled(site) if reduction == "mul" else _shifted(site)


def _put(t: Tape, site: Site, data: Value, updates: Value, reduction: str) -> Value:
    attributes = {**site.attributes, "reduction": reduction}
    return t.op(site.op, data, site.required(1), updates, **attributes)


def _met(t: Tape, site: Site, data: Value) -> Value:
    """The elements of data that the updates meet, in the shape of the updates."""
    if site.op == "ScatterND":
        return t.op("GatherND", data, site.required(1))
    return t.op("GatherElements", data, site.required(1), axis=site.integer("axis"))


def _parts(site: Site, *indices: int) -> list[tuple[Value, bool]]:
    return [(site.required(index), site.is_live(index)) for index in indices]


def _written(site: Site, parts: list[tuple[Value, bool]], put: Put) -> Move:
    return Move(
        operands=tuple(part for part, live in parts if live),
        output=site.output,
        adjoint=lambda t, r: assign(t, some(r), site.output, parts, lambda at: put(t, *at)),
    )


def _extreme(site: Site) -> Select:
    """The data where they are equal to the output, else the first update that is."""
    data, updates, y = site.required(0), site.required(2), site.output
    parts = _parts(site, 0, 2)

    def source(t: Tape, at: list[Value]) -> Value:
        far = t.constant_int(FAR)
        own = t.op("Where", t.op("Equal", data, y), at[0], far)
        new = t.op("Where", t.op("Equal", updates, _met(t, site, y)), at[1], far)
        return _put(t, site, own, new, "min")

    return Select(
        operands=tuple(part for part, live in parts if live),
        output=y,
        winner=lambda t, r: assign(t, r, y, parts, lambda at: source(t, at)),
    )


def _sent(site: Site) -> LinearMap:
    """The updates added into data that do not depend on the input."""
    data, updates = site.required(0), site.required(2)

    def places(t: Tape) -> Value:
        return _met(t, site, positions_of(t, data))

    def forward(t: Tape, x: Value, w: Maybe) -> Value:
        return t.op("Reshape", added(t, x, places(t), data), t.shape(site.output))

    return LinearMap(
        operands=(updates,),
        output=site.output,
        bias=None if data.is_zero else lambda t: t.at(data),
        forward=forward,
        adjoint=lambda t, r, w: taken(t, r, places(t), updates),
    )


def _shifted(site: Site) -> LinearMap:
    """Data to which updates are added that do not depend on the input."""
    return LinearMap(
        operands=(site.required(0),),
        output=site.output,
        bias=lambda t: _constant(t, site, 0.0, "add"),
        forward=lambda t, x, w: x,
        adjoint=lambda t, r, w: r,
    )


def _scaled(site: Site) -> LinearMap:
    """Data that are multiplied by updates that do not depend on the input."""

    def scale(t: Tape, value: Value, w: Maybe) -> Value:
        return t.op("Mul", value, w)

    return LinearMap(
        operands=(site.required(0),),
        output=site.output,
        weight=lambda t: _constant(t, site, 1.0, "mul"),
        forward=scale,
        adjoint=scale,
    )


def _constant(t: Tape, site: Site, number: float, reduction: str) -> Value:
    """The updates in data that are one number everywhere, for every target."""
    data = t.op("Expand", number, t.op("Shape", site.required(0)))
    made = _put(t, site, data, site.required(2), reduction)
    return tiled(t, made, site.required(0).rank or 0)


@op("TensorScatter")
def tensor_scatter(site: Site) -> Move:
    """Forward: a cache with an update written at one place per sample.

    Adjoint: r to the element, of cache or update, that each output is; the places are stops.
    """
    return _written(
        site,
        _parts(site, 0, 1),
        lambda t, cache, update: t.op(
            "TensorScatter", cache, update, site.input(2), **site.attributes
        ),
    )
