"""AttnLRP and CP-LRP of a ViT, a BERT and a Llama in float64 numpy, from the published formulas.

Straight forward passes, each step with the rule of its operator (explicit conventions of LXT:
stabiliser t + epsilon, without a sign; epsilon 1e-6 at linear maps, means and LayerNorm, 1e-8 at
additions and matrix products). Nothing comes from `onnxlrp`; the weights come from the model.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper

Array = NDArray[np.float64]
Back = Callable[[Array], Sequence[Array]]

LINEAR = MEAN = NORM = VALUES = 1e-6
SUM = MATRIX = 1e-8


class Node:
    """A value that relevance passes."""

    def __init__(self, value: Array) -> None:
        self.value = value
        self.relevance = np.zeros_like(value)


@dataclass
class Walk:
    """Forward steps, each with its way back; `cp`: queries, keys and weights are constants."""

    cp: bool = False
    steps: list[tuple[Node, Sequence[Node], Back]] = field(default_factory=list)

    def step(self, value: Array, operands: Sequence[Node], back: Back) -> Node:
        node = Node(value)
        self.steps.append((node, operands, back))
        return node

    def explain(self, output: Node, seed: Array) -> None:
        """Fill in the relevance of every node."""
        output.relevance = seed
        for node, operands, back in reversed(self.steps):
            for operand, share in zip(operands, back(node.relevance), strict=True):
                operand.relevance = operand.relevance + share

    def linear(self, x: Node, w: Array, b: Array | float = 0.0) -> Node:
        """R' = x (R / (z + eps)) W^T, z = x W + b."""
        z = x.value @ w + b
        return self.step(z, [x], lambda r: [x.value * ((r / (z + LINEAR)) @ w.T)])

    def patches(self, x: Node, w: Array, b: Array) -> Node:
        """The first convolution, over rows of pixels."""
        return self.linear(x, w, b)

    def add(self, a: Node, b: Node) -> Node:
        """R_a = a R / (a + b + eps)."""
        y = a.value + b.value
        return self.step(y, [a, b], lambda r: [a.value * r / (y + SUM), b.value * r / (y + SUM)])

    def shift(self, a: Node, b: Array) -> Node:
        """The addition of a constant, which keeps its part."""
        y = a.value + b
        return self.step(y, [a], lambda r: [a.value * r / (y + SUM)])

    def passed(self, x: Node, y: Array) -> Node:
        """R' = R: activations, scalings by constants, root mean square norms."""
        return self.step(y, [x], lambda r: [r])

    def moved(
        self, x: Node, move: Callable[[Array], Array], undo: Callable[[Array], Array]
    ) -> Node:
        return self.step(move(x.value), [x], lambda r: [undo(r)])

    def product(self, a: Node, b: Node) -> Node:
        """R / 2 to each factor."""
        return self.step(a.value * b.value, [a, b], lambda r: [r / 2, r / 2])

    def matmul(self, a: Node, b: Node) -> Node:
        """q = R / (2 O + eps); R_A = A (q B^T), R_B = B (A^T q)."""
        y = a.value @ b.value

        def back(r: Array) -> list[Array]:
            q = r / (2 * y + MATRIX)
            return [
                a.value * (q @ np.swapaxes(b.value, -1, -2)),
                b.value * (np.swapaxes(a.value, -1, -2) @ q),
            ]

        return self.step(y, [a, b], back)

    def softmax(self, x: Node) -> Node:
        """R' = x (R - S sum R), -inf logits replaced by 0."""
        s = np.exp(x.value - x.value.max(-1, keepdims=True))
        s = s / s.sum(-1, keepdims=True)
        logits = np.where(np.isneginf(x.value), 0, x.value)
        return self.step(s, [x], lambda r: [logits * (r - s * r.sum(-1, keepdims=True))])

    def layer_norm(self, x: Node, scale: Array, shift: Array) -> Node:
        """sigma constant: u = R gamma / ((y + eps) sigma); R' = x (u - mean u)."""
        centred = x.value - x.value.mean(-1, keepdims=True)
        sigma = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
        y = scale * centred / sigma + shift

        def back(r: Array) -> list[Array]:
            u = r * scale / ((y + NORM) * sigma)
            return [x.value * (u - u.mean(-1, keepdims=True))]

        return self.step(y, [x], back)

    def attend(self, weights: Node, values: Node) -> Node:
        """The weighted values; CP-LRP: epsilon rule over the values alone, factor 1."""
        if not self.cp:
            return self.matmul(weights, values)
        a, y = weights.value, weights.value @ values.value
        return self.step(
            y, [values], lambda r: [values.value * (np.swapaxes(a, -1, -2) @ (r / (y + VALUES)))]
        )


