"""Names of types: those of ONNX Runtime to those of the Open Inference Protocol."""

from typing import Final

_SIZES: Final = (8, 16, 32, 64)

DATATYPES: Final = {
    "bool": "BOOL",
    "float16": "FP16",
    "float": "FP32",
    "double": "FP64",
    "bfloat16": "BF16",
    "string": "BYTES",
    **{f"{sign}int{bits}": f"{sign}int{bits}".upper() for sign in ("", "u") for bits in _SIZES},
}
