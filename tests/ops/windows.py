"""Cases of convolutions and pools."""

from tests.ops.case import case, linear

CONVOLUTIONS = (
    linear("conv", "y = Conv(x, w)", (2, 3, 5, 6), w=(4, 3, 3, 2)),
    linear("conv bias", "y = Conv(x, w, b)", (2, 3, 5, 6), w=(4, 3, 3, 3), b=(4,)),
    linear("conv 1x1", "y = Conv(x, w)", (2, 3, 4, 3), w=(4, 3, 1, 1)),
    linear("conv 1x1 strides", "y = Conv<strides = [2, 3]>(x, w)", (2, 3, 5, 7), w=(4, 3, 1, 1)),
    linear("conv 1d", "y = Conv<strides = [3], pads = [1, 2]>(x, w)", (2, 3, 10), w=(4, 3, 4)),
    linear(
        "conv 3d",
        "y = Conv<strides = [1, 2, 1], pads = [0, 1, 1, 1, 0, 1]>(x, w, b)",
        (1, 2, 3, 4, 3),
        w=(3, 2, 2, 3, 2),
        b=(3,),
    ),
    linear(
        "conv 3d groups",
        "y = Conv<group = 2, dilations = [1, 1, 2]>(x, w)",
        (1, 4, 2, 3, 4),
        w=(4, 2, 1, 2, 2),
    ),
    linear(
        "conv groups",
        "y = Conv<group = 2, pads = [1, 1, 1, 1]>(x, w)",
        (2, 4, 4, 3),
        w=(6, 2, 3, 3),
    ),
    linear(
        "conv groups strides",
        "y = Conv<group = 2, strides = [2, 2]>(x, w)",
        (2, 4, 5, 6),
        w=(6, 2, 3, 3),
    ),
    linear(
        "conv depthwise",
        "y = Conv<group = 3, pads = [1, 1, 1, 1]>(x, w, b)",
        (2, 3, 4, 5),
        w=(3, 1, 3, 3),
        b=(3,),
    ),
    linear("conv depthwise times two", "y = Conv<group = 3>(x, w)", (2, 3, 4, 5), w=(6, 1, 2, 3)),
    linear("conv dilations", "y = Conv<dilations = [2, 3]>(x, w)", (1, 2, 7, 8), w=(3, 2, 3, 2)),
    linear(
        "conv dilations strides pads",
        "y = Conv<dilations = [2, 1], strides = [2, 3], pads = [2, 0, 1, 2]>(x, w)",
        (2, 2, 8, 7),
        w=(3, 2, 3, 3),
    ),
    linear(
        "conv asymmetric pads", "y = Conv<pads = [0, 2, 1, 0]>(x, w)", (2, 2, 5, 5), w=(3, 2, 3, 3)
    ),
    linear("conv wide pads", "y = Conv<pads = [3, 0, 4, 1]>(x, w)", (2, 2, 4, 4), w=(3, 2, 2, 2)),
    linear(
        "conv stride over kernel", "y = Conv<strides = [3, 4]>(x, w)", (2, 2, 8, 11), w=(3, 2, 2, 2)
    ),
    linear(
        "conv stride over kernel pads",
        "y = Conv<strides = [3, 3], pads = [1, 0, 1, 1]>(x, w)",
        (2, 2, 8, 8),
        w=(3, 2, 2, 2),
    ),
    *(
        linear(
            f"conv {auto} {size} stride {stride}",
            f'y = Conv<auto_pad = "{auto}", strides = [{stride}, {stride}]>(x, w)',
            (2, 2, size, size + 1),
            w=(3, 2, 3, 2),
        )
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")
        for size in (6, 7)
        for stride in (1, 2, 3)
    ),
    linear(
        "conv even kernel",
        "y = Conv<pads = [1, 1, 2, 2], strides = [2, 2]>(x, w)",
        (2, 2, 6, 7),
        w=(3, 2, 4, 4),
    ),
    *(
        linear(
            f"conv phases {name}",
            f"y = Conv<strides = {strides}, pads = {pads}>(x, w)",
            (2, *size),
            w=(8, size[0], *kernel),
        )
        for name, kernel, strides, pads, size in (
            ("3x3 even", (3, 3), [2, 2], [1, 1, 1, 1], (16, 6, 4)),
            ("3x3 odd", (3, 3), [2, 2], [1, 1, 1, 1], (16, 5, 7)),
            ("2x2", (2, 2), [2, 2], [0, 0, 0, 0], (16, 4, 5)),
            ("one axis", (5, 1), [2, 1], [2, 0, 2, 0], (16, 5, 4)),
            ("4x4 asymmetric", (4, 4), [2, 2], [1, 0, 2, 1], (4, 6, 5)),
            ("3x3 without pads", (3, 3), [2, 2], [0, 0, 0, 0], (4, 6, 5)),
            ("stride 3", (5, 3), [3, 1], [1, 0, 1, 0], (4, 7, 4)),
        )
    ),
    *(
        linear(
            f"conv point {size}",
            f"y = Conv<strides = {strides}>(x, w)",
            (2, 16, *size),
            w=(24, 16, 1, 1),
        )
        for size, strides in (((4, 6), [2, 2]), ((5, 3), [2, 2]), ((4, 7), [1, 3]))
    ),
    *(
        linear(
            f"conv depthwise strides {name}",
            f"y = Conv<group = 4, {attributes}>(x, w)",
            (2, 4, *size),
            w=(4, 1, *kernel),
        )
        for name, attributes, kernel, size in (
            ("even", "strides = [2, 2], pads = [1, 1, 1, 1]", (3, 3), (6, 4)),
            ("odd", "strides = [2, 2], pads = [1, 1, 1, 1]", (3, 3), (5, 7)),
            ("one axis", "strides = [1, 2], pads = [2, 1, 2, 2]", (5, 4), (4, 7)),
            ("dilations", "strides = [2, 2], dilations = [2, 1]", (2, 3), (7, 6)),
            ("stride 3", "strides = [3, 3], pads = [0, 1, 1, 0]", (3, 3), (7, 8)),
        )
    ),
    linear(
        "conv 16 channels",
        "y = Conv<pads = [1, 0, 1, 2]>(x, w)",
        (2, 16, 3, 3),
        w=(4, 16, 3, 3),
    ),
    linear("conv zero bias", "y = Conv(x, w, b)", (2, 2, 3, 3), w=(3, 2, 2, 2), b=(3,)),
    linear(
        "conv 7",
        "y = Conv<strides = [2, 2]>(x, w, b)",
        (2, 2, 5, 5),
        w=(3, 2, 3, 3),
        b=(3,),
        opset=7,
    ),
    linear(
        "conv 11", 'y = Conv<auto_pad = "SAME_LOWER">(x, w)', (2, 2, 5, 4), w=(3, 2, 2, 2), opset=11
    ),
)

