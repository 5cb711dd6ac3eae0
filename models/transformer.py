"""Transformers with random weights, decomposed as torch exporters write them, as ONNX models.

`vit` takes `image [N, 3, S, S]`; `bert` and `llama` take `input_ids [N, L]` (int64) or, with
`embedded`, `inputs_embeds [N, L, width]`; `bert` takes an `attention_mask [N, L]` (int64) besides.
The output is `logits`: `[N, classes]`, for `llama` `[N, L, vocabulary]`. A dense layer is MatMul
and Add.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from models.writer import IR_VERSION, OPSET

Form = Literal["op", "primitives"]

LOWEST = float(np.finfo(np.float32).min)
NORM_EPSILON = 1e-5
LONGEST = 16
"""Rows of the tables of positions, unless a size says more."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """Width, heads, depth and what goes in and out.

    Attributes:
        width: Channels per token.
        heads: Attention heads; `width / heads` must be even for `llama`.
        hidden: Channels of the MLP.
        depth: Number of blocks.
        vocabulary: Number of token ids.
        classes: Outputs of `vit` and `bert`.
        picture: Side of the image of `vit`.
        patch: Side of its patches.
        longest: Rows of the tables of positions of `bert` and `llama`.
    """

    width: int = 16
    heads: int = 2
    hidden: int = 24
    depth: int = 2
    vocabulary: int = 19
    classes: int = 5
    picture: int = 12
    patch: int = 4
    longest: int = LONGEST


TINY = Size()
VIT_B16 = Size(width=768, heads=12, hidden=3072, depth=12, classes=1000, picture=224, patch=16)
BERT_BASE = Size(
    width=768, heads=12, hidden=3072, depth=12, vocabulary=30522, classes=2, longest=512
)
"""The published shapes, 86 M and 110 M parameters."""


class _Net:
    """Collects nodes and parameters; every method returns the name of its output."""

    def __init__(self, size: Size, norm: Form, seed: int) -> None:
        self.size, self.norm_form = size, norm
        self.nodes: list[NodeProto] = []
        self.parameters: dict[str, NDArray[np.generic]] = {}
        self._rng = np.random.default_rng(seed)

    def node(self, op: str, *inputs: str, name: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def put(self, name: str, value: NDArray[np.generic] | Sequence[int] | float) -> str:
        if isinstance(value, float):
            value = np.array(value, dtype=np.float32)
        array = np.asarray(value)
        self.parameters[name] = array if array.dtype.kind == "f" else array.astype(np.int64)
        return name

    def drawn(self, name: str, *shape: int, deviation: float) -> str:
        return self.put(name, self._rng.normal(0, deviation, shape).astype(np.float32))

    def dense(self, x: str, name: str, inner: int, outer: int, *, bias: bool = True) -> str:
        weight = self.drawn(f"{name}.weight", inner, outer, deviation=inner**-0.5)
        y = self.node("MatMul", x, weight, name=f"{name}.product" if bias else name)
        if not bias:
            return y
        return self.node("Add", self.drawn(f"{name}.bias", outer, deviation=0.3), y, name=name)

    def layer_norm(self, x: str, name: str) -> str:
        scale = self.put(f"{name}.scale", self._scale())
        shift = self.drawn(f"{name}.shift", self.size.width, deviation=0.3)
        if self.norm_form == "op":
            return self.node(
                "LayerNormalization", x, scale, shift, name=name, axis=-1, epsilon=NORM_EPSILON
            )
        two, epsilon = self.put(f"{name}.two", 2.0), self.put(f"{name}.epsilon", NORM_EPSILON)
        axis = self.put(f"{name}.axis", [-1])
        mean = self.node("ReduceMean", x, axis, name=f"{name}.mean", keepdims=1)
        centred = self.node("Sub", x, mean, name=f"{name}.centred")
        square = self.node("Pow", centred, two, name=f"{name}.square")
        variance = self.node("ReduceMean", square, axis, name=f"{name}.variance", keepdims=1)
        safe = self.node("Add", variance, epsilon, name=f"{name}.safe")
        deviation = self.node("Sqrt", safe, name=f"{name}.deviation")
        unit = self.node("Div", centred, deviation, name=f"{name}.unit")
        scaled = self.node("Mul", unit, scale, name=f"{name}.scaled")
        return self.node("Add", scaled, shift, name=name)

    def rms_norm(self, x: str, name: str) -> str:
        """As primitives; as an operator of opset 21: LpNormalization, without epsilon."""
        scale = self._scale()
        if self.norm_form == "op":
            factor = np.float32(np.sqrt(self.size.width))
            unit = self.node("LpNormalization", x, name=f"{name}.unit", axis=-1, p=2)
            return self.node("Mul", unit, self.put(f"{name}.scale", scale * factor), name=name)
        two, epsilon = self.put(f"{name}.two", 2.0), self.put(f"{name}.epsilon", NORM_EPSILON)
        axis, one = self.put(f"{name}.axis", [-1]), self.put(f"{name}.one", 1.0)
        square = self.node("Pow", x, two, name=f"{name}.square")
        mean = self.node("ReduceMean", square, axis, name=f"{name}.mean", keepdims=1)
        safe = self.node("Add", mean, epsilon, name=f"{name}.safe")
        root = self.node("Sqrt", safe, name=f"{name}.root")
        inverse = self.node("Div", one, root, name=f"{name}.inverse")
        unit = self.node("Mul", x, inverse, name=f"{name}.unit")
        return self.node("Mul", self.put(f"{name}.scale", scale), unit, name=name)

    def gelu(self, x: str, name: str) -> str:
        root, one = self.put(f"{name}.root", float(np.sqrt(2))), self.put(f"{name}.one", 1.0)
        part = self.node("Erf", self.node("Div", x, root, name=f"{name}.arg"), name=f"{name}.erf")
        y = self.node("Mul", x, self.node("Add", part, one, name=f"{name}.sum"), name=f"{name}.y")
        return self.node("Mul", y, self.put(f"{name}.half", 0.5), name=name)

    def silu(self, x: str, name: str) -> str:
        return self.node("Mul", x, self.node("Sigmoid", x, name=f"{name}.gate"), name=name)

    def attention(
        self, x: str, name: str, *, mask: str = "", rotary: tuple[str, str] = ("", ""), bias: bool
    ) -> str:
        size, depth = self.size, self.size.width // self.size.heads
        shape = self.put(f"{name}.split", [0, 0, size.heads, depth])
        parts = {}
        for letter in "qkv":
            y = self.dense(x, f"{name}.{letter}", size.width, size.width, bias=bias)
            y = self.node("Reshape", y, shape, name=f"{name}.{letter}.split")
            y = self.node("Transpose", y, name=f"{name}.{letter}.heads", perm=[0, 2, 1, 3])
            turned = letter in "qk" and rotary[0]
            parts[letter] = self._rotated(y, f"{name}.{letter}", rotary) if turned else y
        key = self.node("Transpose", parts["k"], name=f"{name}.key", perm=[0, 1, 3, 2])
        scores = self.node("MatMul", parts["q"], key, name=f"{name}.scores")
        scores = self.node(
            "Div", scores, self.put(f"{name}.root", float(np.sqrt(depth))), name=f"{name}.scaled"
        )
        if mask:
            scores = self.node("Add", scores, mask, name=f"{name}.masked")
        weights = self.node("Softmax", scores, name=f"{name}.weights", axis=-1)
        mixed = self.node("MatMul", weights, parts["v"], name=f"{name}.mixed")
        mixed = self.node("Transpose", mixed, name=f"{name}.turned", perm=[0, 2, 1, 3])
        joined = self.node(
            "Reshape", mixed, self.put(f"{name}.join", [0, 0, size.width]), name=f"{name}.joined"
        )
        return self.dense(joined, f"{name}.out", size.width, size.width, bias=bias)

    def mlp(self, x: str, name: str) -> str:
        hidden = self.dense(x, f"{name}.up", self.size.width, self.size.hidden)
        return self.dense(
            self.gelu(hidden, f"{name}.gelu"), f"{name}.down", self.size.hidden, self.size.width
        )

    def gated_mlp(self, x: str, name: str) -> str:
        width, hidden = self.size.width, self.size.hidden
        gate = self.silu(self.dense(x, f"{name}.gate", width, hidden, bias=False), f"{name}.silu")
        up = self.dense(x, f"{name}.up", width, hidden, bias=False)
        both = self.node("Mul", gate, up, name=f"{name}.both")
        return self.dense(both, f"{name}.down", hidden, width, bias=False)

    def rows(self, table: str, length: str, name: str, axes: Sequence[int] = (0,)) -> str:
        """The first rows of a table, as many as there are tokens."""
        start, axis = (self.put(f"{name}.{k}", v) for k, v in (("start", [0]), ("axes", axes[:1])))
        y = self.node("Slice", table, start, length, axis, name=f"{name}.rows")
        if len(axes) == 1:
            return y
        other = self.put(f"{name}.other", axes[1:])
        return self.node("Slice", y, start, length, other, name=f"{name}.square")

    def tokens(self, embedded: bool) -> tuple[str, str]:
        """The embedded tokens `[N, L, width]`, and L."""
        source = "inputs_embeds" if embedded else "input_ids"
        length = self.node("Shape", source, name="length", start=1, end=2)
        if embedded:
            return source, length
        table = self.drawn("words", self.size.vocabulary, self.size.width, deviation=1.0)
        return self.node("Gather", table, source, name="words.rows"), length

    def source(self, embedded: bool) -> ValueInfoProto:
        if embedded:
            return _input("inputs_embeds", TensorProto.FLOAT, ["N", "L", self.size.width])
        return _input("input_ids", TensorProto.INT64, ["N", "L"])

    def model(
        self, name: str, inputs: Sequence[ValueInfoProto], shape: Sequence[int | str]
    ) -> ModelProto:
        output = helper.make_tensor_value_info("logits", TensorProto.FLOAT, list(shape))
        initializers = [numpy_helper.from_array(v, k) for k, v in self.parameters.items()]
        self.nodes[-1].output[0] = "logits"
        graph = helper.make_graph(self.nodes, name, list(inputs), [output], initializers)
        return helper.make_model(
            graph,
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
            producer_name="onnxlrp-models",
        )

    def _scale(self) -> NDArray[np.float32]:
        return self._rng.uniform(0.6, 1.4, self.size.width).astype(np.float32)

    def _rotated(self, x: str, name: str, rotary: tuple[str, str]) -> str:
        """X cos + rotate_half(x) sin."""
        half = self.size.width // self.size.heads // 2
        axis = self.put(f"{name}.rotary.axis", [-1])
        bounds = [self.put(f"{name}.rotary.{n}", [n]) for n in (0, half, 2 * half)]
        low = self.node("Slice", x, bounds[0], bounds[1], axis, name=f"{name}.low")
        high = self.node("Slice", x, bounds[1], bounds[2], axis, name=f"{name}.high")
        minus = self.node("Neg", high, name=f"{name}.minus")
        turned = self.node("Concat", minus, low, name=f"{name}.half_turned", axis=-1)
        ahead = self.node("Mul", x, rotary[0], name=f"{name}.cos")
        aside = self.node("Mul", turned, rotary[1], name=f"{name}.sin")
        return self.node("Add", ahead, aside, name=f"{name}.rotated")


def vit(*, size: Size = TINY, norm: Form = "op", seed: int = 0) -> ModelProto:
    """Patches by a convolution, class token, positions, pre-norm blocks, head on the token."""
    w = _Net(size, norm, seed)
    patches, fan_in = (size.picture // size.patch) ** 2, 3 * size.patch**2
    kernel = w.drawn("patch.weight", size.width, 3, size.patch, size.patch, deviation=fan_in**-0.5)
    side = [size.patch, size.patch]
    bias = w.drawn("patch.bias", size.width, deviation=0.3)
    x = w.node("Conv", "image", kernel, bias, name="patch", kernel_shape=side, strides=side)
    x = w.node("Reshape", x, w.put("flat", [0, size.width, patches]), name="patch.flat")
    x = w.node("Transpose", x, name="patch.tokens", perm=[0, 2, 1])
    batch = w.node("Shape", "image", name="batch", start=0, end=1)
    rest = w.put("token.rest", [1, size.width])
    shape = w.node("Concat", batch, rest, name="token.shape", axis=0)
    token = w.node(
        "Expand", w.drawn("token", 1, 1, size.width, deviation=1.0), shape, name="token.wide"
    )
    x = w.node("Concat", token, x, name="tokens", axis=1)
    x = w.node(
        "Add", x, w.drawn("positions", 1, patches + 1, size.width, deviation=0.3), name="embedded"
    )
    for k in range(size.depth):
        y = w.attention(w.layer_norm(x, f"block{k}.norm1"), f"block{k}.attention", bias=True)
        x = w.node("Add", y, x, name=f"block{k}.middle")
        y = w.mlp(w.layer_norm(x, f"block{k}.norm2"), f"block{k}.mlp")
        x = w.node("Add", x, y, name=f"block{k}")
    x = w.layer_norm(x, "norm")
    x = w.node("Gather", x, w.put("first", np.array(0)), name="class", axis=1)
    weight = w.drawn("head.weight", size.classes, size.width, deviation=size.width**-0.5)
    w.node(
        "Gemm", x, weight, w.drawn("head.bias", size.classes, deviation=0.3), name="head", transB=1
    )
    image = _input("image", TensorProto.FLOAT, ["N", 3, size.picture, size.picture])
    return w.model("vit", [image], ["N", size.classes])


def bert(
    *,
    size: Size = TINY,
    norm: Form = "op",
    seed: int = 0,
    masked: float = LOWEST,
    embedded: bool = False,
) -> ModelProto:
    """Embeddings of tokens, types and positions, post-norm blocks, pooled class token.

    `masked` is added to the scores of tokens whose `attention_mask` is 0.
    """
    w = _Net(size, norm, seed)
    x, length = w.tokens(embedded)
    x = w.node("Add", x, w.drawn("types", 1, 1, size.width, deviation=0.3), name="typed")
    table = w.drawn("positions", size.longest, size.width, deviation=0.3)
    x = w.node("Add", x, w.rows(table, length, "positions"), name="embedded")
    x = w.layer_norm(x, "embedded.norm")
    wide = w.node(
        "Unsqueeze", "attention_mask", w.put("mask.axes", [1, 2]), name="attention_mask.wide"
    )
    kept = w.node("Cast", wide, name="attention_mask.kept", to=TensorProto.FLOAT)
    lost = w.node("Sub", w.put("mask.one", 1.0), kept, name="attention_mask.lost")
    mask = w.node("Mul", lost, w.put("mask.value", masked), name="attention_mask.added")
    for k in range(size.depth):
        y = w.attention(x, f"block{k}.attention", mask=mask, bias=True)
        x = w.layer_norm(w.node("Add", y, x, name=f"block{k}.sum1"), f"block{k}.norm1")
        y = w.mlp(x, f"block{k}.mlp")
        x = w.layer_norm(w.node("Add", y, x, name=f"block{k}.sum2"), f"block{k}.norm2")
    x = w.node("Gather", x, w.put("first", np.array(0)), name="class", axis=1)
    x = w.node("Tanh", w.dense(x, "pooler", size.width, size.width), name="pooled")
    w.dense(x, "head", size.width, size.classes)
    inputs = [w.source(embedded), _input("attention_mask", TensorProto.INT64, ["N", "L"])]
    return w.model("bert", inputs, ["N", size.classes])


def llama(
    *,
    size: Size = TINY,
    norm: Form = "op",
    seed: int = 0,
    masked: float = LOWEST,
    embedded: bool = False,
) -> ModelProto:
    """Pre-norm blocks with root mean square norms, rotary positions, causal mask, gated MLP.

    `masked` is added to the scores of later tokens.
    """
    w = _Net(size, norm, seed)
    x, length = w.tokens(embedded)
    angles = _angles(size)
    rotary = tuple(
        w.rows(w.put(f"rotary.{key}", function(angles)), length, f"rotary.{key}")
        for key, function in (("cos", np.cos), ("sin", np.sin))
    )
    table = np.triu(np.full((size.longest, size.longest), masked, np.float32), 1)
    mask = w.rows(w.put("causal", table), length, "causal", (0, 1))
    for k in range(size.depth):
        y = w.rms_norm(x, f"block{k}.norm1")
        y = w.attention(
            y, f"block{k}.attention", mask=mask, rotary=(rotary[0], rotary[1]), bias=False
        )
        x = w.node("Add", x, y, name=f"block{k}.middle")
        y = w.gated_mlp(w.rms_norm(x, f"block{k}.norm2"), f"block{k}.mlp")
        x = w.node("Add", x, y, name=f"block{k}")
    w.dense(w.rms_norm(x, "norm"), "head", size.width, size.vocabulary, bias=False)
    return w.model("llama", [w.source(embedded)], ["N", "L", size.vocabulary])


def _angles(size: Size) -> NDArray[np.float32]:
    """The rotary angles `[longest, channels of a head]`."""
    depth = size.width // size.heads
    speeds = 10000.0 ** (-np.arange(0, depth, 2) / depth)
    turned = np.outer(np.arange(size.longest), speeds)
    return np.concatenate([turned, turned], axis=1).astype(np.float32)


def _input(name: str, dtype: int, shape: Sequence[int | str]) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, list(shape))
