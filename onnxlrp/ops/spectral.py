"""Discrete Fourier transforms; complex numbers are pairs on the last axis."""

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Value
from onnxlrp.graph.tape import Tape
from onnxlrp.graph.view import Site
from onnxlrp.ops.kinds import LinearMap, Maybe
from onnxlrp.ops.registry import op
from onnxlrp.ops.taps import FLOAT, range_to


@op("DFT")
def dft(site: Site) -> LinearMap:
    """Fourier transform along one axis, of `dft_length` n.

    Forward: y = F x; `inverse`: y = conj(F) x / n; `onesided`: without the bins that mirror
    others.
    Adjoint: conj(F) r, or F r / n, cut or filled up to the length of x; its real part for a real x.
    """
    x = site.required(0)
    if not site.is_live(0):
        raise UnsupportedOp("its length or axis depends on the input")
    axis = _axis(site)
    inverse, half = bool(site.integer("inverse")), bool(site.integer("onesided"))
    if inverse and half:
        _check_bins(site, axis)

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        if axis == 0 and t.targets > 1:
            raise UnsupportedOp("several targets per sample over an axis that mixes samples")
        length = t.op("Shape", x, start=axis, end=axis + 1)
        if inverse and half:
            n = t.op("Shape", site.output, start=axis, end=axis + 1)
            back = t.op("DFT", r, None, t.constant_int(axis), onesided=1)
            back = t.op("Div", _doubled(t, back, n, axis, x.rank or 0), t.op("Cast", n, to=FLOAT))
        else:
            n = length if site.input(1) is None else t.op("Reshape", site.input(1), [1])
            back = _back(t, _resized(t, r, n, axis) if half else r, n, axis, inverse=inverse)
        return _like(t, _resized(t, back, length, axis), x)

    return LinearMap(
        operands=(x,),
        output=site.output,
        forward=lambda t, x, w: t.op("DFT", x, *site.inputs[1:], **site.attributes),
        adjoint=adjoint,
        positive=False,
    )


def _axis(site: Site) -> int:
    x, given = site.required(0), site.input(2)
    if x.rank is None:
        raise UnsupportedOp("the rank of its input is not known")
    if given is None:
        return (site.integer("axis", 1) if site.opset < 20 else -2) % x.rank
    if given.constant is None:
        raise UnsupportedOp("its axis is computed at run time")
    return int(given.constant.reshape(-1)[0]) % x.rank


def _check_bins(site: Site, axis: int) -> None:
    """Refuse a real output of n elements from other than n / 2 + 1 bins: runtimes differ."""
    length, bins = site.input(1), (site.required(0).shape or ())[axis]
    if length is None or length.constant is None or not isinstance(bins, int):
        return
    n = int(length.constant.reshape(-1)[0])
    if bins != n // 2 + 1:
        raise UnsupportedOp(f"{bins} bins for a real output of {n} elements")


def _back(t: Tape, r: Value, n: Value, axis: int, *, inverse: bool) -> Value:
    """conj(F) r = n times the inverse transform of r; F r / n for the adjoint of the inverse."""
    size = t.op("Cast", n, to=FLOAT)
    if inverse:
        return t.op("Div", t.op("DFT", r, None, t.constant_int(axis)), size)
    return t.op("Mul", t.op("DFT", r, None, t.constant_int(axis), inverse=1), size)


def _doubled(t: Tape, r: Value, n: Value, axis: int, rank: int) -> Value:
    """Twice the bins that stand for a mirrored one too: all but the first, and the middle one."""
    bins = range_to(t, t.op("Shape", r, start=axis, end=axis + 1))
    twice = t.op("Mul", bins, [2])
    alone = t.op("Or", t.op("Equal", twice, [0]), t.op("Equal", twice, n))
    weight = t.op("Where", alone, 1.0, 2.0)
    return t.op("Mul", r, t.op("Reshape", weight, [-1] + [1] * (rank - 1 - axis)))


def _resized(t: Tape, r: Value, length: Value, axis: int) -> Value:
    """Cut one axis or fill it up with zeros at its end."""
    more = t.op("Sub", length, t.op("Shape", r, start=axis, end=axis + 1))
    return t.op("Pad", r, t.op("Concat", [0], more, axis=0), 0.0, [axis])


def _like(t: Tape, r: Value, x: Value) -> Value:
    """The real part where x is real."""
    last = t.op("Shape", x, start=-1)
    return t.op("Slice", r, [0], last, [-1])


@op("STFT")
def stft(site: Site) -> LinearMap:
    """Fourier transforms of frames of a signal `[N, L, 1 or 2]`, every `frame_step` elements.

    Forward: y_f = F (w * x_f); the window w, the step and the length are stops.
    Adjoint: w * conj(F) r_f, added where the frame was taken.
    """
    x, step, window = site.required(0), site.required(1), site.input(2)
    if not site.is_live(0) or any(site.live[1:]):
        raise UnsupportedOp("its window, step or length depends on the input")

    def adjoint(t: Tape, r: Value, w: Maybe) -> Value:
        size = t.op("Shape", window) if window is not None else site.required(3)
        n = t.op("Reshape", size, [1])
        full = _resized(t, r, n, 2) if site.integer("onesided", 1) else r
        frames = _like(t, _back(t, full, n, 2, inverse=False), x)
        if window is not None:
            frames = t.op("Mul", frames, t.op("Unsqueeze", window, [1]))
        starts = t.op("Mul", range_to(t, t.op("Shape", r, start=1, end=2)), step)
        places = t.op("Add", t.op("Unsqueeze", starts, [1]), range_to(t, n))
        shares = t.op("Reshape", frames, t.op("Concat", [0, -1], t.op("Shape", x, start=2), axis=0))
        index = t.op("Expand", t.op("Reshape", places, [1, -1, 1]), t.op("Shape", shares))
        return t.op("ScatterElements", t.zeros(x), index, shares, axis=1, reduction="add")

    return LinearMap(
        operands=(x,),
        samplewise=True,
        output=site.output,
        forward=lambda t, x, w: t.op("STFT", x, *site.inputs[1:], **site.attributes),
        adjoint=adjoint,
        positive=False,
    )