TRANSPOSED = (
    linear("tconv", "y = ConvTranspose(x, w)", (2, 3, 3, 4), w=(3, 2, 3, 2)),
    linear(
        "tconv bias",
        "y = ConvTranspose<strides = [2, 2]>(x, w, b)",
        (2, 3, 3, 4),
        w=(3, 2, 3, 2),
        b=(2,),
    ),
    linear(
        "tconv 1d", "y = ConvTranspose<strides = [3], pads = [1, 0]>(x, w)", (2, 3, 4), w=(3, 2, 4)
    ),
    linear(
        "tconv 3d",
        "y = ConvTranspose<strides = [2, 1, 2], pads = [0, 1, 1, 1, 0, 0]>(x, w)",
        (1, 2, 2, 3, 3),
        w=(2, 2, 2, 3, 2),
    ),
    linear(
        "tconv groups",
        "y = ConvTranspose<group = 2, strides = [2, 1]>(x, w, b)",
        (2, 4, 3, 3),
        w=(4, 3, 2, 2),
        b=(6,),
    ),
    linear("tconv depthwise", "y = ConvTranspose<group = 3>(x, w)", (2, 3, 3, 3), w=(3, 1, 2, 2)),
    linear(
        "tconv dilations",
        "y = ConvTranspose<dilations = [2, 3], strides = [1, 2]>(x, w)",
        (2, 2, 3, 3),
        w=(2, 3, 3, 2),
    ),
    linear(
        "tconv pads",
        "y = ConvTranspose<pads = [1, 0, 2, 1], strides = [2, 2]>(x, w)",
        (2, 2, 4, 4),
        w=(2, 3, 3, 3),
    ),
    linear(
        "tconv output_padding",
        "y = ConvTranspose<output_padding = [1, 2], strides = [2, 3], pads = [1, 1, 1, 1]>(x, w)",
        (2, 2, 3, 3),
        w=(2, 3, 3, 3),
    ),
    linear(
        "tconv output_padding dilations",
        "y = ConvTranspose<output_padding = [1, 1], strides = [3, 2], dilations = [2, 2]>(x, w)",
        (2, 2, 3, 3),
        w=(2, 3, 2, 2),
    ),
    *(
        linear(
            f"tconv output_shape {auto}",
            f'y = ConvTranspose<auto_pad = "{auto}", strides = [2, 3], output_shape = [6, 8]>'
            "(x, w)",
            (2, 2, 3, 3),
            w=(2, 3, 3, 2),
            fixed=("x2", "x3"),
        )
        for auto in ("NOTSET", "SAME_UPPER", "SAME_LOWER")
    ),
    *(
        linear(
            f"tconv {auto}",
            f'y = ConvTranspose<auto_pad = "{auto}", strides = [2, 1]>(x, w)',
            (2, 2, 3, 4),
            w=(2, 3, 3, 4),
        )
        for auto in ("SAME_UPPER", "SAME_LOWER", "VALID")
    ),
    linear(
        "tconv stride over kernel",
        "y = ConvTranspose<strides = [3, 3]>(x, w)",
        (2, 2, 3, 3),
        w=(2, 3, 2, 1),
    ),
    linear(
        "tconv 11",
        "y = ConvTranspose<strides = [2, 2]>(x, w)",
        (2, 2, 3, 3),
        w=(2, 3, 3, 3),
        opset=11,
    ),
)


