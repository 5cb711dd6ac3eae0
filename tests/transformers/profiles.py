"""Peer profiles on the networks of `reference`: other rules for the same steps (peer-rules 2f)."""

import numpy as np

from tests.transformers.reference import Array, Node, Walk

CHEFER = 1e-9
DYNAMIC = 1e-11


class Passing(Walk):
    """Softmax and normalisations pass relevance on."""

    def softmax(self, x: Node) -> Node:
        return self.passed(x, super().softmax(x).value)

    def layer_norm(self, x: Node, scale: Array, shift: Array) -> Node:
        return self.passed(x, super().layer_norm(x, scale, shift).value)


class Chefer(Passing):
    """alpha 1, beta 0 without bias; z^B at the patches; additions rescaled by their totals."""

    def linear(self, x: Node, w: Array, b: Array | float = 0.0) -> Node:
        up, down = np.maximum(x.value, 0), np.minimum(x.value, 0)
        above, below = np.maximum(w, 0), np.minimum(w, 0)
        z = up @ above + down @ below

        def back(r: Array) -> list[Array]:
            q = _quotient(r, z)
            return [up * (q @ above.T) + down * (q @ below.T)]

        return self.step(x.value @ w + b, [x], back)

    def patches(self, x: Node, w: Array, b: Array) -> Node:
        low = x.value.min(axis=(1, 2), keepdims=True)
        high = x.value.max(axis=(1, 2), keepdims=True)
        above, below = np.maximum(w, 0), np.minimum(w, 0)
        z = x.value @ w - low * above.sum(0) - high * below.sum(0)

        def back(r: Array) -> list[Array]:
            q = r / (z + CHEFER)
            return [x.value * (q @ w.T) - low * (q @ above.T) - high * (q @ below.T)]

        return self.step(x.value @ w + b, [x], back)

    def add(self, a: Node, b: Node) -> Node:
        return self.step(a.value + b.value, [a, b], lambda r: _rescaled([a.value, b.value], r))

    def shift(self, a: Node, b: Array) -> Node:
        whole = np.broadcast_to(b, np.broadcast_shapes(a.value.shape, b.shape))
        return self.step(a.value + b, [a], lambda r: _rescaled([a.value, whole], r)[:1])

    def matmul(self, a: Node, b: Node) -> Node:
        y = a.value @ b.value

        def back(r: Array) -> list[Array]:
            q = _quotient(r, y)
            first = a.value * (q @ np.swapaxes(b.value, -1, -2))
            return [first / 2, b.value * (np.swapaxes(a.value, -1, -2) @ q) / 2]

        return self.step(y, [a, b], back)


def _quotient(r: Array, z: Array) -> Array:
    return np.where(z == 0, 0, r / np.where(z == 0, 1, z + CHEFER))


def _rescaled(parts: list[Array], r: Array) -> list[Array]:
    """Totals over each sample."""
    axes = tuple(range(1, r.ndim))
    shares = [part * _quotient(r, sum(parts)) for part in parts]
    totals = [share.sum(axis=axes, keepdims=True) for share in shares]
    whole = sum(np.abs(total) for total in totals)
    given = r.sum(axis=axes, keepdims=True)
    return [
        share * _quotient(_quotient(np.abs(total), whole) * given, total)
        for share, total in zip(shares, totals, strict=True)
    ]


class Dynamic(Passing):
    """Sums by the sizes of their summands, biases among them; the patches without bias."""

    def linear(self, x: Node, w: Array, b: Array | float = 0.0) -> Node:
        z = x.value @ w

        def back(r: Array) -> list[Array]:
            kept = r * np.abs(z) / (np.abs(z) + np.abs(b) + DYNAMIC) if np.ndim(b) else r
            return [x.value * ((kept / (z + DYNAMIC)) @ w.T)]

        return self.step(z + b, [x], back)

    def patches(self, x: Node, w: Array, b: Array) -> Node:
        z = x.value @ w
        return self.step(z + b, [x], lambda r: [x.value * ((r / (z + DYNAMIC)) @ w.T)])

    def add(self, a: Node, b: Node) -> Node:
        size = np.abs(a.value) + np.abs(b.value) + DYNAMIC
        return self.step(
            a.value + b.value,
            [a, b],
            lambda r: [np.abs(a.value) * r / size, np.abs(b.value) * r / size],
        )

    def shift(self, a: Node, b: Array) -> Node:
        size = np.abs(a.value) + np.abs(b) + DYNAMIC
        return self.step(a.value + b, [a], lambda r: [np.abs(a.value) * r / size])

    def product(self, a: Node, b: Node) -> Node:
        size = np.abs(a.value) + np.abs(b.value) + DYNAMIC
        return self.step(
            a.value * b.value,
            [a, b],
            lambda r: [np.abs(a.value) * r / size, np.abs(b.value) * r / size],
        )

    def matmul(self, a: Node, b: Node) -> Node:
        y = a.value @ b.value

        def back(r: Array) -> list[Array]:
            q = r / (2 * y + DYNAMIC)
            first = a.value * (q @ np.swapaxes(b.value, -1, -2))
            return [first, b.value * (np.swapaxes(a.value, -1, -2) @ q)]

        return self.step(y, [a, b], back)