class Weights(dict[str, Array]):
    """The initializers of a model, in float64 or another precision, which all steps keep."""

    def __init__(self, model: ModelProto, dtype: type = np.float64) -> None:
        arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        super().__init__({k: v.astype(dtype) for k, v in arrays.items()})

    def dense(self, walk: Walk, x: Node, name: str) -> Node:
        return walk.linear(x, self[f"{name}.weight"], self.get(f"{name}.bias", 0.0))

    def norm(self, walk: Walk, x: Node, name: str) -> Node:
        return walk.layer_norm(x, self[f"{name}.scale"], self[f"{name}.shift"])


def attention(
    walk: Walk,
    p: Weights,
    x: Node,
    name: str,
    heads: int,
    *,
    mask: Array | None = None,
    rotary: tuple[Array, Array] | None = None,
) -> Node:
    n, length, width = x.value.shape
    depth = width // heads

    def split(v: Array) -> Array:
        return v.reshape(n, length, heads, depth).transpose(0, 2, 1, 3)

    def join(v: Array) -> Array:
        return v.transpose(0, 2, 1, 3).reshape(n, length, width)

    q, k, v = (walk.moved(p.dense(walk, x, f"{name}.{letter}"), split, join) for letter in "qkv")
    if rotary is not None:
        q, k = (rotate(walk, part, *rotary) for part in (q, k))
    k = walk.moved(k, lambda a: np.swapaxes(a, -1, -2), lambda a: np.swapaxes(a, -1, -2))
    scores = walk.matmul(q, k)
    scores = walk.passed(scores, scores.value / p[f"{name}.root"])
    if mask is not None:
        scores = walk.shift(scores, mask)
    mixed = walk.attend(walk.softmax(scores), v)
    return p.dense(walk, walk.moved(mixed, join, split), f"{name}.out")


def rotate(walk: Walk, x: Node, cos: Array, sin: Array) -> Node:
    """x cos + (-x_2, x_1) sin: an addition of two parts that relevance passes."""
    half = x.value.shape[-1] // 2

    def turn(v: Array) -> Array:
        return np.concatenate([-v[..., half:], v[..., :half]], axis=-1)

    def undo(r: Array) -> Array:
        return np.concatenate([r[..., half:], r[..., :half]], axis=-1)

    ahead = walk.passed(x, x.value * cos)
    turned = walk.moved(x, turn, undo)
    return walk.add(ahead, walk.passed(turned, turned.value * sin))


def mlp(walk: Walk, p: Weights, x: Node, name: str) -> Node:
    hidden = p.dense(walk, x, f"{name}.up")
    erf = np.vectorize(math.erf)
    part = erf(hidden.value / math.sqrt(2)).astype(hidden.value.dtype)
    active = walk.passed(hidden, hidden.value * (1 + part) / 2)
    return p.dense(walk, active, f"{name}.down")


