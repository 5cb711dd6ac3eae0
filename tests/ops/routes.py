"""Cases of operators that pick, write or accumulate elements, and of Einsum."""

import numpy as np

from tests.ops.case import Case, case, linear, pair

WRITTEN = "v, i = TopK<axis = 1>(x, k) "
"""Indices that belong to each sample."""

COLUMNS = np.array([[2, 0], [1, 3]])
ROWS = np.array([[2], [0]])

PICKED = (
    case("topk", "y, i = TopK(x, k)", (2, 5), k=[3], sample="apart"),
    case("topk middle", "y, i = TopK<axis = 1>(x, k)", (2, 4, 3), k=[2], sample="apart"),
    case("topk smallest", "y, i = TopK<largest = 0>(x, k)", (2, 5), k=[2], sample="apart"),
    case("topk batch", "y, i = TopK<axis = 0>(x, k)", (4, 3), k=[2], sample="apart", batch=False),
    linear("compress", "y = Compress<axis = 1>(x, c)", (2, 4), c=np.array([True, False, True])),
    linear(
        "compress negative",
        "y = Compress<axis = -1>(x, c)",
        (2, 3, 4),
        c=np.array([False, True, False, True]),
    ),
    linear(
        "compress flat",
        "y = Compress(x, c)",
        (2, 3),
        c=np.array([0, 1, 1, 0, 1]).astype(bool),
        batch=False,
    ),
    linear(
        "reversesequence",
        "y = ReverseSequence<batch_axis = 0, time_axis = 1>(x, l)",
        (2, 4, 2),
        l=[3, 4],
        fixed=("x0",),
        batch=False,
    ),
    linear(
        "reversesequence time first", "y = ReverseSequence(x, l)", (4, 2), l=[3, 2], batch=False
    ),
    case(
        "reversesequence computed",
        "s = Greater(x, w) f = Cast<to = 7>(s) l = ReduceSum<keepdims = 0>(f, a) "
        "m = Max(l, o) y = ReverseSequence<batch_axis = 0, time_axis = 1>(x, m)",
        (2, 5),
        w=0.0,
        a=[1],
        o=[1],
        sample="apart",
    ),
    case("unique", "u, i = Unique(x) y = Mul(u, w)", (2, 3), w=0.5, sample="apart", batch=False),
    case(
        "unique axis",
        "u, i = Unique<axis = 1>(x) y = Mul(u, w)",
        (2, 3),
        w=0.5,
        sample="apart",
        batch=False,
    ),
    case("unique order", "y, i = Unique<sorted = 0>(x)", (5,), sample="apart", batch=False),
    linear("range start", "l = Add(x, e) y = Range(x, l, s)", (), e=2.0, s=0.5, batch=False),
    linear(
        "range step",
        "l = Mul(x, e) y = Range(s, l, x)",
        (),
        e=4.0,
        s=0.0,
        batch=False,
        sample="positive",
    ),
    linear("trilu", "y = Trilu(x)", (2, 3, 4)),
    linear("trilu lower", "y = Trilu<upper = 0>(x, k)", (2, 3, 4), k=np.array(-1)),
    linear("trilu above", "y = Trilu(x, k)", (2, 3, 3), k=np.array(1)),
    linear("trilu matrix", "y = Trilu<upper = 0>(x)", (3, 3), batch=False),
    linear(
        "onehot values",
        "y = OneHot(i, d, x)",
        (2,),
        i=np.array([[0, 2], [1, 1]]),
        d=[3],
        batch=False,
    ),
    linear(
        "onehot values axis",
        "y = OneHot<axis = 0>(i, d, x)",
        (2,),
        i=[0, -1, 1],
        d=[3],
        batch=False,
    ),
)

GATHERED = (
    case(
        "gather elements samples",
        WRITTEN + "y = GatherElements<axis = 1>(x, i)",
        (2, 4),
        k=[3],
        sample="apart",
    ),
    case(
        "gather nd samples",
        WRITTEN + "j = Unsqueeze(i, a) y = GatherND<batch_dims = 1>(x, j)",
        (2, 4),
        k=[3],
        a=[2],
        sample="apart",
    ),
    linear(
        "gather nd negative",
        "y = GatherND(x, i)",
        (3, 2),
        i=np.array([[-1], [0], [-1]]),
        batch=False,
    ),
)

