"""Cases of operators that read at computed places: grids, regions, offsets, spectra, blocks."""

import numpy as np

from tests.ops.case import case, linear

RNG = np.random.default_rng(5)
PLANE = RNG.uniform(-1.6, 1.6, (1, 3, 4, 2)).astype(np.float32)
VOLUME = RNG.uniform(-1.4, 1.4, (2, 2, 3, 2, 3)).astype(np.float32)
FAR = np.float32([[[[-9, 0.1], [7.5, -6.3]], [[1, -1], [0, 3]]]])


def _call(operator: str, attributes: str, inputs: str) -> str:
    """One node as ONNX text, which knows no empty list of attributes."""
    return f"y = {operator}{f'<{attributes}>' if attributes else ''}({inputs})"


def _grid(name: str, attributes: str, x: tuple[int, ...], grid: np.ndarray, **rest: object):
    batch = len(grid) == 1
    return linear(
        f"gridsample {name}",
        _call("GridSample", attributes, "x, g"),
        x,
        g=grid,
        batch=batch,
        fixed=("x0",),
        **rest,
    )


GRIDS = (
    *(
        _grid(
            f"{mode} {padding} {corners}",
            f'mode = "{mode}", padding_mode = "{padding}", align_corners = {corners}',
            (1, 2, 4, 5),
            PLANE,
        )
        for mode in ("linear", "nearest", "cubic")
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    ),
    *(
        _grid(
            f"3d {mode} {padding}",
            f'mode = "{mode}", padding_mode = "{padding}"',
            (2, 2, 3, 2, 4),
            VOLUME,
        )
        for mode in ("linear", "nearest")
        for padding in ("zeros", "border", "reflection")
    ),
    *(
        _grid(
            f"far {padding} {corners}",
            f'padding_mode = "{padding}", align_corners = {corners}',
            (1, 1, 3, 2),
            FAR,
        )
        for padding in ("zeros", "border", "reflection")
        for corners in (0, 1)
    ),
    _grid("one pixel", 'padding_mode = "reflection", align_corners = 1', (1, 2, 1, 1), PLANE),
    _grid("batch", "", (2, 2, 4, 3), RNG.uniform(-1, 1, (2, 2, 2, 2)).astype(np.float32)),
    _grid("opset 16", 'mode = "bicubic"', (1, 2, 4, 3), PLANE, opset=16),
    *(
        linear(
            f"affine grid {len(size) - 2}d {corners}",
            f"y = AffineGrid<align_corners = {corners}>(x, s)",
            (2, len(size) - 2, len(size) - 1),
            s=list(size),
            batch=False,
            fixed=("x1", "x2"),
        )
        for size in ((2, 3, 3, 4), (2, 1, 2, 3, 2))
        for corners in (0, 1)
    ),
)

REGIONS = np.float32([[0.3, 0.6, 4.2, 3.4], [1.5, -2, 9, 2.1], [2.2, 2.2, 2.4, 2.3]])
ROWS = np.int64([1, 0, 1])
INTEGERS = np.float32([[0, 1, 1, 4, 3], [1, 0, 2, 2, 5], [1, 3.5, 2.5, 3, 3], [0, 7, 7, 9, 9]])


def _align(name: str, attributes: str, x: tuple[int, ...] = (2, 2, 5, 6), **rest: object):
    given = {"r": REGIONS, "i": ROWS, "batch": False, "opset": 21, **rest}
    greatest = "max" in attributes
    sizes = f"output_height = {1 if greatest else 2}, output_width = {2 if greatest else 3}"
    body = f"y = RoiAlign<{sizes}, {attributes}>(x, r, i)"
    make = case if greatest else linear
    return make(f"roialign {name}", body, x, **given)


ROIS = (
    *(
        _align(
            f"{mode} {ratio} {coordinates}",
            f'mode = "{mode}", sampling_ratio = {ratio}, '
            f'coordinate_transformation_mode = "{coordinates}"',
            (2, 1 if mode == "max" else 2, 5, 6),
            sample="apart",
        )
        for mode in ("avg", "max")
        for ratio in (0, 1, 2)
        for coordinates in ("half_pixel", "output_half_pixel")
    ),
    _align("scale", "spatial_scale = 0.5"),
    _align("10", "sampling_ratio = 2", opset=10),
    _align("max signs", 'mode = "max", sampling_ratio = 2', sample="apart"),
    _align(
        "one",
        "sampling_ratio = 0",
        (1, 2, 5, 6),
        r=REGIONS[:1],
        i=ROWS[1:2] * 0,
        batch=True,
        fixed=("x0",),
    ),
    *(
        case(
            f"maxroipool {scale}",
            f"y = MaxRoiPool<pooled_shape = [2, 3], spatial_scale = {scale}>(x, r)",
            (2, 2, 6, 5),
            r=INTEGERS,
            batch=False,
            sample="apart",
        )
        for scale in (1.0, 0.5)
    ),
    case(
        "maxroipool one",
        "y = MaxRoiPool<pooled_shape = [2, 2]>(x, r)",
        (1, 2, 6, 5),
        r=INTEGERS[:1],
        sample="apart",
        fixed=("x0",),
    ),
)

