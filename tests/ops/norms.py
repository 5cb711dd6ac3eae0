"""Cases of normalisations with statistics of the input, and of choices between inputs."""

import numpy as np

from tests.ops.case import case, linear, pair
from tests.ops.stated import stated

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
    pair(
        "layernorm live scale", "y = LayerNormalization(x, z, b)", (2, 5), (5,), b=(5,), batch=False
    ),
    pair(
        "layernorm live scale rows", "y = LayerNormalization<axis = 1>(x, z)", (2, 3, 4), (2, 3, 4)
    ),
    case("rmsnorm", "y = RMSNormalization(x, s)", (2, 3, 4), s=(4,), opset=23),
    case(
        "rmsnorm 1",
        "y = RMSNormalization<axis = 1, epsilon = 0.5>(x, s)",
        (2, 3, 4),
        s=(3, 4),
        opset=23,
    ),
    pair("rmsnorm live scale", "y = RMSNormalization(x, z)", (2, 5), (2, 5), opset=23),
    *(
        stated(
            f"groupnorm {name}",
            f"y = GroupNormalization<num_groups = {groups}, epsilon = 0.01>(x, s, b)",
            {"x": x},
            {"y": tuple(f"x{axis}" for axis in range(len(x)))},
            s=(x[1],),
            b=(x[1],),
            fixed=("x1",),
        )
        for name, groups, x in (
            ("2", 2, (2, 4, 3, 2)),
            ("1d", 3, (2, 6, 5)),
            ("each", 4, (2, 4, 3)),
            ("one", 1, (2, 2, 3)),
        )
    ),
    case("mvn", "y = MeanVarianceNormalization<axes = [0, 2, 3]>(x)", (3, 2, 3, 2), batch=False),
    case("mvn axes", "y = MeanVarianceNormalization<axes = [1, 2]>(x)", (2, 3, 4)),
    case("mvn 9", "y = MeanVarianceNormalization<axes = [2]>(x)", (2, 3, 4), opset=9),
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
