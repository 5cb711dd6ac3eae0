"""Cases of normalisations, Resize and moves between channels and pixels."""

import numpy as np

from tests.ops.case import case, linear

LP_POOLS = (
    *(
        case(
            f"lppool {p}",
            f"y = LpPool<p = {p}, kernel_shape = [2, 3], strides = [1, 2]>(x)",
            (2, 2, 4, 5),
            sample="apart",
        )
        for p in (1, 2, 3)
    ),
    *(
        case(f"lppool {name}", f"y = LpPool<{attributes}>(x)", (2, 2, 5, 5), sample="apart")
        for name, attributes in {
            "pads": "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 0, 1, 1]",
            "ceil": "kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1",
            "dilations": "kernel_shape = [2, 2], dilations = [2, 1]",
            "SAME_UPPER": 'kernel_shape = [2, 2], strides = [2, 2], auto_pad = "SAME_UPPER"',
            "SAME_LOWER": 'kernel_shape = [2, 3], strides = [1, 2], auto_pad = "SAME_LOWER"',
        }.items()
    ),
    case("lppool 1d", "y = LpPool<kernel_shape = [3]>(x)", (2, 2, 6), sample="apart"),
    case("lppool 11", "y = LpPool<kernel_shape = [2, 2]>(x)", (2, 2, 3, 3), opset=11),
    *(
        case(f"global lppool {p}", f"y = GlobalLpPool<p = {p}>(x)", (2, 2, 2, 3), sample="apart")
        for p in (1, 2, 3)
    ),
)

LRN = (
    *(
        case(
            f"lrn {size}",
            f"y = LRN<size = {size}, alpha = 0.5, beta = 0.6, bias = 1.5>(x)",
            (2, 6, 3, 2),
        )
        for size in (1, 3, 5)
    ),
    # ONNX Runtime refuses even sizes; onnx 1.23's evaluator takes the batch for the channels.
    *(
        case(
            f"lrn {size}",
            f"y = LRN<size = {size}, alpha = 0.5, beta = 0.6, bias = 1.5>(x)",
            (5, 5, 2, 1),
            reference=True,
            batch=False,
        )
        for size in (2, 4)
    ),
    case("lrn defaults", "y = LRN<size = 3>(x)", (2, 4, 3, 2)),
    case("lrn wide", "y = LRN<size = 7, alpha = 0.3>(x)", (2, 4, 2, 2)),
)

VARIANCE = np.float32([0.5, 1.5, 2.5])

BATCH_NORMS = (
    *(
        linear(
            f"batchnorm {len(shape)}",
            "y = BatchNormalization(x, s, b, m, v)",
            shape,
            s=(3,),
            b=(3,),
            m=(3,),
            v=VARIANCE,
        )
        for shape in ((4, 3), (2, 3, 4), (2, 3, 2, 3), (2, 3, 2, 2, 2))
    ),
    *(
        linear(
            f"batchnorm opset {opset}",
            "y = BatchNormalization<epsilon = 0.1>(x, s, b, m, v)",
            (2, 3, 2, 3),
            s=(3,),
            b=(3,),
            m=(3,),
            v=VARIANCE,
            opset=opset,
        )
        for opset in (7, 9, 13)
    ),
)


def _resize(name: str, attributes: str, x: tuple[int, ...], **rest: object):
    """A Resize by `scales` or `sizes`."""
    inputs = "x, , , sizes" if "sizes" in rest else "x, , scales"
    return linear(f"resize {name}", f"y = Resize<{attributes}>({inputs})", x, **rest)


MODES = ("half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric")
UP = np.float32([1, 1, 2, 1.5])
DOWN = np.float32([1, 1, 0.5, 0.6])

RESIZES = (
    *(
        _resize(
            f"{mode} {coordinates} {where}",
            f'mode = "{mode}", coordinate_transformation_mode = "{coordinates}"',
            (2, 2, 4, 5),
            scales=scales,
        )
        for mode in ("nearest", "linear", "cubic")
        for coordinates in MODES
        for where, scales in (("up", UP), ("down", DOWN))
    ),
    *(
        _resize(f"nearest {form}", f'nearest_mode = "{form}"', (2, 2, 4, 3), scales=UP)
        for form in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    ),
    _resize(
        "sizes up",
        'mode = "linear"',
        (2, 3, 3, 4),
        sizes=[2, 3, 5, 8],
        fixed=("x0", "x1"),
        batch=False,
    ),
    _resize("sizes down", 'mode = "linear"', (2, 3, 5, 4), sizes=[2, 3, 2, 3], batch=False),
    _resize("sizes axes", 'mode = "linear", axes = [3, 2]', (2, 2, 3, 4), sizes=[6, 5]),
    _resize("scales axes", 'mode = "nearest", axes = [2]', (2, 2, 3, 4), scales=np.float32([2])),
    _resize(
        "negative axes",
        'mode = "linear", axes = [-1, -2]',
        (2, 2, 3, 4),
        scales=np.float32([2, 1.5]),
    ),
    _resize("antialias", 'mode = "linear", antialias = 1', (2, 2, 6, 5), scales=DOWN),
    _resize("cubic antialias", 'mode = "cubic", antialias = 1', (2, 2, 6, 6), scales=DOWN),
    _resize(
        "cubic exclude",
        'mode = "cubic", exclude_outside = 1, cubic_coeff_a = -0.5',
        (2, 2, 4, 5),
        scales=UP,
    ),
    *(
        _resize(
            f"policy {policy}",
            f'mode = "linear", axes = [2, 3], keep_aspect_ratio_policy = "{policy}"',
            (2, 2, 3, 4),
            sizes=[6, 12],
        )
        for policy in ("not_larger", "not_smaller")
    ),
    _resize("1d", 'mode = "linear"', (2, 2, 4), scales=np.float32([1, 1, 2])),
    _resize("3d", 'mode = "nearest"', (1, 2, 2, 2, 3), scales=np.float32([1, 1, 2, 1, 2])),
    _resize("channels", 'mode = "nearest"', (2, 2, 3, 2), scales=np.float32([1, 2, 1, 1])),
    _resize("identity", 'mode = "linear"', (2, 2, 3, 2), scales=np.float32([1, 1, 1, 1])),
    linear(
        "resize 11",
        'y = Resize<mode = "linear">(x, roi, scales)',
        (2, 2, 3, 3),
        roi=np.float32([]),
        scales=np.float32([1, 1, 2, 2]),
        opset=11,
    ),
    linear("resize 10", "y = Resize(x, s)", (2, 2, 3, 3), s=np.float32([1, 1, 2, 2]), opset=10),
    linear("upsample 9", "y = Upsample(x, s)", (2, 2, 3, 3), s=np.float32([1, 1, 2, 3]), opset=9),
    linear("upsample 7", "y = Upsample<scales = [1.0, 1.0, 2.0, 2.0]>(x)", (2, 2, 3, 3), opset=7),
)

