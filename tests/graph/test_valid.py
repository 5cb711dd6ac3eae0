"""Models whose sizes, data or names contradict themselves are refused in one line."""

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import onnxlrp
from onnxlrp.errors import ModelError
from onnxlrp.graph.load import load
from tests.engine import model_of

W = np.float32([[1, -2], [0.5, 3], [2, 1]])


def dense() -> ModelProto:
    source = model_of("a = MatMul(x, w) y = Relu(a)", {"x": ("N", 3)}, {"w": W})
    source.graph.node[0].name, source.graph.node[1].name = "product", "rectified"
    return source


def refused(source: ModelProto | bytes, match: str) -> None:
    """By loading, compiling and inspecting alike; the text is one line."""
    for use in (load, onnxlrp.compile, onnxlrp.inspect):
        with pytest.raises(ModelError, match=match) as caught:
            use(source)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("place", ["input", "output", "value_info"])
def test_negative_sizes_of_values(place: str) -> None:
    source = dense()
    if place == "value_info":
        source.graph.value_info.append(helper.make_tensor_value_info("a", 1, ["N", 2]))
    value = getattr(source.graph, place)[0]
    value.type.tensor_type.shape.dim[1].dim_value = -3
    refused(source, rf"value '{value.name}' has the size -3")


def test_negative_sizes_of_constants() -> None:
    source = dense()
    source.graph.initializer[0].dims[:] = [-1, 2]
    refused(source, r"constant 'w' has the shape \[-1, 2\]")


def test_two_negative_sizes_whose_product_fits() -> None:
    source = dense()
    source.graph.initializer[0].dims[:] = [-3, -2]
    refused(source, r"constant 'w' has the shape \[-3, -2\]")


@pytest.mark.parametrize("size", [0, 4, 20, 23, 25, 28])
def test_wrong_length_of_data(size: int) -> None:
    """Six numbers of four bytes are 24."""
    source = dense()
    tensor = source.graph.initializer[0]
    tensor.raw_data = (tensor.raw_data * 2)[:size]
    refused(source, r"constant 'w' does not hold \[3, 2\] numbers of type 1")


@pytest.mark.parametrize("count", [5, 7])
def test_wrong_number_of_typed_data(count: int) -> None:
    source = dense()
    source.graph.initializer[0].CopyFrom(
        TensorProto(name="w", data_type=1, dims=[3, 2], float_data=[1.0] * count)
    )
    refused(source, r"constant 'w' does not hold \[3, 2\] numbers of type 1")


def test_a_type_that_there_is_not() -> None:
    source = dense()
    source.graph.initializer[0].data_type = 99
    refused(source, "constant 'w' does not hold .* numbers of type 99")


@pytest.mark.parametrize("where", ["attribute", "branch", "function"])
def test_constants_in_other_places(where: str) -> None:
    bad = TensorProto(name="k", data_type=1, dims=[4], float_data=[1.0] * 3)
    constant = helper.make_node("Constant", [], ["k"], value=bad)
    source = model_of("y = Identity(x)", {"x": ("N", 4)})
    if where == "attribute":
        source.graph.node.insert(0, constant)
    elif where == "branch":
        body = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("k", 1, [4])])
        source.graph.initializer.append(numpy_helper.from_array(np.array(True), "flag"))
        source.graph.node.insert(
            0, helper.make_node("If", ["flag"], ["q"], then_branch=body, else_branch=body)
        )
    else:
        ids = [helper.make_opsetid("", 21)]
        body = helper.make_graph([constant], "b", [], [helper.make_tensor_value_info("k", 1, [4])])
        branch = helper.make_node("If", ["c"], ["q"], then_branch=body, else_branch=body)
        source.functions.append(helper.make_function("mine", "F", ["c"], ["q"], [branch], ids))
        source.opset_import.append(helper.make_opsetid("mine", 1))
    refused(source, r"constant 'k' does not hold \[4\] numbers of type 1")


def patched(name: bytes) -> bytes:
    """The model with the first byte of a name replaced by one that UTF-8 does not have."""
    source = dense()
    source.graph.name = "thegraph"
    source.graph.value_info.append(helper.make_tensor_value_info("hidden", 1, ["N", 2]))
    for node in source.graph.node:
        for names in (node.input, node.output):
            names[:] = [{"a": "hidden", "w": "weight"}.get(item, item) for item in names]
    source.graph.initializer[0].name = "weight"
    data = source.SerializeToString()
    assert name in data
    return data.replace(name, b"\xff" + name[1:])


@pytest.mark.parametrize(
    "name", [b"thegraph", b"hidden", b"weight", b"product", b"rectified", b"MatMul"]
)
def test_names_that_are_no_text(name: bytes) -> None:
    refused(patched(name), "not UTF-8 text|not an ONNX model")


def test_names_of_attributes_that_are_no_text() -> None:
    source = model_of("y = Softmax<axis = 1>(x)", {"x": ("N", 3)})
    data = source.SerializeToString()
    assert b"axis" in data
    refused(data.replace(b"axis", b"\xffxis"), "not UTF-8 text|not an ONNX model")


@pytest.mark.parametrize("name", ["größe", "重み", "w/0:1", "a b", "\u202ename"])
def test_names_that_are_text(name: str) -> None:
    """Whatever UTF-8 has is a name."""
    source = dense()
    source.graph.initializer[0].name = source.graph.node[0].input[1] = name
    assert load(source).values[name].constant is not None


def test_constants_of_text_and_of_no_numbers() -> None:
    """Strings have no fixed length; a size of 0 needs no data."""
    source = dense()
    source.graph.initializer.append(helper.make_tensor("t", TensorProto.STRING, [2], [b"a", b"bc"]))
    source.graph.initializer.append(numpy_helper.from_array(np.zeros((0, 4), np.float32), "none"))
    assert load(source).outputs[0].name == "y"


def test_half_a_byte_for_each_number() -> None:
    """Three numbers of four bits are two bytes."""
    source = dense()
    source.graph.initializer.append(helper.make_tensor("q", TensorProto.INT4, [3], [1, -2, 3]))
    assert load(source).outputs[0].name == "y"


def said(data: bytes) -> str:
    """What loading says against it; empty where it loads."""
    try:
        load(data)
    except onnxlrp.Error as error:
        return str(error)
    return ""


def test_every_byte_of_a_small_model() -> None:
    """One byte set to 0xff, wherever: no error but ours, each one line."""
    data = dense().SerializeToString()
    texts = [said(data[:at] + b"\xff" + data[at + 1 :]) for at in range(len(data))]
    assert 0 < texts.count("") < len(texts)
    assert not any("\n" in text for text in texts)


def test_a_valid_model_is_accepted() -> None:
    onnx.checker.check_model(dense())
    assert load(dense()).outputs[0].name == "y"
