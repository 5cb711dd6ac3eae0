"""External data: outside of the file, beside the output, inside the folder, complete."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

import onnxlrp
from onnxlrp.errors import ModelError
from onnxlrp.graph.load import load
from tests.engine import Session, model_of

X = np.float32([[1, -2, 0.5, 3]])


def saved(folder: Path, location: str = "weights/w.data") -> Path:
    """A model whose weight lies in a folder beside it."""
    w = np.random.default_rng(0).standard_normal((4, 300)).astype(np.float32)
    source = model_of("y = MatMul(x, w)", {"x": ("N", 4)}, {"w": w})
    path = folder / "model.onnx"
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    onnx.save_model(source, path, save_as_external_data=True, location=location, size_threshold=0)
    return path


def relocated(path: Path, location: str, **entries: str) -> onnx.ModelProto:
    source = onnx.load_model(path, load_external_data=False)
    for tensor in source.graph.initializer:
        kept = {entry.key: entry.value for entry in tensor.external_data}
        del tensor.external_data[:]
        for key, value in {**kept, "location": location, **entries}.items():
            tensor.external_data.add(key=key, value=value)
    return source


def test_data_is_copied_beside_the_output(tmp_path: Path) -> None:
    path, out = saved(tmp_path / "in"), tmp_path / "out" / "model.lrp.onnx"
    out.parent.mkdir()
    graph = onnxlrp.compile(path, composite="epsilon", target="seed")
    assert graph.model.graph.initializer[0].data_location == onnx.TensorProto.EXTERNAL
    graph.save(out)
    copied = out.parent / "weights" / "w.data"
    assert copied.read_bytes() == (path.parent / "weights" / "w.data").read_bytes()
    onnx.checker.check_model(str(out), full_check=True)
    whole = onnx.load_model(out)
    feeds = {"x": X, "seed": np.ones((1, 300), np.float32)}
    np.testing.assert_array_equal(
        Session(whole)(feeds)["relevance/x"],
        Session(onnx.load_from_string(graph.to_bytes()))(feeds)["relevance/x"],
    )
    assert sorted(item.name for item in out.parent.iterdir()) == ["model.lrp.onnx", "weights"]


def test_data_in_the_same_folder_stays(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = tmp_path / "weights" / "w.data"
    before = data.stat().st_mtime_ns
    onnxlrp.compile(path, composite="epsilon").save(tmp_path / "model.lrp.onnx")
    assert data.stat().st_mtime_ns == before


def test_bytes_and_protos_need_the_folder(tmp_path: Path) -> None:
    path = saved(tmp_path)
    source = onnx.load_model(path, load_external_data=False)
    for given in (source, path.read_bytes()):
        assert load(given, base_dir=tmp_path).digest == load(path).digest
        with pytest.raises(ModelError, match=r"external data '.*' is missing"):
            load(given, base_dir=tmp_path / "weights")


@pytest.mark.parametrize("location", ["../w.data", "/etc/hostname", "weights/../../w.data", ""])
def test_a_path_that_leaves_the_folder(location: str, tmp_path: Path) -> None:
    path = saved(tmp_path / "in")
    (tmp_path / "w.data").write_bytes(bytes(4800))
    with pytest.raises(ModelError, match="leaves the model's folder"):
        load(relocated(path, location), base_dir=path.parent)


def test_a_link_that_leaves_the_folder(tmp_path: Path) -> None:
    path = saved(tmp_path / "in")
    (tmp_path / "w.data").write_bytes(bytes(4800))
    (path.parent / "link").symlink_to(tmp_path / "w.data")
    with pytest.raises(ModelError, match="leaves the model's folder"):
        load(relocated(path, "link"), base_dir=path.parent)


def test_a_constant_node_that_leaves_the_folder(tmp_path: Path) -> None:
    source = model_of("y = Add(x, w)", {"x": ("N", 4)}, {"w": np.ones(4, np.float32)})
    tensor = source.graph.initializer.pop()
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    source.graph.node.insert(0, helper.make_node("Constant", [], ["w"], value=tensor))
    with pytest.raises(ModelError, match="leaves the model's folder"):
        load(source, base_dir=tmp_path)


@pytest.mark.parametrize("where", ["sparse", "branch", "function"])
def test_data_in_other_places_that_leaves_the_folder(where: str, tmp_path: Path) -> None:
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[4])
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../secret")
    constant = helper.make_node("Constant", [], ["w"], value=tensor)
    source = model_of("y = Identity(x)", {"x": ("N", 4)})
    if where == "function":
        node = helper.make_node("Add", ["a", "w"], ["c"])
        ids = [helper.make_opsetid("", 21)]
        source.functions.append(
            helper.make_function("mine", "F", ["a"], ["c"], [constant, node], ids)
        )
        source.opset_import.append(helper.make_opsetid("mine", 1))
        source.graph.node[0].CopyFrom(helper.make_node("F", ["x"], ["y"], domain="mine"))
    elif where == "branch":
        info = helper.make_tensor_value_info("w", 1, [4])
        body = helper.make_graph([constant], "body", [], [info])
        flag = onnx.numpy_helper.from_array(np.array(True), "flag")
        source.graph.initializer.append(flag)
        branch = helper.make_node("If", ["flag"], ["k"], then_branch=body, else_branch=body)
        source.graph.node.insert(0, branch)
    else:
        indices = onnx.numpy_helper.from_array(np.array([0, 1, 2, 3]), "i")
        sparse = helper.make_sparse_tensor(tensor, indices, [4])
        source.graph.sparse_initializer.append(sparse)
    with pytest.raises(ModelError):
        load(source, base_dir=tmp_path)


def test_data_that_is_missing_or_truncated(tmp_path: Path) -> None:
    path = saved(tmp_path)
    data = tmp_path / "weights" / "w.data"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"is truncated, 4800 bytes expected"):
        load(path)
    data.unlink()
    with pytest.raises(ModelError, match=r"initializer 'w': external data '.*' is missing"):
        load(path)


def test_data_that_is_truncated_without_a_stated_length(tmp_path: Path) -> None:
    path = saved(tmp_path)
    source = relocated(path, "weights/w.data")
    for tensor in source.graph.initializer:
        kept = [entry for entry in tensor.external_data if entry.key == "location"]
        location = kept[0].value
        del tensor.external_data[:]
        tensor.external_data.add(key="location", value=location)
    data = tmp_path / "weights" / "w.data"
    data.write_bytes(data.read_bytes()[:-4])
    with pytest.raises(ModelError):
        load(source, base_dir=tmp_path)


@pytest.mark.parametrize("entries", [{"offset": "x"}, {"length": "-8"}, {"offset": "-8"}])
def test_numbers_that_are_none(entries: dict[str, str], tmp_path: Path) -> None:
    path = saved(tmp_path)
    with pytest.raises(ModelError):
        load(relocated(path, "weights/w.data", **entries), base_dir=tmp_path)


def test_an_output_that_cannot_be_written(tmp_path: Path) -> None:
    graph = onnxlrp.compile(saved(tmp_path), composite="epsilon")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(ModelError, match="cannot write"):
        graph.save(file / "model.onnx")
    source = model_of("y = Relu(x)", {"x": ("N", 4)})
    with pytest.raises(ModelError, match="cannot write"):
        onnxlrp.compile(source, composite="epsilon").save(tmp_path / "nowhere" / "model.onnx")
    assert not list(tmp_path.rglob("*.partial"))