def vit(walk: Walk, p: Weights, image: Array, depth: int, heads: int) -> tuple[Node, Node]:
    """The input's node and the logits'."""
    n, _, side, _ = image.shape
    kernel = p["patch.weight"]
    patch, grid = kernel.shape[-1], side // kernel.shape[-1]

    def cut(v: Array) -> Array:
        v = v.reshape(n, 3, grid, patch, grid, patch).transpose(0, 2, 4, 1, 3, 5)
        return v.reshape(n, grid * grid, -1)

    def paste(r: Array) -> Array:
        r = r.reshape(n, grid, grid, 3, patch, patch).transpose(0, 3, 1, 4, 2, 5)
        return r.reshape(n, 3, side, side)

    source = Node(image)
    x = walk.moved(source, cut, paste)
    x = walk.patches(x, kernel.reshape(len(kernel), -1).T, p["patch.bias"])
    token = np.broadcast_to(p["token"], (n, 1, len(kernel)))
    x = walk.moved(x, lambda v: np.concatenate([token, v], axis=1), lambda r: r[:, 1:])
    x = walk.shift(x, p["positions"])
    for k in range(depth):
        y = p.norm(walk, x, f"block{k}.norm1")
        x = walk.add(attention(walk, p, y, f"block{k}.attention", heads), x)
        x = walk.add(x, mlp(walk, p, p.norm(walk, x, f"block{k}.norm2"), f"block{k}.mlp"))
    x = first(walk, p.norm(walk, x, "norm"))
    return source, walk.linear(x, p["head.weight"].T, p["head.bias"])


def first(walk: Walk, x: Node) -> Node:
    """The first token."""

    def undo(r: Array) -> Array:
        wide = np.zeros_like(x.value)
        wide[:, 0] = r
        return wide

    return walk.moved(x, lambda v: v[:, 0], undo)


def bert(
    walk: Walk, p: Weights, words: Array, kept: Array, masked: float, depth: int, heads: int
) -> tuple[Node, Node]:
    """The node of the embedded words and the logits'."""
    source = Node(words)
    x = walk.shift(source, p["types"])
    x = walk.shift(x, p["positions"][: words.shape[1]])
    x = p.norm(walk, x, "embedded.norm")
    mask = np.where(kept[:, None, None] == 0, masked, 0.0).astype(words.dtype)
    for k in range(depth):
        y = attention(walk, p, x, f"block{k}.attention", heads, mask=mask)
        x = p.norm(walk, walk.add(y, x), f"block{k}.norm1")
        y = mlp(walk, p, x, f"block{k}.mlp")
        x = p.norm(walk, walk.add(y, x), f"block{k}.norm2")
    x = p.dense(walk, first(walk, x), "pooler")
    return source, p.dense(walk, walk.passed(x, np.tanh(x.value)), "head")


def llama(
    walk: Walk, p: Weights, words: Array, masked: float, depth: int, heads: int, epsilon: float
) -> tuple[Node, Node]:
    """The node of the embedded words and the logits'; `epsilon` is that of the norms."""
    source = x = Node(words)
    length = words.shape[1]
    mask = np.triu(np.full((length, length), masked, words.dtype), 1)
    rotary = (p["rotary.cos"][:length], p["rotary.sin"][:length])

    def norm(v: Node, name: str) -> Node:
        root = np.sqrt((v.value**2).mean(-1, keepdims=True) + epsilon)
        # As an operator of opset 21 the scale of the model holds sqrt(width), the norm no mean.
        extra = 1.0 if epsilon else math.sqrt(words.shape[2])
        return walk.passed(v, v.value / root / extra * p[f"{name}.scale"])

    for k in range(depth):
        y = norm(x, f"block{k}.norm1")
        y = attention(walk, p, y, f"block{k}.attention", heads, mask=mask, rotary=rotary)
        x = walk.add(x, y)
        y = norm(x, f"block{k}.norm2")
        gate = p.dense(walk, y, f"block{k}.mlp.gate")
        gate = walk.passed(gate, gate.value / (1 + np.exp(-gate.value)))
        both = walk.product(gate, p.dense(walk, y, f"block{k}.mlp.up"))
        x = walk.add(x, p.dense(walk, both, f"block{k}.mlp.down"))
    return source, p.dense(walk, norm(x, "norm"), "head")