CROP = 'coordinate_transformation_mode = "tf_crop_and_resize"'
REGION = np.float32([0, 0, 0.2, -0.3, 1, 1, 0.9, 1.2])

CROPS = (
    *(
        linear(
            f"resize crop {mode} {value} {by}",
            f'y = Resize<mode = "{mode}", {CROP}, extrapolation_value = {value}>(x, r, {inputs})',
            (2, 2, 4, 5),
            r=REGION,
            s=given,
            fixed=("x0", "x1"),
            batch=False,
        )
        for mode in ("nearest", "linear", "cubic")
        for value in (0.0, 2.5)
        for by, inputs, given in (("sizes", ", s", [2, 2, 3, 6]), ("scales", "s", UP))
    ),
    linear(
        "resize crop axes",
        f'y = Resize<mode = "linear", {CROP}, axes = [3, 2]>(x, r, , s)',
        (2, 2, 4, 5),
        r=np.float32([-0.1, 0.3, 0.8, 0.6]),
        s=[3, 4],
    ),
)

RUN_TIME = (
    linear(
        "resize sizes at run time",
        "a = Shape<end = 2>(x) b = Shape<start = 2>(x) c = Mul(b, two) d = Sub(c, one) "
        's = Concat<axis = 0>(a, d) h = Resize<mode = "linear">(x, , , s) y = Reshape(h, q)',
        (2, 2, 3, 4),
        two=[2],
        one=[1],
        q=[0, 0, 0, 0],
        batch=False,
    ),
    linear(
        "resize scales at run time",
        "a = Shape<start = 2>(x) b = Cast<to = 1>(a) c = Div(five, b) s = Concat<axis = 0>(o, c) "
        'h = Resize<mode = "linear">(x, , s) y = Reshape(h, q)',
        (2, 2, 3, 4),
        five=np.float32([5, 5]),
        o=np.float32([1, 1]),
        q=[0, 0, 0, 0],
        batch=False,
    ),
    *(
        _resize(
            f"policy {policy} {mode}",
            f'mode = "{mode}", axes = [2, 3], keep_aspect_ratio_policy = "{policy}"',
            (2, 2, 3, 4),
            sizes=[5, 9],
        )
        for policy in ("not_larger", "not_smaller")
        for mode in ("nearest", "linear", "cubic")
    ),
    *(
        _resize(
            f"policy {policy} {coordinates}",
            f'mode = "linear", axes = [2, 3], keep_aspect_ratio_policy = "{policy}", '
            f'coordinate_transformation_mode = "{coordinates}"',
            (2, 2, 7, 5),
            sizes=sizes,
        )
        for policy, sizes in (("not_larger", [3, 4]), ("not_smaller", [2, 4]))
        for coordinates in ("asymmetric", "pytorch_half_pixel", "align_corners")
    ),
    _resize(
        "linear exclude antialias",
        'mode = "cubic", antialias = 1, exclude_outside = 1',
        (2, 2, 6, 5),
        scales=DOWN,
    ),
    *(
        linear(
            f"center crop pad {name}",
            f"y = CenterCropPad<axes = {axes}>(x, s)",
            (2, 3, 5, 4),
            s=shape,
        )
        for name, axes, shape in (
            ("crop", [2, 3], [3, 2]),
            ("odd crop", [3, 2], [3, 2]),
            ("pad", [-2, -1], [8, 7]),
            ("mixed", [1, 2, 3], [4, 2, 4]),
        )
    ),
    linear("center crop pad all", "y = CenterCropPad(x, s)", (2, 5, 4), s=[3, 3, 6], batch=False),
)

BLOCKS = (
    *CROPS,
    *RUN_TIME,
    *(
        linear(
            f"depth to space {mode}",
            f'y = DepthToSpace<blocksize = 2, mode = "{mode}">(x)',
            (2, 8, 2, 3),
        )
        for mode in ("DCR", "CRD")
    ),
    linear("depth to space 7", "y = DepthToSpace<blocksize = 2>(x)", (2, 4, 2, 3), opset=7),
    linear("space to depth", "y = SpaceToDepth<blocksize = 2>(x)", (2, 2, 4, 6)),
)