def _max(name: str, attributes: str, x: tuple[int, ...], **rest: object):
    return case(f"maxpool {name}", f"y = MaxPool<{attributes}>(x)", x, sample="apart", **rest)


def _avg(name: str, attributes: str, x: tuple[int, ...], **rest: object):
    return linear(f"avgpool {name}", f"y = AveragePool<{attributes}>(x)", x, **rest)


DILATED = "kernel_shape = [2, 3], dilations = [2, 2], strides = [2, 1], pads = [1, 2, 1, 2]"

MAX_POOLS = (
    _max("2", "kernel_shape = [2, 2], strides = [2, 2]", (2, 3, 4, 4)),
    _max("2 odd", "kernel_shape = [2, 2], strides = [2, 2]", (2, 3, 5, 7)),
    _max("3", "kernel_shape = [3, 3], strides = [3, 3]", (2, 2, 6, 7)),
    _max("2 by 4", "kernel_shape = [2, 4], strides = [2, 4]", (2, 2, 4, 8)),
    _max(
        "2 end pads", "kernel_shape = [2, 2], strides = [2, 2], pads = [0, 0, 1, 1]", (2, 2, 5, 4)
    ),
    _max("2 ceil", "kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1", (2, 2, 5, 4)),
    _max("same 5", "kernel_shape = [5, 5], pads = [2, 2, 2, 2]", (1, 2, 5, 4)),
    _max(
        "even sizes", "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]", (2, 2, 6, 4)
    ),
    _max("3d 2", "kernel_shape = [2, 2, 2], strides = [2, 2, 2]", (1, 2, 4, 2, 5)),
    _max("overlap", "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]", (2, 2, 6, 7)),
    _max("stride 1", "kernel_shape = [2, 3]", (2, 2, 4, 5)),
    _max("ceil", "kernel_shape = [3, 2], strides = [2, 2], ceil_mode = 1", (2, 2, 6, 5)),
    _max(
        "ceil pads",
        "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1, pads = [1, 0, 0, 1]",
        (2, 2, 6, 5),
    ),
    _max("dilations", "kernel_shape = [2, 2], dilations = [2, 3]", (2, 2, 5, 6)),
    _max(
        "dilations pads ceil",
        f"{DILATED}, ceil_mode = 1",
        (2, 2, 6, 7),
    ),
    _max(
        "asymmetric pads",
        "kernel_shape = [3, 3], strides = [2, 1], pads = [0, 1, 2, 0]",
        (2, 2, 5, 5),
    ),
    _max("gap", "kernel_shape = [2, 2], strides = [3, 4]", (2, 2, 8, 7)),
    _max(
        "SAME_UPPER",
        'kernel_shape = [3, 2], strides = [2, 2], auto_pad = "SAME_UPPER"',
        (2, 2, 5, 6),
    ),
    _max(
        "SAME_LOWER",
        'kernel_shape = [3, 2], strides = [2, 1], auto_pad = "SAME_LOWER"',
        (2, 2, 6, 5),
    ),
    _max("VALID", 'kernel_shape = [3, 2], strides = [2, 2], auto_pad = "VALID"', (2, 2, 6, 5)),
    _max("1d", "kernel_shape = [3], strides = [2]", (2, 3, 8)),
    _max("3d", "kernel_shape = [2, 2, 2], strides = [1, 2, 2]", (1, 2, 3, 4, 4)),
    _max("storage_order", "kernel_shape = [2, 2], storage_order = 1", (2, 2, 4, 4)),
    _max("8", "kernel_shape = [2, 2], strides = [2, 2]", (2, 2, 4, 4), opset=8),
    case(
        "maxpool indices",
        "y, i = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)",
        (2, 2, 4, 4),
        sample="apart",
    ),
    case("global maxpool", "y = GlobalMaxPool(x)", (2, 3, 3, 4), sample="apart"),
    case("global maxpool 1d", "y = GlobalMaxPool(x)", (2, 3, 5), sample="apart"),
)

