"""Cases of `ai.onnx.ml`: preparation of features, and linear models."""

import numpy as np

from tests.ops.stated import Stated, stated

ROWS, COEFFICIENTS = (2, 3), "coefficients = [1.0, -2.0, 0.5, 0.25, 3.0, -1.0]"


def _plain(name: str, call: str, **rest: object) -> Stated:
    """A case from [N, 3] to [N, 3]."""
    shapes = {"y": ("x0", 3)}
    return stated(name, f"y = ai.onnx.ml.{call}", {"x": ROWS}, shapes, fixed=("x1",), **rest)


TRANSFORMS = ("NONE", "SOFTMAX", "LOGISTIC", "SOFTMAX_ZERO")

PREPARED = (
    _plain("scaler", "Scaler<offset = [1.0, -2.0, 0.5], scale = [2.0, 0.5, 3.0]>(x)", linear=True),
    _plain("scaler one", "Scaler<offset = [0.0], scale = [2.0]>(x)", linear=True),
    *(
        _plain(f"normalizer {norm}", f'Normalizer<norm = "{norm}">(x)', sample="apart")
        for norm in ("L1", "L2")
    ),
    stated(
        "normalizer MAX",
        'm = Add(x, w) y = ai.onnx.ml.Normalizer<norm = "MAX">(m)',
        {"x": ROWS}, {"m": ("x0", 3), "y": ("x0", 3)}, fixed=("x1",), sample="apart", w=2.0,
    ),
    *(
        stated(
            f"imputer {gone}",
            f"m = Where(c, x, w) y = ai.onnx.ml.Imputer<imputed_value_floats = [{to}], "
            f"replaced_value_float = {gone}>(m)",
            {"x": ROWS}, {"m": ("x0", 3), "y": ("x0", 3)}, fixed=("x1",), linear=True,
            c=np.array([[True, False, True]]), w=float(gone),
        )
        for gone, to in (("0.5", "9.0"), ("nan", "7.0, 8.0, 9.0"))
    ),
    *(
        stated(
            f"arrayfeatureextractor {indices}",
            "y = ai.onnx.ml.ArrayFeatureExtractor(x, i)",
            {"x": ROWS}, {"y": ("x0", len(indices))}, i=indices, linear=True,
        )
        for indices in ([2], [1, 0, 1])
    ),
    stated(
        "featurevectorizer",
        "y = ai.onnx.ml.FeatureVectorizer<inputdimensions = [3, 2]>(x, z)",
        {"x": ROWS, "z": (2, 2)}, {"y": ("x0", 5)}, fixed=("x1", "z1"), linear=True,
    ),
    stated(
        "featurevectorizer constant",
        "y = ai.onnx.ml.FeatureVectorizer<inputdimensions = [2, 3]>(w, x)",
        {"x": ROWS}, {"y": (2, 5)}, fixed=("x0", "x1"), linear=True, w=(2, 2), batch=False,
    ),
)  # fmt: skip


def _regressor(transform: str) -> Stated:
    call = f'{COEFFICIENTS}, intercepts = [0.5, -1.0], targets = 2, post_transform = "{transform}"'
    return stated(
        f"linearregressor {transform}",
        f"y = ai.onnx.ml.LinearRegressor<{call}>(x)",
        {"x": ROWS},
        {"y": ("x0", 2)},
        fixed=("x1",),
        linear=transform == "NONE",
    )


def _classifier(name: str, coefficients: str, transform: str) -> Stated:
    call = f'{coefficients}, classlabels_ints = [3, 5], post_transform = "{transform}"'
    return stated(
        f"linearclassifier {name} {transform}",
        f"l, y = ai.onnx.ml.LinearClassifier<{call}>(x)",
        {"x": ROWS},
        {"y": ("x0", 2)},
        fixed=("x1",),
        linear=transform == "NONE",
    )


LINEAR_MODELS = (
    *(_regressor(transform) for transform in TRANSFORMS),
    *(
        _classifier("rows", f"{COEFFICIENTS}, intercepts = [0.5, -1.0]", transform)
        for transform in TRANSFORMS
    ),
    _classifier("one row", "coefficients = [1.0, -2.0, 0.5], intercepts = [0.5]", "LOGISTIC"),
)

FEATURES = (*PREPARED, *LINEAR_MODELS)
