"""What other runtimes cannot do, by name: patterns of graphs, each with the limit upstream.

`MODELS`: the source model itself does not run there, or gives another prediction than ONNX Runtime.
`GRAPHS`: the model runs there and its explanation does not; at most 5 % of what is left.
Seen with OpenVINO 2026.4.1 and ONNX Runtime Web 1.30.0 (its kernels are older than those of 1.31).
"""

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Final

__all__ = ["GRAPHS", "MODELS", "MOST", "limit"]

MOST: Final = 0.05

_UNKNOWN: Final = "the operator is not implemented"

MODELS: Final[Mapping[str, Mapping[str, str]]] = {
    "openvino": {
        "ops/tconv output_shape *": "ConvTranspose: output_shape, another prediction",
        "ops/tconv SAME_LOWER": "ConvTranspose: auto_pad SAME_LOWER gives another size",
        "ops/avgpool *ceil include pad": "AveragePool: ceil_mode counts pads, another prediction",
        "ops/lppool ceil": "LpPool: ceil_mode, another prediction",
        "ops/global lppool [13]": "GlobalLpPool: the batch must be fixed",
        "ops/lrn [135]": "LRN: odd sizes with these parameters, another prediction",
        "ops/resize * half_pixel_symmetric *": "Resize: half_pixel_symmetric is not implemented",
        "ops/resize crop *": "Resize: tf_crop_and_resize is not implemented",
        "ops/resize negative axes": "Resize: negative axes are refused",
        "ops/resize *antialias": "Resize: antialias, another prediction",
        "ops/resize cubic exclude": "Resize: exclude_outside, another prediction",
        "ops/resize policy *": "Resize: keep_aspect_ratio_policy, another size",
        "ops/pad wrap": "Pad: mode wrap is not implemented",
        "ops/dropout": "Dropout: an input that only passes through is not found by its name",
        "ops/dropout 7": "Dropout: an input that only passes through is not found by its name",
        "ops/ReduceL[12] noop": "Reduce: noop_with_empty_axes, another prediction",
        "ops/ReduceLogSum noop": "Reduce: noop_with_empty_axes, another prediction",
        "ops/layernorm live scale rows": "LayerNormalization: scale of several axes, another size",
        "ops/rmsnorm": "RMSNormalization: the process ends with a segmentation fault",
        "ops/det *": _UNKNOWN,
        "ops/unique order": "Unique: order of the first occurrence, another prediction",
        "ops/tensorscatter*": _UNKNOWN,
        "ops/cumprod *": _UNKNOWN,
        "ops/einsum ii": "Einsum: no diagonal",
        "ops/scaler*": _UNKNOWN + " (ai.onnx.ml)",
        "ops/imputer *": _UNKNOWN + " (ai.onnx.ml)",
        "ops/arrayfeatureextractor *": _UNKNOWN + " (ai.onnx.ml)",
        "ops/featurevectorizer*": _UNKNOWN + " (ai.onnx.ml)",
        "ops/linearregressor *": _UNKNOWN + " (ai.onnx.ml)",
        "ops/linearclassifier *": _UNKNOWN + " (ai.onnx.ml)",
        "ops/gridsample 3d *": "GridSample: two spatial axes only",
        "ops/roialign max *": "RoiAlign: mode max, another prediction",
        "ops/roialign scale": "RoiAlign: spatial_scale, another prediction",
        "ops/maxunpool*": _UNKNOWN,
        "ops/col2im [13]d": "Col2Im: two spatial axes only",
        "ops/deformconv *": _UNKNOWN,
        "ops/dft * axis -2 None": "DFT: negative axis, another prediction",
        "ops/dft * axis 2 3": "DFT: shorter dft_length, another size",
        "ops/dft half *": "DFT: onesided has another size",
        "ops/dft inverse half odd": "DFT: onesided has another size",
        "ops/dft batch axis": "DFT: another result along the batch",
        "ops/dft default axis": "DFT: another default axis",
        "ops/dft 17": "DFT: opset 17 has another size",
        "ops/stft [01] [12]": "STFT: fixed shapes, window as long as the frame",
        "ops/stft window": "STFT: window as long as the frame",
    },
    "ort-web": {
        "ops/stft [01] 2": "STFT: window shorter than the frame, another prediction",
    },
}
"""Limits of operators, by runtime."""

GRAPHS: Final[Mapping[str, Mapping[str, str]]] = {
    "openvino": {
        "ops/tconv 3d": "3-D Conv sharing its weight with a ConvTranspose is wrong",
        "ops/unique": "ReduceSum: axes that are known at run time only are refused",
        "ops/unique axis": "ReduceSum: axes that are known at run time only are refused",
        "ops/dft inverse half 2 axis 1 *": "Pad: the rank must be known, after a DFT it is not",
        "ops/stft length": "DFT: wrong along the third of four axes, which the adjoint needs",
        "rules/epsilon large/tconv SAME_LOWER": "ConvTranspose: SAME_LOWER gives another size",
    },
    "ort-web": {
        "ops/resize scales at run time": "shape inference refuses the matrices of the adjoint",
    },
}
"""Limits of what the compiler writes, by runtime."""


def limit(table: Mapping[str, str], name: str) -> str | None:
    """The limit that an entry is known to meet; None: it must run."""
    return next((text for glob, text in table.items() if fnmatchcase(name, glob)), None)
