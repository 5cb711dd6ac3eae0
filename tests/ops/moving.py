"""Cases of operators that copy, reorder, drop or reduce elements."""

import numpy as np

from tests.ops.case import case, linear, pair

INDICES = np.array([[0, 2], [1, 1]])

JOINS = (
    pair("concat", "y = Concat<axis = 1>(x, z)", (2, 3, 2), (2, 1, 2), linear=True),
    pair("concat negative", "y = Concat<axis = -1>(x, z)", (2, 3), (2, 2), linear=True),
    pair("concat batch", "y = Concat<axis = 0>(x, z)", (2, 3), (1, 3), linear=True, batch=False),
    linear(
        "concat constants",
        "y = Concat<axis = 1>(w, x, v)",
        (2, 3),
        w=(2, 1),
        v=(2, 2),
        fixed=("x0",),
        batch=False,
    ),
    linear("concat twice", "y = Concat<axis = 1>(x, x)", (2, 3)),
    linear("concat one", "y = Concat<axis = 1>(x)", (2, 3)),
    linear("split equal", "a, y = Split<axis = 1, num_outputs = 2>(x)", (2, 4), fixed=("x1",)),
    linear("split uneven", "a, y = Split<axis = 1, num_outputs = 2>(x)", (2, 5), fixed=("x1",)),
    linear(
        "split sizes",
        "a, b, c = Split<axis = 1>(x, s) y = Concat<axis = 1>(c, a)",
        (2, 6),
        s=[1, 3, 2],
    ),
    linear(
        "split missing", "a, b, c = Split<axis = 2>(x, s) y = Identity(b)", (2, 2, 6), s=[1, 3, 2]
    ),
    linear(
        "split batch",
        "a, b = Split<axis = 0>(x, s) y = Concat<axis = 0>(b, a)",
        (3, 2),
        s=[1, 2],
        batch=False,
    ),
    linear(
        "split negative", "a, b = Split<axis = -1>(x, s) y = Mul(b, w)", (2, 5), s=[2, 3], w=(3,)
    ),
    linear("split 7", "a, y = Split<axis = 1, split = [1, 3]>(x)", (2, 4), opset=7),
    linear("split 2", "a, y = Split<axis = 1>(x)", (2, 4), opset=11, fixed=("x1",)),
)

SLICES = (
    linear("slice", "y = Slice(x, s, e, a)", (2, 5, 4), s=[1, 0], e=[4, 3], a=[1, 2]),
    linear("slice no axes", "y = Slice(x, s, e)", (2, 5, 4), s=[0, 1, 2], e=[9, 3, 4]),
    linear("slice steps", "y = Slice(x, s, e, a, t)", (2, 7), s=[1], e=[7], a=[1], t=[3]),
    linear("slice backwards", "y = Slice(x, s, e, a, t)", (2, 5), s=[-1], e=[-9], a=[1], t=[-2]),
    linear(
        "slice negative", "y = Slice(x, s, e, a)", (2, 5, 4), s=[-3, -3], e=[-1, 99], a=[-2, -1]
    ),
    linear("slice batch", "y = Slice(x, s, e, a)", (4, 3), s=[1], e=[3], a=[0], batch=False),
    linear("slice 7", "y = Slice<starts = [1], ends = [3], axes = [1]>(x)", (2, 4), opset=7),
    linear("slice 11", "y = Slice(x, s, e, a)", (2, 4), s=[1], e=[-1], a=[1], opset=11),
)

PADS = (
    *(
        linear(f"pad {mode}", f'y = Pad<mode = "{mode}">(x, p)', (2, 3, 4), p=[0, 1, 2, 0, 2, 1])
        for mode in ("constant", "edge", "reflect", "wrap")
    ),
    linear("pad value", "y = Pad(x, p, v)", (2, 3, 4), p=[0, 1, 2, 0, 0, 1], v=0.5),
    linear("pad axes", "y = Pad(x, p, , a)", (2, 3, 4), p=[1, 2], a=[2]),
    linear("pad negative axes", 'y = Pad<mode = "edge">(x, p, , a)', (2, 3, 4), p=[1, 2], a=[-1]),
    linear("pad negative", "y = Pad(x, p)", (2, 4, 5), p=[0, -1, 1, 0, 0, -2]),
    linear("pad negative edge", 'y = Pad<mode = "edge">(x, p)', (2, 4, 5), p=[0, -1, 1, 0, 0, -2]),
    linear("pad batch", "y = Pad(x, p)", (2, 3), p=[1, 0, 0, 2], batch=False),
    linear("pad nothing", "y = Pad(x, p)", (2, 3), p=[0, 0, 0, 0]),
    linear("pad 7", "y = Pad<pads = [0, 1, 0, 2], value = 0.5>(x)", (2, 3), opset=7),
    linear("pad 11", 'y = Pad<mode = "reflect">(x, p)', (2, 3), p=[0, 1, 0, 2], opset=11),
)

