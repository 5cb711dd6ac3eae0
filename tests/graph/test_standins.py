"""Types and shapes of operators for which ONNX infers none."""

import onnx.parser
import pytest

from onnxlrp.graph.load import load

ML = "ai.onnx.ml"
CALLS = {
    f"{ML}.Scaler<offset = [1.0], scale = [2.0]>(x)": ("N", 6),
    f"{ML}.Normalizer(x)": ("N", 6),
    f"{ML}.Imputer<imputed_value_floats = [9.0]>(x)": ("N", 6),
    f"{ML}.FeatureVectorizer<inputdimensions = [6, 6]>(x, x)": ("N", 12),
    f"{ML}.LinearRegressor<coefficients = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]>(x)": ("N", 1),
    "GroupNormalization<num_groups = 2>(x, c, c)": ("N", 6),
    "MeanVarianceNormalization(x)": ("N", 6),
}


@pytest.mark.parametrize("call", CALLS)
def test_shape_is_known_and_the_node_is_kept(call: str) -> None:
    model = onnx.parser.parse_model(
        f'<ir_version: 10, opset_import: ["" : 21, "{ML}" : 3]> g (float[N,6] x) => (float[N,M] y) '
        f"{{ c = Constant<value_floats = {[1.0] * 6}>() a = {call} y = Neg(a) }}"
    )
    graph = load(model)
    value = graph.values["a"]
    assert value.is_float
    assert value.shape == CALLS[call]
    assert [node.op_type for node in graph.source.graph.node] == [
        node.op_type for node in model.graph.node
    ]