SCATTERED = (
    *(
        pair(
            f"scatterelements {name}",
            f"y = ScatterElements<axis = {axis}>(x, i, z)",
            x,
            (2, 2),
            i=COLUMNS[:, :2],
            linear=True,
            batch=False,
        )
        for name, axis, x in (("1", 1, (2, 4)), ("0", 0, (4, 2)), ("negative", -1, (2, 4)))
    ),
    linear(
        "scatterelements data",
        "y = ScatterElements<axis = 1>(x, i, w)",
        (2, 4),
        i=COLUMNS,
        w=(2, 2),
        batch=False,
    ),
    linear(
        "scatterelements updates",
        "y = ScatterElements<axis = 1>(w, i, x)",
        (2, 2),
        i=COLUMNS,
        w=(2, 4),
        batch=False,
    ),
    case(
        "scatterelements samples",
        WRITTEN + "y = ScatterElements<axis = 1>(x, i, v)",
        (2, 4),
        k=[2],
        sample="apart",
    ),
    case(
        "scatterelements add samples",
        WRITTEN
        + "s = Shape(x) d = ConstantOfShape(s) "
        + 'y = ScatterElements<axis = 1, reduction = "add">(d, i, v)',
        (2, 4),
        k=[2],
        sample="apart",
    ),
    *(
        linear(
            f"scatterelements {reduction} data",
            f'y = ScatterElements<axis = 1, reduction = "{reduction}">(x, i, w)',
            (2, 4),
            i=np.array([[2, 2], [1, 3]]),
            w=(2, 2),
            batch=False,
        )
        for reduction in ("add", "mul")
    ),
    pair(
        "scatterelements add",
        'y = ScatterElements<axis = 1, reduction = "add">(x, i, z)',
        (2, 4),
        (2, 2),
        i=np.array([[2, 2], [1, 3]]),
        linear=True,
        batch=False,
    ),
    linear(
        "scatterelements add updates",
        'y = ScatterElements<axis = 1, reduction = "add">(w, i, x)',
        (2, 2),
        i=np.array([[2, 2], [1, 3]]),
        w=(2, 4),
        batch=False,
    ),
    *(
        pair(
            f"scatterelements {reduction}",
            f'y = ScatterElements<axis = 1, reduction = "{reduction}">(x, i, z)',
            (2, 4),
            (2, 3),
            i=np.array([[2, 2, 1], [1, 3, 3]]),
            batch=False,
        )
        for reduction in ("max", "min")
    ),
    pair(
        "scatternd",
        "y = ScatterND(x, i, z)",
        (3, 2),
        (2, 2),
        i=ROWS,
        linear=True,
        batch=False,
    ),
    pair(
        "scatternd cells",
        "y = ScatterND(x, i, z)",
        (3, 2),
        (2,),
        i=np.array([[0, 1], [2, 0]]),
        linear=True,
        batch=False,
    ),
    *(
        linear(
            f"scatternd {reduction} data",
            f'y = ScatterND<reduction = "{reduction}">(x, i, w)',
            (3, 2),
            i=np.array([[2], [2]]),
            w=(2, 2),
            batch=False,
        )
        for reduction in ("add", "mul")
    ),
    linear(
        "scatternd add updates",
        'y = ScatterND<reduction = "add">(w, i, x)',
        (2, 2),
        i=np.array([[2], [2]]),
        w=(3, 2),
        batch=False,
    ),
    *(
        pair(
            f"scatternd {reduction}",
            f'y = ScatterND<reduction = "{reduction}">(x, i, z)',
            (3, 2),
            (3, 2),
            i=np.array([[2], [2], [0]]),
            batch=False,
        )
        for reduction in ("max", "min")
    ),
    pair(
        "tensorscatter",
        "y = TensorScatter<axis = 1>(x, z, i)",
        (2, 4, 3),
        (2, 2, 3),
        i=[1, 2],
        linear=True,
        opset=24,
        fixed=("x0", "z0"),
        batch=False,
    ),
    pair(
        "tensorscatter circular",
        'y = TensorScatter<axis = 1, mode = "circular">(x, z, i)',
        (2, 4, 3),
        (2, 2, 3),
        i=[1, 3],
        linear=True,
        opset=24,
        batch=False,
    ),
    pair(
        "tensorscatter start",
        "y = TensorScatter<axis = 1>(x, z)",
        (2, 4, 3),
        (2, 2, 3),
        linear=True,
        opset=24,
    ),
)

