"""What LXT's explicit functions say about the transformers of `models.transformer`.

Every step of the forward pass is LXT's own function for it (`lxt.explicit`), so that its backward
pass is LXT's relevance; only the order of the steps and the weights are ours.
"""

from collections.abc import Callable

import numpy as np
import torch
from lxt.explicit import functional as lf
from lxt.explicit.rules import epsilon_lrp, identity
from numpy.typing import NDArray
from onnx import ModelProto, numpy_helper
from torch import Tensor

__all__ = ["lxt_relevance"]

Array = NDArray[np.floating]


class Block:
    """The steps that the three networks share; `cp`: the attention weights are constants."""

    def __init__(self, model: ModelProto, heads: int, *, cp: bool) -> None:
        arrays = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
        self.p = {k: torch.tensor(v.copy()).double() for k, v in arrays.items()}
        self.depth = sum(name.endswith("attention.q.weight") for name in self.p)
        self.heads, self.cp = heads, cp

    def dense(self, x: Tensor, name: str) -> Tensor:
        """A dense layer."""
        return lf.linear_epsilon(x, self.p[f"{name}.weight"].T, self.p.get(f"{name}.bias"))

    def layer_norm(self, x: Tensor, name: str) -> Tensor:
        """A layer norm."""
        return lf.layer_norm(x, self.p[f"{name}.scale"], self.p[f"{name}.shift"], 1e-5)

    def plus(self, x: Tensor, constant: Tensor) -> Tensor:
        """A constant added; it takes its part."""
        return lf.add2(x, constant.expand_as(x))

    def attention(
        self,
        x: Tensor,
        name: str,
        mask: Tensor | None = None,
        turn: Callable[[Tensor], Tensor] | None = None,
    ) -> Tensor:
        """Attention of several heads."""
        n, length, width = x.shape

        def heads(letter: str) -> Tensor:
            y = self.dense(x, f"{name}.{letter}")
            return y.view(n, length, self.heads, -1).transpose(1, 2)

        q, k, v = (heads(letter) for letter in "qkv")
        if turn is not None:
            q, k = turn(q), turn(k)
        scores = lf.matmul(q, k.transpose(-1, -2))
        scores = lf.mul2(scores, 1 / self.p[f"{name}.root"])
        if mask is not None:
            scores = self.plus(scores, mask)
        weights = lf.softmax(scores, -1)
        if self.cp:
            constant = weights.detach()
            mixed = epsilon_lrp(lambda values: constant @ values, 1e-6, v)
        else:
            mixed = lf.matmul(weights, v)
        return self.dense(mixed.transpose(1, 2).reshape(n, length, width), f"{name}.out")

    def mlp(self, x: Tensor, name: str) -> Tensor:
        """Two dense layers with a Gelu between."""
        hidden = identity(torch.nn.functional.gelu, self.dense(x, f"{name}.up"))
        return self.dense(hidden, f"{name}.down")

    def vit(self, image: Tensor) -> Tensor:
        """Logits."""
        kernel = self.p["patch.weight"]
        n, _, side, _ = image.shape
        patch, grid = kernel.shape[-1], side // kernel.shape[-1]
        rows = image.view(n, 3, grid, patch, grid, patch).permute(0, 2, 4, 1, 3, 5)
        x = lf.linear_epsilon(
            rows.reshape(n, grid * grid, -1), kernel.reshape(len(kernel), -1), self.p["patch.bias"]
        )
        x = torch.cat([self.p["token"].expand(n, -1, -1), x], dim=1)
        x = self.plus(x, self.p["positions"])
        for k in range(self.depth):
            y = self.attention(self.layer_norm(x, f"block{k}.norm1"), f"block{k}.attention")
            x = lf.add2(y, x)
            x = lf.add2(x, self.mlp(self.layer_norm(x, f"block{k}.norm2"), f"block{k}.mlp"))
        x = self.layer_norm(x, "norm")[:, 0]
        return lf.linear_epsilon(x, self.p["head.weight"], self.p["head.bias"])

    def bert(self, words: Tensor, mask: Tensor) -> Tensor:
        """Logits; `mask` is added to the scores."""
        x = self.plus(words, self.p["types"])
        x = self.plus(x, self.p["positions"][: words.shape[1]])
        x = self.layer_norm(x, "embedded.norm")
        for k in range(self.depth):
            y = self.attention(x, f"block{k}.attention", mask)
            x = self.layer_norm(lf.add2(y, x), f"block{k}.norm1")
            x = self.layer_norm(lf.add2(self.mlp(x, f"block{k}.mlp"), x), f"block{k}.norm2")
        return self.dense(identity(torch.tanh, self.dense(x[:, 0], "pooler")), "head")

    def llama(self, words: Tensor, mask: Tensor) -> Tensor:
        """Logits per token; `mask` is added to the scores."""
        x = words
        cos, sin = (self.p[f"rotary.{key}"][: words.shape[1]] for key in ("cos", "sin"))

        def turn(y: Tensor) -> Tensor:
            half = y.shape[-1] // 2
            other = torch.cat([lf.mul2(y[..., half:], -1), y[..., :half]], dim=-1)
            return lf.add2(lf.mul2(y, cos), lf.mul2(other, sin))

        def norm(y: Tensor, name: str) -> Tensor:
            # As `lf.rms_norm_identity`, which computes in float32. The model's scale holds the
            # root of the width, for LpNormalization has no mean.
            scale = self.p[f"{name}.scale"]
            return identity(lambda v: scale * v / v.norm(dim=-1, keepdim=True), y)

        for k in range(self.depth):
            y = norm(x, f"block{k}.norm1")
            x = lf.add2(x, self.attention(y, f"block{k}.attention", mask, turn))
            y, name = norm(x, f"block{k}.norm2"), f"block{k}.mlp"
            gate = identity(torch.nn.functional.silu, self.dense(y, f"{name}.gate"))
            both = lf.mul2(gate, self.dense(y, f"{name}.up"))
            x = lf.add2(x, self.dense(both, f"{name}.down"))
        return self.dense(norm(x, "norm"), "head")


def lxt_relevance(
    name: str,
    model: ModelProto,
    inputs: tuple[Array, ...],
    target: tuple[int, ...],
    *,
    heads: int,
    cp: bool,
) -> tuple[Array, Array]:
    """Return logits and the relevance of the first input in float64; it starts at a logit.

    Args:
        name: `vit`, `bert` or `llama`.
        model: From `models.transformer`, with `embedded` where it takes tokens.
        inputs: The picture or the embedded words `[N, ...]`, then the additive mask.
        target: Index of the output behind the batch.
        heads: Number of attention heads.
        cp: CP-LRP in place of AttnLRP.
    """
    first, *rest = (torch.tensor(array).double() for array in inputs)
    first.requires_grad_()
    logits = getattr(Block(model, heads, cp=cp), name)(first, *rest)
    seed = torch.zeros_like(logits)
    where = (slice(None), *target)
    seed[where] = logits.detach()[where]
    (relevance,) = torch.autograd.grad(logits, first, seed)
    return logits.detach().numpy(), relevance.numpy()
