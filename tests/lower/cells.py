"""RNN, GRU and LSTM in float64 numpy: forward, and LRP by the formulas of Arras et al. 2017, 2019.

Shapes are those of one direction: x `[L, N, D]`, states `[N, H]`, W `[G H, D]`, R `[G H, H]`,
biases `[G H]` each, gates in ONNX's order (LSTM i, o, f, c; GRU z, r, h). It imports nothing from
the package. `Cells.smallest` is the smallest |denominator| met: near 0 the formulas themselves are
ill-conditioned.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tests.oracle import stable

Array = NDArray[np.float64]


def sigmoid(z: Array) -> Array:
    return 1 / (1 + np.exp(-z))


@dataclass
class Cells:
    """The rules: epsilon for linear maps and sums, `gates` for products, `cell` for their parts."""

    epsilon: float = 0.001
    gates: str = "all"
    cell: str = "whole"
    smallest: float = field(default=np.inf, init=False)

    def share(self, r: Array, z: Array) -> Array:
        """R / (z + eps sgn z)."""
        self.smallest = min(self.smallest, float(np.abs(z)[r != 0].min(initial=np.inf)))
        return r / stable(z, self.epsilon)

    def dense(self, a: Array, w: Array, b: Array, r: Array) -> Array:
        """Of a in z = W a + b: a_i sum_j w_ji R_j / z_j."""
        return a * (self.share(r, a @ w.T + b) @ w)

    def add(self, parts: Sequence[Array], r: Array) -> list[Array]:
        s = self.share(r, sum(parts))
        return [part * s for part in parts]

    def linear(self, part: "Part", x: Array, h: Array, r: Array) -> tuple[Array, Array]:
        """Of x and h in z = W x + R h + b, as one linear map or as two and their sum."""
        if self.cell == "whole":
            s = self.share(r, part.of(x, h))
            return x * (s @ part.w), h * (s @ part.r)
        r_x, r_h = self.add([x @ part.w.T + part.b, h @ part.r.T + part.c], r)
        return self.dense(x, part.w, part.b, r_x), self.dense(h, part.r, part.c, r_h)

    def gated(self, g: Array, s: Array, r: Array) -> tuple[Array, Array]:
        """Of gate and signal in g s (Arras et al. 2019)."""
        if self.gates == "prop":
            q = self.share(r, g + s)
            return g * q, s * q
        part = {
            "all": 0 * g,
            "half": 0 * g + 0.5,
            "abs": np.abs(g) / (np.abs(g) + np.abs(s)),
        }[self.gates]
        return part * r, (1 - part) * r


@dataclass(frozen=True)
class Part:
    """The linear map of one gate: weights of x and h, and their biases."""

    w: Array
    r: Array
    b: Array
    c: Array

    def of(self, x: Array, h: Array) -> Array:
        return x @ self.w.T + self.b + h @ self.r.T + self.c


def parts_of(w: Array, r: Array, bias: Array | None, gates: int) -> list[Part]:
    """The gates of one direction; `bias` is `[2 G H]`."""
    bias = np.zeros(2 * len(w)) if bias is None else bias
    split = [np.split(v.astype(np.float64), gates) for v in (w, r, *np.split(bias, 2))]
    return [Part(*four) for four in zip(*split, strict=True)]


def rnn(k: Cells, p: list[Part], x: Array, h0: Array, seed: Array) -> tuple[Array, ...]:
    """H_T, and the relevance of x and h0, for a seed at H_T."""
    hs = [h0]
    for x_t in x:
        hs.append(np.tanh(p[0].of(x_t, hs[-1])))
    r_x, r_h = np.zeros_like(x), seed
    for t in reversed(range(len(x))):
        r_x[t], r_h = k.linear(p[0], x[t], hs[t], r_h)
    return hs[-1], r_x, r_h


def lstm(
    k: Cells, p: list[Part], x: Array, states: tuple[Array, Array], seed: Array
) -> tuple[Array, ...]:
    """H_T, and the relevance of x, h0 and c0, for a seed at H_T."""
    (h, c), saved = states, []
    for x_t in x:
        i, o, f = (sigmoid(part.of(x_t, h)) for part in p[:3])
        g = np.tanh(p[3].of(x_t, h))
        new = f * c + i * g
        saved.append((h, c, i, o, f, g, new))
        h, c = o * np.tanh(new), new
    r_x, r_h, r_c = np.zeros_like(x), seed, np.zeros_like(seed)
    for t in reversed(range(len(x))):
        before, c, i, o, f, g, new = saved[t]
        r_o, r_tanh = k.gated(o, np.tanh(new), r_h)
        r_kept, r_new = k.add([f * c, i * g], r_c + r_tanh)
        r_f, r_c = k.gated(f, c, r_kept)
        r_i, r_g = k.gated(i, g, r_new)
        r_x[t], r_h = _all(k, p, x[t], before, (r_i, r_o, r_f, r_g))
    return h, r_x, r_h, r_c


def gru(
    k: Cells, p: list[Part], x: Array, h0: Array, seed: Array, *, late: bool
) -> tuple[Array, ...]:
    """H_T, and the relevance of x and h0; `late` is ONNX's linear_before_reset."""
    h, saved = h0, []
    for x_t in x:
        z, r = (sigmoid(part.of(x_t, h)) for part in p[:2])
        inner = x_t @ p[2].w.T + p[2].b
        inner = inner + (r * (h @ p[2].r.T + p[2].c) if late else (r * h) @ p[2].r.T + p[2].c)
        saved.append((h, z, r, np.tanh(inner)))
        h = (1 - z) * np.tanh(inner) + z * h
    last, r_x, r_h = h, np.zeros_like(x), seed
    for t in reversed(range(len(x))):
        h, z, r, n = saved[t]
        r_new, r_kept = k.add([(1 - z) * n, z * h], r_h)
        r_other, r_n = k.gated(1 - z, n, r_new)
        r_z, r_h = k.gated(z, h, r_kept)
        if k.gates != "all":
            r_z = r_z - z * k.share(r_other, 1 - z)
        r_reset, r_x[t], more = _candidate(k, p[2], x[t], h, r, r_n, late)
        gates = _all(k, p[:2], x[t], h, (r_z, r_reset))
        r_x[t] += gates[0]
        r_h = r_h + more + gates[1]
    return last, r_x, r_h


def _candidate(
    k: Cells, p: Part, x: Array, h: Array, r: Array, r_n: Array, late: bool
) -> tuple[Array, Array, Array]:
    """Of the reset gate, x and h in the candidate of a GRU."""
    if late:
        inner = h @ p.r.T + p.c
        r_in, r_later = k.add([x @ p.w.T + p.b, r * inner], r_n)
        r_reset, r_inner = k.gated(r, inner, r_later)
        return r_reset, k.dense(x, p.w, p.b, r_in), k.dense(h, p.r, p.c, r_inner)
    r_x, r_product = k.linear(p, x, r * h, r_n)
    r_reset, r_h = k.gated(r, h, r_product)
    return r_reset, r_x, r_h


def _all(
    k: Cells, parts: Sequence[Part], x: Array, h: Array, rs: Sequence[Array]
) -> tuple[Array, Array]:
    """What x and h get from several gates."""
    pairs = [k.linear(p, x, h, r) for p, r in zip(parts, rs, strict=True) if r.any()]
    zero = (np.zeros_like(x), np.zeros_like(h))
    return sum((a for a, _ in pairs), zero[0]), sum((b for _, b in pairs), zero[1])
