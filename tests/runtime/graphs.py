"""Explanation graphs written by hand: relevance = x * w of the chosen output."""

import onnx
import onnx.parser

from onnxlrp.metadata import Metadata


def explanation(text: str, **metadata: object) -> onnx.ModelProto:
    """Parse the text of a graph and stamp it as an explanation graph."""
    model = onnx.parser.parse_model('<ir_version: 10, opset_import: ["" : 21]>\n' + text)
    fields = {
        "version": "0.1.0",
        "source": "0",
        "composite": {"name": "epsilon"},
        "target": "argmax",
        "inputs": ("x",),
        "output": "y",
        "explained": "y",
    }
    properties = Metadata(**{**fields, **metadata}).properties()
    onnx.helper.set_model_props(model, properties)
    onnx.checker.check_model(model, full_check=True)
    return model


_SEEDED = """
  w = Constant<value = float[3,2] {1,2, 3,4, 5,-6}>()
  y = MatMul(x, w)
  on = Constant<value = float[2] {0, 1}>()
"""

# y = x w; the relevance of x is x * w[:, target]
ARGMAX = f"""
g (float[N,3] x) => (float[N,2] y, float[N,3] "relevance/x") {{{_SEEDED}
  best = ArgMax<axis = 1, keepdims = 0>(y)
  k = Constant<value = int64[1] {{2}}>()
  hot = OneHot<axis = -1>(best, k, on)
  wt = Transpose(w)
  c = MatMul(hot, wt)
  "relevance/x" = Mul(x, c)
}}"""

SINGLES = ARGMAX.replace("[N,", "[1,")
ANONYMOUS = (
    ARGMAX.replace("float[N,3] x", "float[unk__1,3] x")
    .replace("float[N,2] y", "float[unk__2,2] y")
    .replace('float[N,3] "rel', 'float[unk__3,3] "rel')
)

TARGET = f"""
g (float[N,3] x, int64[N] target) => (float[N,2] y, float[N,3] "relevance/x") {{{_SEEDED}
  k = Constant<value = int64[1] {{2}}>()
  hot = OneHot<axis = -1>(target, k, on)
  wt = Transpose(w)
  c = MatMul(hot, wt)
  "relevance/x" = Mul(x, c)
}}"""

TARGETS = f"""
g (float[N,3] x, int64[N,T] target) => (float[N,2] y, float[N,T,3] "relevance/x") {{{_SEEDED}
  k = Constant<value = int64[1] {{2}}>()
  hot = OneHot<axis = -1>(target, k, on)
  wt = Transpose(w)
  c = MatMul(hot, wt)
  axes = Constant<value = int64[1] {{1}}>()
  xs = Unsqueeze(x, axes)
  "relevance/x" = Mul(xs, c)
}}"""

# the output is [N, 2, 3]: targets are index pairs; the relevance of x is its own entry
TUPLES = """
g (float[N,2,3] x, int64[N,2] target) => (float[N,2,3] y, float[N,2,3] "relevance/x") {
  y = Identity(x)
  zero = ConstantOfShape(sh)
  sh = Shape(x)
  axes = Constant<value = int64[1] {1}>()
  "relevance/x" = Mul(x, x)
}""".replace("  zero = ConstantOfShape(sh)\n  sh = Shape(x)\n", "")

SEEDED = f"""
g (float[N,3] x, float[N,2] seed, float[1,3] "mask/h" = {{1,1,1}})
  => (float[N,2] y, float[N,3] "relevance/x") {{{_SEEDED}
  wt = Transpose(w)
  c = MatMul(seed, wt)
  m = Mul(c, "mask/h")
  "relevance/x" = Mul(x, m)
}}"""

# no batch axis: one picture [2, H, W]
SINGLE_PICTURE = """
g (float[2,3,4] x) => (float[2] y, float[2,3,4] "relevance/x", float[3,4] "heatmap/x") {
  axes = Constant<value = int64[2] {1,2}>()
  y = ReduceSum<keepdims = 0>(x, axes)
  "relevance/x" = Mul(x, x)
  first = Constant<value = int64[1] {0}>()
  "heatmap/x" = ReduceSum<keepdims = 0>("relevance/x", first)
}"""

# a state with the batch in axis 1, and a scalar
STATEFUL = """
g (float[N,3] x, float[2,N,3] state, float scale)
  => (float[N,3] y, float[2,N,3] stateN, float[N,3] "relevance/x") {
  zero = Constant<value = int64 {0}>()
  h = Gather<axis = 0>(state, zero)
  hx = Add(x, h)
  y = Mul(hx, scale)
  stateN = Add(state, x)
  "relevance/x" = Mul(x, scale)
}"""

# an output without a batch axis: samples run singly
TOTAL = """
g (float[N,3] x) => (float[N,3] y, float total, float[N,3] "relevance/x") {
  y = Identity(x)
  total = ReduceSum<keepdims = 0>(x)
  "relevance/x" = Mul(x, x)
}"""

IMAGES = """
g (float[N,1,2,2] x) => (float[N,1,2,2] y, float[N,1,2,2] "relevance/x", float[N,2,2] "heatmap/x",
  uint8[N,2,2] "image/x", float[N,3,8] ledger) {
  y = Identity(x)
  "relevance/x" = Identity(x)
  axis = Constant<value = int64[1] {1}>()
  "heatmap/x" = Squeeze(x, axis)
  "image/x" = Cast<to = 2>("heatmap/x")
  axes = Constant<value = int64[3] {1,2,3}>()
  total = ReduceSum(x, axes)
  shape = Constant<value = int64[4] {1,1,3,8}>()
  wide = Expand(total, shape)
  ledger = Squeeze(wide, axis)
}"""