AVERAGE_POOLS = (
    _avg("2", "kernel_shape = [2, 2], strides = [2, 2]", (2, 3, 4, 4)),
    _avg("tiles not", "kernel_shape = [2, 2], strides = [2, 2]", (2, 3, 5, 4)),
    _avg("3 by 2", "kernel_shape = [3, 2], strides = [3, 2]", (2, 3, 7, 5)),
    _avg("2 ceil", "kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1", (2, 3, 5, 4)),
    _avg("tiles 1d", "kernel_shape = [2], strides = [2]", (2, 3, 6)),
    _avg("tiles 3d", "kernel_shape = [2, 1, 2], strides = [2, 1, 2]", (1, 2, 4, 2, 3)),
    _avg("stride 1 pads", "kernel_shape = [3, 5], pads = [1, 2, 1, 2]", (2, 2, 5, 6)),
    _avg("stride 1", "kernel_shape = [2, 3]", (2, 2, 4, 5)),
    _avg(
        "overlap pads", "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]", (2, 2, 6, 7)
    ),
    _avg(
        "include pad",
        "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 0, 1, 2], count_include_pad = 1",
        (2, 2, 6, 7),
    ),
    _avg("ceil", "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1", (2, 2, 6, 6)),
    _avg(
        "ceil include pad",
        "kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1, pads = [1, 1, 0, 0], "
        "count_include_pad = 1",
        (2, 2, 6, 7),
    ),
    _avg(
        "ceil pads",
        "kernel_shape = [2, 3], strides = [2, 2], ceil_mode = 1, pads = [1, 1, 0, 1]",
        (2, 2, 6, 6),
    ),
    _avg("dilations", "kernel_shape = [2, 2], dilations = [2, 3]", (2, 2, 5, 6)),
    _avg(
        "dilations pads",
        "kernel_shape = [2, 3], dilations = [2, 1], pads = [1, 1, 1, 1]",
        (2, 2, 5, 6),
    ),
    _avg(
        "dilations ceil",
        f"{DILATED}, ceil_mode = 1",
        (2, 2, 6, 7),
    ),
    _avg(
        "dilations include pad",
        f"{DILATED}, count_include_pad = 1",
        (2, 2, 6, 7),
    ),
    _avg(
        "dilations ceil include pad",
        f"{DILATED}, ceil_mode = 1, count_include_pad = 1",
        (2, 2, 6, 7),
    ),
    _avg("gap", "kernel_shape = [2, 1], strides = [3, 2]", (2, 2, 8, 7)),
    _avg(
        "SAME_UPPER",
        'kernel_shape = [3, 2], strides = [2, 2], auto_pad = "SAME_UPPER"',
        (2, 2, 5, 6),
    ),
    _avg(
        "SAME_LOWER",
        'kernel_shape = [3, 2], strides = [1, 2], auto_pad = "SAME_LOWER"',
        (2, 2, 5, 5),
    ),
    _avg(
        "SAME_LOWER include pad",
        'kernel_shape = [3, 2], auto_pad = "SAME_LOWER", count_include_pad = 1',
        (2, 2, 5, 5),
    ),
    _avg("VALID", 'kernel_shape = [3, 2], strides = [1, 2], auto_pad = "VALID"', (2, 2, 5, 5)),
    _avg("1d", "kernel_shape = [3], strides = [2], pads = [1, 0]", (2, 3, 8)),
    _avg(
        "3d",
        "kernel_shape = [2, 2, 2], strides = [1, 2, 2], pads = [0, 1, 0, 0, 0, 1]",
        (1, 2, 3, 4, 4),
    ),
    _avg(
        "7", "kernel_shape = [2, 2], strides = [2, 2], pads = [1, 1, 0, 0]", (2, 2, 5, 5), opset=7
    ),
    linear("global avgpool", "y = GlobalAveragePool(x)", (2, 3, 3, 4)),
    linear("global avgpool 1d", "y = GlobalAveragePool(x)", (2, 3, 5)),
    linear("global avgpool 3d", "y = GlobalAveragePool(x)", (2, 2, 2, 3, 2)),
)
