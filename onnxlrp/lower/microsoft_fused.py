"""Maps of `com.microsoft` that carry an activation, a bias or a scale with them."""

from collections.abc import Callable, Mapping

from onnxlrp.errors import UnsupportedOp
from onnxlrp.graph.graph import Attribute, Value
from onnxlrp.graph.view import Site
from onnxlrp.lower.registry import lower
from onnxlrp.lower.sketch import Seen, Sketch

__all__ = ["activated", "kept", "swapped"]

WINDOW = ("auto_pad", "ceil_mode", "dilations", "group", "kernel_shape", "pads", "strides")
"""Attributes of Conv and of pooling."""

PLAIN = frozenset({
    "Elu", "HardSigmoid", "LeakyRelu", "Relu", "Selu", "Sigmoid", "Softplus",
    "Softsign", "Tanh", "ThresholdedRelu",
})  # fmt: skip
"""Activations that are operators of that name, with the attributes of that operator."""

NAMES = ("alpha", "beta", "gamma")


def kept(site: Site, *names: str) -> dict[str, Attribute]:
    """Those attributes of a site that have one of these names."""
    return {name: value for name, value in site.attributes.items() if name in names}


def activated(sketch: Sketch, site: Site, x: Value) -> Value:
    """Apply the activation that the attributes of a fused operator name."""
    name = site.text("activation")
    values = site.attributes.get("activation_params", [])
    params = [float(v) for v in values if isinstance(v, float)] if isinstance(values, list) else []
    if name == "Clip":
        low, high = params
        return sketch.op("Clip", x, low, high)
    if name == "HardSwish":  # no HardSwish: ONNX Runtime would inline it under a name that is taken
        return sketch.op("Mul", x, sketch.op("HardSigmoid", x, alpha=1 / 6, beta=0.5))
    if name and name not in PLAIN:
        raise UnsupportedOp(f"its activation {name} is not known")
    settings: dict[str, Attribute] = dict(zip(NAMES, params, strict=False))
    settings |= {
        key: site.number(f"activation_{key}")
        for key in NAMES
        if f"activation_{key}" in site.attributes
    }
    return sketch.op(name, x, **settings) if name else x


def swapped(sketch: Sketch, x: Value, *axes: int) -> Value:
    """Permute axes."""
    return sketch.op("Transpose", x, perm=list(axes))


