"""Cases of normalisations with statistics of the input, and of choices between inputs."""

import numpy as np

from tests.ops.case import case, linear, pair

NORMS = (
    *(
        case(
            f"layernorm {axis}",
            f"y = LayerNormalization<axis = {axis}>(x, s, b)",
            (2, 3, 4),
            s=s,
            b=s,
        )
        for axis, s in {-1: (4,), 1: (3, 4), 2: (4,)}.items()
    ),
    case("layernorm no bias", "y = LayerNormalization(x, s)", (2, 5), s=(5,)),
    case(
        "layernorm epsilon",
        "y = LayerNormalization<epsilon = 0.5>(x, s, b)",
        (2, 5),
        s=(5,),
        b=(5,),
    ),
    case("instancenorm", "y = InstanceNormalization(x, s, b)", (2, 3, 4, 2), s=(3,), b=(3,)),
    case("instancenorm 1d", "y = InstanceNormalization(x, s, b)", (2, 3, 5), s=(3,), b=(3,)),
    case(
        "instancenorm 7", "y = InstanceNormalization(x, s, b)", (2, 3, 5), s=(3,), b=(3,), opset=7
    ),
    *(
        case(
            f"lpnorm {p} {axis}",
            f"y = LpNormalization<p = {p}, axis = {axis}>(x)",
            (2, 3, 4),
            sample="apart",
        )
        for p in (1, 2)
        for axis in (-1, 1)
    ),
)

MASK = np.array([[True, False, True]])

CHOICES = (
    linear("where constant", "y = Where(c, x, w)", (2, 3), c=MASK, w=(1, 3)),
    linear("where constant first", "y = Where(c, w, x)", (2, 3), c=MASK, w=(3,)),
    case("where compared", "c = Greater(x, w) y = Where(c, x, w)", (2, 3), w=(3,), sample="apart"),
    pair("where live", "y = Where(c, x, z)", (2, 3), (2, 3), c=MASK, linear=True),
    case("max constant", "y = Max(x, w)", (2, 3), w=np.float32([0, 0.5, -1]), sample="apart"),
    case("min constant", "y = Min(w, x)", (2, 3), w=np.float32(0.5), sample="apart"),
    case("max alone", "y = Max(x)", (2, 3)),
    pair("max live", "y = Max(x, z)", (2, 3), (2, 3), sample="normal"),
    pair("min live", "y = Min(x, z, x)", (2, 3), (2, 3), sample="normal"),
    pair("max live column", "y = Max(x, z)", (2, 3), (2, 1), sample="normal"),
)

NORMALISED = (*NORMS, *CHOICES)