RUNNING = (
    *(
        linear(
            f"cumsum {axis} {exclusive}{reverse}",
            f"y = CumSum<exclusive = {exclusive}, reverse = {reverse}>(x, a)",
            (2, 3, 4),
            a=np.array(axis),
        )
        for axis in (1, -1)
        for exclusive in (0, 1)
        for reverse in (0, 1)
    ),
    *(
        case(
            f"cumprod {exclusive}{reverse}",
            f"y = CumProd<exclusive = {exclusive}, reverse = {reverse}>(x, a)",
            (2, 4, 2),
            a=np.array(1),
            opset=26,
        )
        for exclusive in (0, 1)
        for reverse in (0, 1)
    ),
    *(
        case(
            f"cumprod zeros {exclusive}",
            f"m = Mul(x, w) y = CumProd<exclusive = {exclusive}>(m, a)",
            (3, 4),
            a=np.array(1),
            w=np.float32([[1, 0, 2, 1], [0, 1, 1, 1], [1, 0, 1, 0]]),
            opset=26,
            batch=False,
        )
        for exclusive in (0, 1)
    ),
    linear("cumsum batch", "y = CumSum(x, a)", (3, 2), a=np.array(0), batch=False),
)


def _one(equation: str, x: tuple[int, ...], *, batch: bool = True, **weights: object) -> Case:
    """One live factor, after the constant ones of the names a, b."""
    names = ", ".join((*weights, "x"))
    body = f'y = Einsum<equation = "{equation}">({names})'
    return linear(f"einsum {equation}", body, x, batch=batch, **weights)


def _two(equation: str, x: tuple[int, ...], z: tuple[int, ...], *, batch: bool = True) -> Case:
    body = f'y = Einsum<equation = "{equation}">(x, z)'
    return pair(f"einsum {equation} live", body, x, z, batch=batch, sample="positive")


EINSUMS = (
    _one("bij->bji", (2, 3, 4)),
    _one("bij->b", (2, 3, 4)),
    _one("bij->bi", (2, 3, 4)),
    _one("bii->bi", (2, 3, 3)),
    _one("bii->b", (2, 3, 3)),
    _one("biji->bj", (2, 3, 2, 3)),
    _one("ij", (2, 3)),
    _one("ba", (2, 3), batch=False),
    _one("ii", (3, 3), batch=False),
    _one("ij->", (2, 3), batch=False),
    _one("...ij->...ji", (2, 2, 3)),
    _one("...i", (2, 3)),
    _one("ij, bi -> bj", (2, 3), a=(3, 4)),
    _one("ij,bkj->bki", (2, 3, 4), a=(5, 4)),
    _one("jk,bi->bijk", (2, 3), a=(2, 4)),
    _one("jk,bi->bij", (2, 3), a=(2, 4)),
    _one("jj,bj->bj", (2, 3), a=(3, 3)),
    _one("jj,bjj->bj", (2, 3, 3), a=(3, 3)),
    _one("ij,jk,bi->bk", (2, 3), a=(3, 4), b=(4, 2)),
    linear(
        "einsum ellipsis of one",
        'y = Einsum<equation = "...ij,...jk->...ik">(a, x)',
        (2, 3, 4),
        a=(1, 2, 3),
        fixed=("x0",),
        batch=False,
    ),
    _two("bij,bjk->bik", (2, 3, 4), (2, 4, 2)),
    _two("bi,bj->bij", (2, 3), (2, 4)),
    _two("bhid,bhjd->bhij", (2, 2, 3, 2), (2, 2, 4, 2)),
    _two("...ij,...jk->...ik", (2, 3, 4), (2, 4, 2)),
    _two("b...i,...i->b...", (2, 3, 4), (1, 4), batch=False),
    _two("...i,...i->...", (2, 3, 4), (2, 1, 4)),
    _two("...,...", (2, 1), (2, 3)),
    _two("bi,bi->b", (2, 3), (2, 3)),
    _two("bi,bij->bj", (2, 3), (2, 3, 2)),
    _two("bii,bi->bi", (2, 3, 3), (2, 3)),
    _two("i,j->ij", (2,), (3,), batch=False),
    pair(
        "einsum three",
        'y = Einsum<equation = "bi,bj,bi->bij">(x, z, x)',
        (2, 3),
        (2, 2),
        sample="positive",
    ),
)

ROUTES = (*PICKED, *GATHERED, *SCATTERED, *RUNNING, *EINSUMS)
