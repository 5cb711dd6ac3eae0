"""Cases of matrix products and of arithmetic, element by element."""

import numpy as np

from tests.ops.case import case, linear, pair

TABLE = np.float32([[1, -2, 0.5], [3, 0.25, -1]])

GEMMS = (
    linear("gemm", "y = Gemm(x, w, c)", (3, 4), w=(4, 5), c=(5,)),
    linear("gemm no bias", "y = Gemm(x, w)", (3, 4), w=(4, 5)),
    linear(
        "gemm alpha beta transB",
        "y = Gemm<alpha = 0.5, beta = -2.0, transB = 1>(x, w, c)",
        (3, 4),
        w=(5, 4),
        c=(5,),
    ),
    linear("gemm transA", "y = Gemm<transA = 1>(x, w, c)", (4, 3), w=(4, 5), c=(3, 5), batch=False),
    linear(
        "gemm transA transB",
        "y = Gemm<transA = 1, transB = 1, alpha = 2.0>(x, w)",
        (4, 3),
        w=(5, 4),
        batch=False,
    ),
    *(
        linear(
            f"gemm second {a}{b}",
            f"y = Gemm<transA = {a}, transB = {b}, alpha = 0.5>(w, x, c)",
            (3, 4),
            w=[(5, 3), (3, 5)][a] if not b else [(5, 4), (4, 5)][a],
            c=(5, 1),
            batch=False,
        )
        for a in (0, 1)
        for b in (0, 1)
    ),
    linear("gemm scalar c", "y = Gemm(x, w, c)", (3, 4), w=(4, 2), c=1.5),
    linear("gemm beta 0", "y = Gemm<beta = 0.0>(x, w, c)", (3, 4), w=(4, 2), c=(2,)),
    linear("gemm 7", "y = Gemm(x, w, c)", (3, 4), w=(4, 5), c=(5,), opset=7),
    pair("gemm live c", "y = Gemm(x, w, z)", (3, 4), (3, 5), w=(4, 5), linear=True),
    pair(
        "gemm live c beta",
        "y = Gemm<alpha = 0.5, beta = 3.0, transB = 1>(x, w, z)",
        (3, 4),
        (1, 5),
        w=(5, 4),
        linear=True,
    ),
    pair(
        "gemm only c",
        "y = Gemm<beta = 2.0>(w, v, x)",
        (3, 5),
        None,
        w=(3, 4),
        v=(4, 5),
        linear=True,
        batch=False,
    ),
    *(
        pair(
            f"gemm both {a}{b}",
            f"y = Gemm<transA = {a}, transB = {b}, alpha = 0.5>(x, z)",
            [(3, 4), (4, 3)][a],
            [(4, 2), (2, 4)][b],
            batch=not a,
        )
        for a in (0, 1)
        for b in (0, 1)
    ),
)

MATMULS = (
    linear("matmul", "y = MatMul(x, w)", (3, 4), w=(4, 5)),
    linear("matmul first", "y = MatMul(w, x)", (4, 3), w=(5, 4), batch=False),
    linear("matmul 3", "y = MatMul(x, w)", (2, 3, 4), w=(4, 5)),
    linear("matmul 3 first", "y = MatMul(w, x)", (2, 4, 3), w=(5, 4)),
    linear("matmul batched", "y = MatMul(x, w)", (2, 3, 4), w=(2, 4, 5), batch=False),
    linear("matmul batched 1", "y = MatMul(x, w)", (2, 3, 4), w=(1, 4, 5)),
    linear("matmul broadcast", "y = MatMul(x, w)", (3, 4), w=(2, 4, 5), batch=False),
    linear("matmul broadcast first", "y = MatMul(w, x)", (4, 3), w=(2, 5, 4), batch=False),
    linear(
        "matmul broadcast 1", "y = MatMul(x, w)", (1, 3, 4), w=(2, 4, 5), batch=False, fixed=("x0",)
    ),
    linear("matmul broadcast 1 symbol", "y = MatMul(x, w)", (1, 3, 4), w=(2, 4, 5), batch=False),
    linear("matmul 4", "y = MatMul(x, w)", (2, 1, 2, 3), w=(2, 3, 2), fixed=("x1",)),
    linear("matmul vector", "y = MatMul(x, w)", (3, 4), w=(4,)),
    linear("matmul vector 3", "y = MatMul(x, w)", (2, 3, 4), w=(4,)),
    linear("matmul vector first", "y = MatMul(w, x)", (4, 3), w=(4,), batch=False),
    linear("matmul vector first 3", "y = MatMul(w, x)", (2, 4, 3), w=(4,)),
    linear("matmul of vector", "y = MatMul(x, w)", (4,), w=(4, 3), batch=False),
    linear("matmul of vector 3", "y = MatMul(x, w)", (4,), w=(2, 4, 3), batch=False),
    linear("matmul on vector", "y = MatMul(w, x)", (4,), w=(3, 4), batch=False),
    linear("matmul on vector 3", "y = MatMul(w, x)", (4,), w=(2, 3, 4), batch=False),
    pair("matmul live", "y = MatMul(x, z)", (3, 4), (4, 2)),
    pair("matmul live 4", "y = MatMul(x, z)", (2, 2, 3, 2), (2, 2, 2, 3)),
    pair("matmul live broadcast", "y = MatMul(x, z)", (2, 3, 4), (4, 2)),
    pair("matmul live broadcast left", "y = MatMul(x, z)", (3, 4), (2, 4, 2), batch=False),
    pair("matmul live vectors", "y = MatMul(x, z)", (4,), (4, 3), batch=False),
    pair("matmul live dot", "y = MatMul(x, z)", (4,), (4,), batch=False),
    case("matmul of itself", "t = Transpose<perm = [0, 2, 1]>(x) y = MatMul(x, t)", (2, 3, 2)),
)