@lower("com.microsoft.FusedConv")
def fused_conv(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = activation(Conv(x, w, b) + z)."""
    y = sketch.op("Conv", *site.inputs[:3], **kept(site, *WINDOW))
    if site.input(3) is not None:
        y = sketch.op("Add", y, site.input(3))
    return (activated(sketch, site, y),)


def _channels_first(sketch: Sketch, x: Value) -> Value:
    rank = _rank(x)
    return swapped(sketch, x, 0, rank - 1, *range(1, rank - 1))


def _channels_last(sketch: Sketch, x: Value) -> Value:
    return swapped(sketch, x, 0, *range(2, _rank(x)), 1)


@lower("com.microsoft.NhwcConv", "com.microsoft.NhwcFusedConv")
def nhwc_conv(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = activation(Conv(x, w, b) + z); x, y, z have their channels last."""
    x = _channels_first(sketch, site.required(0))
    y = sketch.op("Conv", x, *site.inputs[1:3], **kept(site, *WINDOW))
    y = _channels_last(sketch, y)
    if site.input(3) is not None:
        y = sketch.op("Add", y, site.input(3))
    return (activated(sketch, site, y),)


@lower("com.microsoft.NhwcMaxPool")
def nhwc_max_pool(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = MaxPool(x); channels last."""
    x = _channels_first(sketch, site.required(0))
    y = sketch.op("MaxPool", x, **kept(site, *WINDOW))
    return (_channels_last(sketch, y),)


@lower("com.microsoft.FusedGemm")
def fused_gemm(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = activation(Gemm(a, b, c))."""
    y = sketch.op("Gemm", *site.inputs, **kept(site, "alpha", "beta", "transA", "transB"))
    return (activated(sketch, site, y),)


@lower(
    "com.microsoft.FusedMatMul",
    "com.microsoft.FusedMatMulActivation",
    "com.microsoft.TransposeMatMul",
)
def fused_matmul(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = activation(alpha A B), with axes of A and B permuted before."""
    if site.text("activation") == "Softmax":
        raise UnsupportedOp("its activation Softmax is not known")
    a = _permuted(sketch, site, 0, "A")
    b = _permuted(sketch, site, 1, "B")
    y = sketch.op("MatMul", a, b)
    alpha = site.number("alpha", 1.0)
    if alpha != 1.0:
        y = sketch.op("Mul", y, alpha)
    return (activated(sketch, site, y),)


def _permuted(sketch: Sketch, site: Site, index: int, letter: str) -> Value:
    """A factor as MatMul reads it: the first axis behind the batch, then the last two swapped."""
    x = site.required(index)
    batch, last = site.integer(f"transBatch{letter}"), site.integer(f"trans{letter}")
    if not batch and not last:
        return x
    axes = list(range(_rank(x)))
    if batch:
        axes.insert(len(axes) - 2, axes.pop(0))
    if last and len(axes) > 1:
        axes[-2:] = axes[:-3:-1]
    return swapped(sketch, x, *axes) if axes != sorted(axes) else x


def _rank(x: Value) -> int:
    if x.rank is None:
        raise UnsupportedOp(f"the rank of '{x.name}' is not known")
    return x.rank


@lower("com.microsoft.Gelu")
def gelu(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = x Phi(x)."""
    return (sketch.op("Gelu", site.required(0)),)


@lower("com.microsoft.FastGelu")
def fast_gelu(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Gelu(x + b), by a hyperbolic tangent."""
    return (sketch.op("Gelu", _biased(sketch, site), approximate="tanh"),)


@lower("com.microsoft.BiasGelu")
def bias_gelu(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Gelu(x + b)."""
    return (sketch.op("Gelu", _biased(sketch, site)),)


def _biased(sketch: Sketch, site: Site) -> Value:
    x, bias = site.required(0), site.input(1)
    return x if bias is None else sketch.op("Add", x, bias)


@lower("com.microsoft.QuickGelu")
def quick_gelu(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = x Sigmoid(alpha x)."""
    x, alpha = site.required(0), site.number("alpha", 1.702)
    scaled = x if alpha == 1.0 else sketch.op("Mul", x, alpha)
    return (sketch.op("Mul", x, sketch.op("Sigmoid", scaled)),)


@lower("com.microsoft.BiasAdd")
def bias_add(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = (x + b) + skip."""
    return (sketch.op("Add", _biased(sketch, site), site.required(2)),)


@lower("com.microsoft.BiasSplitGelu")
def bias_split_gelu(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = u Gelu(v), where u and v are the halves of x + b along the last axis."""
    u, v = sketch.ops("Split", _biased(sketch, site), outputs=2, axis=-1, num_outputs=2)
    return (sketch.op("Mul", u, sketch.op("Gelu", v)),)


@lower("com.microsoft.BiasSoftmax")
def bias_softmax(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = Softmax(x + b) over the last axis."""
    x = site.required(0)
    if site.integer("axis", 1) not in {-1, _rank(x) - 1}:
        raise UnsupportedOp("it normalises over several axes")
    return (sketch.op("Softmax", _biased(sketch, site), axis=-1),)


@lower("com.microsoft.BiasDropout")
def bias_dropout(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: y = (x + b) + residual; nothing is dropped."""
    training = site.input(4)
    if training is not None and (training.constant is None or training.constant.any()):
        raise UnsupportedOp("it drops elements: it is in training mode")
    if len(site.outputs) > 1 and site.outputs[1] is not None:
        raise UnsupportedOp("its mask is read")
    y = _biased(sketch, site)
    residual = site.input(2)
    return (y if residual is None else sketch.op("Add", y, residual),)


def _expand_dims(sketch: Sketch, site: Site) -> Value:
    axis = site.required(1)
    return sketch.op("Unsqueeze", site.required(0), sketch.op("Reshape", _long(sketch, axis), [1]))


def _gather_nd(sketch: Sketch, site: Site) -> Value:
    return sketch.op("GatherND", site.required(0), _long(sketch, site.required(1)))


def _pad(sketch: Sketch, site: Site) -> Value:
    pads = sketch.op("Reshape", site.required(1), [-1])
    value = site.input(2)
    if value is not None:
        value = sketch.op("Reshape", value, [])
    return sketch.op("Pad", site.required(0), pads, value, **kept(site, "mode"))


def _trilu(sketch: Sketch, site: Site) -> Value:
    return sketch.op("Trilu", *site.inputs, **kept(site, "upper"))


def _grid_sample(sketch: Sketch, site: Site) -> Value:
    modes = {"bilinear": "linear", "bicubic": "cubic"}
    mode = site.text("mode", "bilinear")
    settings = kept(site, "align_corners", "padding_mode")
    return sketch.op("GridSample", *site.inputs, mode=modes.get(mode, mode), **settings)


def _long(sketch: Sketch, x: Value) -> Value:
    return sketch.op("Cast", x, to=7)


RENAMED: Mapping[str, Callable[[Sketch, Site], Value]] = {
    "ExpandDims": _expand_dims,
    "GatherND": _gather_nd,
    "GridSample": _grid_sample,
    "Pad": _pad,
    "Trilu": _trilu,
}
"""Operators that are a standard one but for the form of their inputs."""


@lower(*(f"com.microsoft.{name}" for name in RENAMED))
def renamed(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """See an operator as the standard one of the same meaning."""
    return (RENAMED[site.op.removeprefix("com.microsoft.")](sketch, site),)


@lower("com.microsoft.Unique")
def unique(sketch: Sketch, site: Site) -> tuple[Seen, ...]:
    """Forward: distinct elements in the order in which they come, their places, their counts."""
    y, _, places, counts = sketch.ops("Unique", site.required(0), outputs=4, sorted=0)
    return y, places, counts