UNPOOLED = (
    linear(
        "maxunpool",
        "y = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(x, i)",
        (1, 2, 2, 2),
        i=np.int64([[[[5, 7], [13, 8]], [[16, 19], [26, 31]]]]),
        batch=False,
    ),
    linear(
        "maxunpool twice",
        "y = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(x, i)",
        (1, 1, 2, 2),
        i=np.int64([[[[5, 5], [5, 8]]]]),
        batch=False,
    ),
    linear(
        "maxunpool shape",
        "h = MaxUnpool<kernel_shape = [2, 2], strides = [2, 2]>(x, i, s) y = Reshape(h, q)",
        (1, 1, 2, 2),
        i=np.int64([[[[5, 7], [13, 24]]]]),
        s=[1, 1, 5, 5],
        q=[0, 0, 0, 0],
        batch=False,
    ),
)


def _columns(name: str, x: tuple[int, ...], attributes: str = "", **rest: list[int]):
    return linear(f"col2im {name}", _call("Col2Im", attributes, "x, i, b"), x, **rest)


COLUMNS = (
    _columns("plain", (2, 12, 4), "strides = [3, 2]", i=[6, 4], b=[3, 2]),
    _columns("overlap", (1, 8, 12), i=[4, 5], b=[2, 2]),
    _columns("strides", (1, 6, 6), "strides = [2, 1]", i=[6, 3], b=[3, 1]),
    _columns("dilations", (1, 8, 8), "dilations = [2, 1]", i=[4, 5], b=[2, 2]),
    _columns("pads", (1, 4, 20), "pads = [1, 0, 0, 1]", i=[4, 5], b=[2, 2]),
    _columns("1d", (2, 6, 4), i=[6], b=[3]),
    _columns("3d", (1, 8, 8), i=[3, 3, 3], b=[2, 2, 2]),
)


def _deform(name: str, attributes: str, x: tuple[int, ...], w: tuple[int, ...], **rest: object):
    given = [key if key in rest else "" for key in ("b", "m")]
    body = _call("DeformConv", attributes, ", ".join(["x, w, o", *given]).rstrip(", "))
    return linear(f"deformconv {name}", body, x, w=w, batch=x[0] == 1, opset=21, **rest)


DEFORMED = (
    _deform("plain", "", (1, 2, 4, 5), (3, 2, 2, 3), o=(1, 12, 3, 3)),
    _deform("bias mask", "", (1, 2, 4, 4), (3, 2, 2, 2), o=(1, 8, 3, 3), b=(3,), m=(1, 4, 3, 3)),
    _deform(
        "pads strides",
        "strides = [2, 1], pads = [1, 0, 1, 2], dilations = [1, 2]",
        (2, 2, 4, 5),
        (2, 2, 3, 2),
        o=(2, 12, 2, 5),
    ),
    _deform(
        "groups",
        "group = 2, offset_group = 2, kernel_shape = [2, 2]",
        (2, 4, 4, 3),
        (4, 2, 2, 2),
        o=(2, 16, 3, 2),
        m=(2, 8, 3, 2),
    ),
)


def _dft(name: str, attributes: str, x: tuple[int, ...], axis: int, n: int | None = None):
    given: dict[str, object] = {"a": np.array(axis, np.int64)}
    if n is not None:
        given["n"] = np.array(n, np.int64)
    body = _call("DFT", attributes, f"x, {'' if n is None else 'n'}, a")
    batch = axis % len(x) != 0
    if x[-1] == 2 and "onesided" in attributes:
        body, given["q"] = f"h {body[1:]} y = Squeeze(h, q)", [-1]
    return linear(f"dft {name}", body, x, batch=batch, fixed=(f"x{len(x) - 1}",), **given)


def _stft(name: str, half: int, size: int):
    return linear(
        f"stft {name}",
        f"y = STFT<onesided = {half}>(x, s, w)",
        (2, 13, size),
        s=np.array(3, np.int64),
        w=(5,),
        fixed=("x1", "x2"),
    )


SPECTRA = (
    *(
        _dft(f"{what} {size} axis {axis} {n}", attributes, (2, 4, 5, size), axis, n)
        for what, attributes, sizes in (
            ("plain", "", (1, 2)),
            ("inverse", "inverse = 1", (1, 2)),
            ("half", "onesided = 1", (1,)),
            ("inverse half", "inverse = 1, onesided = 1", (2,)),
        )
        for size in sizes
        for axis, n in ((1, None), (-2, None), (1, 6), (2, 3))
        if what != "inverse half" or n != 3
    ),
    _dft("inverse half odd", "inverse = 1, onesided = 1", (2, 3, 3, 2), 2, 5),
    _dft("batch axis", "", (3, 2, 1), 0),
    linear("dft default axis", "y = DFT(x)", (2, 3, 4, 2), fixed=("x3",)),
    linear("dft 17", "y = DFT<axis = 2, onesided = 1>(x)", (2, 3, 4, 1), fixed=("x3",), opset=17),
    *(_stft(f"{half} {size}", half, size) for half in (0, 1) for size in (1, 2)),
    *(
        linear(
            f"stft {name}",
            f"h = STFT<onesided = 1>(x, s, {inputs}) y = Reshape(h, q)",
            (2, 12, 1),
            s=np.array(2, np.int64),
            q=[0, 0, 0, 0],
            batch=False,
            fixed=("x2",),
            **given,
        )
        for name, inputs, given in (
            ("length", ", l", {"l": np.array(6, np.int64)}),
            ("window", "w", {"w": (5,)}),
        )
    ),
)

SAMPLED = (*GRIDS, *ROIS, *UNPOOLED, *COLUMNS, *DEFORMED, *SPECTRA)