CONSTANT = (
    *(
        linear(
            f"{op.lower()} {order} {shape}",
            f"y = {op}({order})",
            (2, 3, 2),
            w=shape,
            batch=shape[0] != 2,
        )
        for op in ("Add", "Sub", "Mul")
        for order in ("x, w", "w, x")
        for shape in ((3, 1), (1, 2), (2, 3, 2), (1, 3, 2))
    ),
    *(
        linear(f"div x, w {shape}", "y = Div(x, w)", (2, 3, 2), w=shape)
        for shape in ((3, 1), (1, 2), (1, 3, 2))
    ),
    case("div w, x", "y = Div(w, x)", (2, 3, 2), w=(3, 1), sample="positive"),
    linear("mul scalar", "y = Mul(x, w)", (2, 3), w=0.5),
    linear("add scalar", "y = Add(w, x)", (2, 3), w=0.5),
    linear("add widens", "y = Add(x, w)", (3,), w=(2, 3), batch=False),
    linear("sub widens", "y = Sub(w, x)", (3, 1), w=(4,)),
    linear("mul widens", "y = Mul(w, x)", (2, 1), w=(2, 1, 3), batch=False),
    linear("div widens", "y = Div(x, w)", (2, 3), w=(2, 2, 3), batch=False),
    linear("sum constant", "y = Sum(x, w, v)", (2, 3), w=(1, 3), v=(3,)),
    linear("mean constant", "y = Mean(w, x)", (2, 3), w=(3,)),
    linear("neg", "y = Neg(x)", (2, 3)),
    case("pow 2", "y = Pow(x, p)", (2, 3), p=2.0),
    case("pow 3", "y = Pow(x, p)", (2, 3), p=3.0),
    case("pow root", "y = Pow(x, p)", (2, 3), p=0.5, sample="positive"),
    case("pow int", "y = Pow(x, p)", (2, 3), p=np.array(3, dtype=np.int64)),
    case("pow widens", "y = Pow(x, p)", (2, 3), p=TABLE, sample="positive", batch=False),
    case("pow broadcasts", "y = Pow(x, p)", (3,), p=TABLE, sample="positive", batch=False),
    case("pow exponent", "y = Pow(w, x)", (2, 3), w=np.float32([[0.5, 2, 1.5]])),
    case(
        "pow exponent widens",
        "y = Pow(w, x)",
        (2, 1),
        w=np.float32([0.5, 2, 0]),
        sample="positive",
    ),
    *(
        case(f"det {size}", "y = Det(x)", (2, size, size), fixed=("x1", "x2"))
        for size in (1, 2, 3, 4)
    ),
    case("det batches", "y = Det(x)", (2, 3, 2, 2), fixed=("x2", "x3")),
    case("det alone", "y = Det(x)", (3, 3), fixed=("x0", "x1"), batch=False),
    case("mod", "y = Mod<fmod = 1>(x, w)", (2, 3), w=0.75, sample="apart"),
    case("mod widens", "y = Mod<fmod = 1>(x, w)", (2, 1), w=np.float32([1, -1.5]), sample="apart"),
    linear("affine 7", "a = Mul(x, w) y = Add(a, v)", (2, 3), w=(3,), v=(1, 3), opset=7),
)

SHAPES = (
    ("same", (2, 3), (2, 3), True),
    ("row", (2, 3), (1, 3), False),
    ("column", (2, 3), (2, 1), True),
    ("vector", (2, 3), (3,), False),
    ("both", (2, 1, 3), (1, 2, 1), False),
    ("scalar", (2, 3), (), False),
)

LIVE = (
    *(
        pair(f"{op.lower()} live {name}", f"y = {op}(x, z)", x, z, batch=batch, linear=True)
        for op in ("Add", "Sub", "Sum", "Mean")
        for name, x, z, batch in SHAPES
    ),
    *(
        pair(f"{op.lower()} live {name}", f"y = {op}(x, z)", x, z, batch=batch, sample="positive")
        for op in ("Mul", "Div", "Pow")
        for name, x, z, batch in SHAPES
    ),
    pair("sub live turned", "y = Sub(x, z)", (3,), (2, 3), batch=False, linear=True),
    pair("sum live three", "y = Sum(x, z, w, x)", (2, 3), (2, 3), w=(3,), linear=True),
    pair("mean live three", "y = Mean(x, z, w)", (2, 3), (2, 3), w=(3,), linear=True),
    linear("add twice", "y = Add(x, x)", (2, 3)),
    linear("sum three times", "y = Sum(x, x, x)", (2, 3)),
    linear("mean twice", "y = Mean(x, x)", (2, 3)),
    linear("sub twice", "y = Sub(x, x)", (2, 3)),
    case("mul twice", "y = Mul(x, x)", (2, 3)),
    linear("mean one", "y = Mean(x)", (2, 3)),
    linear("sum one", "y = Sum(x)", (2, 3)),
    linear("add chain", "a = Add(x, w) b = Neg(a) c = Add(a, b) y = Add(c, x)", (2, 3), w=(3,)),
)