RESHAPES = (
    linear("reshape", "y = Reshape(x, s)", (2, 3, 4), s=[0, 4, -1]),
    linear("reshape batch", "y = Reshape(x, s)", (2, 3, 4), s=[-1, 6], batch=False),
    linear(
        "reshape allowzero",
        "y = Reshape<allowzero = 1>(x, s)",
        (2, 3, 4),
        s=[2, 12],
        batch=False,
        fixed=("x0",),
    ),
    linear(
        "reshape computed",
        "s = Shape(x) r = Slice(s, b, e) m = Concat<axis = 0>(r, t) y = Reshape(x, m)",
        (2, 3, 4),
        b=[0],
        e=[1],
        t=[-1],
    ),
    linear("flatten", "y = Flatten(x)", (2, 3, 4)),
    linear("flatten 2", "y = Flatten<axis = 2>(x)", (2, 3, 4), batch=False),
    linear("flatten 0", "y = Flatten<axis = 0>(x)", (2, 3), batch=False),
    linear("flatten negative", "y = Flatten<axis = -1>(x)", (2, 3, 4), batch=False),
    linear("squeeze", "y = Squeeze(x, a)", (2, 1, 3, 1), a=[1, -1], fixed=("x1", "x3")),
    linear("squeeze all", "y = Squeeze(x)", (2, 1, 3), fixed=("x0", "x1", "x2"), batch=False),
    linear("squeeze 11", "y = Squeeze<axes = [1]>(x)", (2, 1, 3), opset=11, fixed=("x1",)),
    linear("unsqueeze", "y = Unsqueeze(x, a)", (2, 3), a=[1, -1]),
    linear("unsqueeze 11", "y = Unsqueeze<axes = [0, 2]>(x)", (2, 3), opset=11, batch=False),
    linear("transpose", "y = Transpose<perm = [0, 2, 1]>(x)", (2, 3, 4)),
    linear("transpose batch", "y = Transpose<perm = [2, 0, 1]>(x)", (2, 3, 4), batch=False),
    linear("transpose reverse", "y = Transpose(x)", (2, 3, 4), batch=False),
    linear("identity", "y = Identity(x)", (2, 3)),
    linear("dropout", "y = Dropout(x)", (2, 3)),
    linear("dropout 7", "y = Dropout<ratio = 0.7>(x)", (2, 3), opset=7),
    linear("cast", "y = Cast<to = 1>(x)", (2, 3)),
    linear("castlike", "y = CastLike(x, w)", (2, 3), w=1.0),
)

COPIES = (
    linear("expand", "y = Expand(x, s)", (2, 1, 3), s=[2, 4, 3], fixed=("x1",), batch=False),
    linear("expand symbol", "y = Expand(x, s)", (2, 1, 3), s=[1, 4, 1]),
    linear("expand rank", "y = Expand(x, s)", (3, 1), s=[2, 3, 4], batch=False),
    linear("expand less", "y = Expand(x, s)", (2, 3), s=[1], batch=True),
    linear("tile", "y = Tile(x, r)", (2, 3, 2), r=[1, 2, 3]),
    linear("tile batch", "y = Tile(x, r)", (2, 3), r=[2, 1], batch=False),
    linear("gather 1", "y = Gather<axis = 1>(x, i)", (2, 4, 2), i=INDICES),
    linear("gather 0", "y = Gather(x, i)", (3, 2), i=INDICES, batch=False),
    linear("gather negative", "y = Gather<axis = -1>(x, i)", (2, 3, 4), i=[-1, 0, -1]),
    linear("gather scalar", "y = Gather<axis = 1>(x, i)", (2, 3, 4), i=np.array(1)),
    linear("gather elements", "y = GatherElements<axis = 1>(x, i)", (2, 3), i=INDICES, batch=False),
    linear("gather elements 0", "y = GatherElements(x, i)", (3, 2), i=INDICES, batch=False),
    linear(
        "gather nd",
        "y = GatherND(x, i)",
        (3, 2, 2),
        i=np.array([[0, 1], [2, 0], [2, 0]]),
        batch=False,
    ),
    linear(
        "gather nd batch",
        "y = GatherND<batch_dims = 1>(x, i)",
        (2, 3, 2),
        i=np.array([[[0], [2]], [[1], [1]]]),
        batch=False,
    ),
)

AXES = {"last": [-1], "two": [1, 2], "batch": [0], "all": []}


def _reductions():
    for op, make, sample in (
        ("ReduceSum", linear, "normal"),
        ("ReduceMean", linear, "normal"),
        ("ReduceMax", case, "apart"),
        ("ReduceMin", case, "apart"),
        ("ReduceL1", case, "apart"),
        ("ReduceL2", case, "apart"),
        ("ReduceSumSquare", case, "normal"),
        ("ReduceLogSum", case, "above"),
        ("ReduceLogSumExp", case, "normal"),
        ("ReduceProd", case, "positive"),
    ):
        for name, axes in AXES.items():
            for keep in (0, 1):
                inputs = "x, a" if axes else "x"
                yield make(
                    f"{op} {name} {keep}",
                    f"y = {op}<keepdims = {keep}>({inputs})",
                    (2, 3, 2),
                    sample=sample,
                    batch=name not in {"batch", "all"},
                    **({"a": axes} if axes else {}),
                )
        for keep in (0, 1):
            yield make(
                f"{op} run time {keep}",
                f"n = Size(x) a = Sub(n, o) s = {op}<keepdims = {keep}>(x, a) y = Reshape(s, t)",
                (2, 3, 2),
                sample=sample,
                batch=False,
                o=[10, 11],
                t=[-1, 1],
            )
        yield make(f"{op} noop", f"y = {op}<noop_with_empty_axes = 1>(x)", (2, 3), sample=sample)
        yield make(f"{op} 11", f"y = {op}<axes = [1]>(x)", (2, 3), sample=sample, opset=11)


ZEROS = np.float32([[1, 0, 2], [0, 1, 0]])

REDUCTIONS = (
    *_reductions(),
    case(
        "reduceprod zeros",
        "m = Mul(x, w) y = ReduceProd(m, a)",
        (2, 3),
        w=ZEROS,
        a=[1],
        batch=False,
    ),
)
