"""Cases of unary functions and softmax."""

import numpy as np

from tests.ops.case import case, linear, pair

PLAIN = {
    "apart": ("Relu", "HardSwish", "HardSigmoid", "ThresholdedRelu", "Shrink", "Abs", "LeakyRelu"),
    "normal": (
        "Sigmoid", "Tanh", "Softplus", "Softsign", "Mish", "Erf", "Exp", "Sin", "Cos", "Sinh",
        "Cosh", "Atan", "Asinh", "Gelu",
    ),
    "positive": ("Log", "Sqrt", "Reciprocal"),
    "unit": ("Asin", "Acos", "Atanh", "Tan"),
    "above": ("Acosh",),
}  # fmt: skip

WITH_ATTRIBUTES = {
    "leakyrelu": "LeakyRelu<alpha = 0.3>",
    "elu": "Elu<alpha = 0.7>",
    "elu plain": "Elu",
    "celu": "Celu<alpha = 0.7>",
    "selu": "Selu",
    "selu free": "Selu<alpha = 0.7, gamma = 1.3>",
    "hardsigmoid": "HardSigmoid<alpha = 0.1, beta = 0.3>",
    "thresholdedrelu": "ThresholdedRelu<alpha = 0.5>",
    "shrink": "Shrink<lambd = 0.5, bias = 0.25>",
    "gelu tanh": 'Gelu<approximate = "tanh">',
}

OPSETS = {"Gelu": 20, "Mish": 18, "HardSwish": 14}

UNARY = (
    *(
        case(op.lower() + " plain", f"y = {op}(x)", (2, 3, 4), sample=sample)
        for sample, names in PLAIN.items()
        for op in names
    ),
    *(
        case(name, f"y = {call}(x)", (2, 3, 4), sample="apart")
        for name, call in WITH_ATTRIBUTES.items()
    ),
    case("prelu channel", "y = PRelu(x, s)", (2, 3, 4), s=(3, 1), sample="apart"),
    case("prelu scalar", "y = PRelu(x, s)", (2, 3, 4), s=np.float32([0.3]), sample="apart"),
    case("prelu full", "y = PRelu(x, s)", (2, 3, 4), s=(3, 4), sample="apart"),
    case("prelu 7", "y = PRelu(x, s)", (2, 3, 4), s=(3, 1), sample="apart", opset=7),
    pair("prelu live", "y = PRelu(x, z)", (2, 3, 4), (2, 3, 4), sample="apart"),
    pair("prelu live channel", "y = PRelu(x, z)", (2, 3, 4), (3, 1), sample="apart", batch=False),
    linear("prelu slope", "y = PRelu(w, x)", (2, 1), w=(2, 3), batch=False),
    case("clip", "y = Clip(x, l, h)", (2, 3, 4), l=-0.5, h=1.0, sample="apart"),
    case("clip low", "y = Clip(x, l)", (2, 3, 4), l=-0.5, sample="apart"),
    case("clip high", "y = Clip(x, , h)", (2, 3, 4), h=0.5, sample="apart"),
    case("clip nothing", "y = Clip(x)", (2, 3, 4), sample="apart"),
    case("clip 7", "y = Clip<min = -0.5, max = 1.0>(x)", (2, 3, 4), sample="apart", opset=7),
    case("clip 11", "y = Clip(x, l, h)", (2, 3, 4), l=0.0, h=6.0, sample="apart", opset=11),
    case("swish pattern", "s = Sigmoid(x) y = Mul(x, s)", (2, 3)),
    case("relu 7", "y = Relu(x)", (2, 3), sample="apart", opset=7),
)

SOFTMAX = (
    case(
        "softmax of nothing",
        "s = Add(x, w) p = Softmax(s) n = IsNaN(p) y = Where(n, o, p)",
        (3, 4),
        w=np.where([[1, 1, 0, 1], [0, 0, 0, 0], [1, 0, 1, 1]], 0, -np.inf).astype(np.float32),
        o=0.0,
        batch=False,
    ),
    *(
        case(f"{op.lower()} {axis}", f"y = {op}<axis = {axis}>(x)", (2, 3, 4), batch=axis != 0)
        for op in ("Softmax", "LogSoftmax")
        for axis in (-1, 1, 0)
    ),
    case("softmax rows", "y = Softmax(x)", (2, 5)),
    *(
        case(f"{op.lower()} opset {opset}", f"y = {op}<axis = 1>(x)", (2, 3, 2), opset=opset)
        for op in ("Softmax", "LogSoftmax")
        for opset in (7, 11)
    ),
)
