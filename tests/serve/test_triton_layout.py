"""What `onnxlrp serve triton` and `serve kserve` write, without a server."""

import ast
import json
from pathlib import Path

import numpy as np
import onnx.parser
import pytest
from onnx import numpy_helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.errors import DataError, InputError
from onnxlrp.serve.folder import add_models, new_folder
from onnxlrp.serve.kserve.manifest import Service
from onnxlrp.serve.settings import Limits
from onnxlrp.serve.triton.layout import Layout
from onnxlrp.serve.triton.pbtxt import Word, to_text

ROWS = """
<ir_version: 10, opset_import: ["" : 21]>
rows (float[N,4] row) => (float[N,3] y) { y = MatMul(row, w) }"""

SCALARS = """
<ir_version: 10, opset_import: ["" : 21]>
scalars (float[N,4] row) => (float[N] y) {
  h = MatMul(row, v)
  last = Constant<value = int64[1] {1}>()
  y = Squeeze(h, last)
}"""


@pytest.fixture
def write(tmp_path, capsys):
    """Write a repository for a model of text; return its configuration."""

    def write(text, *options, server="triton"):
        model = onnx.parser.parse_model(text)
        rng = np.random.default_rng(0)
        for name, shape in (("w", (4, 3)), ("v", (4, 1))):
            values = rng.normal(size=shape).astype(np.float32)
            if any(name in node.input for node in model.graph.node):
                model.graph.initializer.append(numpy_helper.from_array(values, name))
        onnx.save(model, tmp_path / "model.onnx")
        source, out = str(tmp_path / "model.onnx"), tmp_path / "out"
        status = main(["serve", server, source, "-o", str(out), *options])
        said = capsys.readouterr().err
        assert status == (1 if said else 0), said
        return said or (out / "model" / "config.pbtxt").read_text()

    return write


def test_batching_is_on_where_every_axis_0_is_the_batch(write):
    config = write(ROWS)
    assert "max_batch_size: 8\n" in config
    assert "dims: [ 4 ]" in config
    assert "dims: [ 3 ]" in config
    assert "dynamic_batching {" in config


def test_batching_is_off_where_an_output_has_one_axis(write):
    config = write(SCALARS)
    assert "max_batch_size: 0\n" in config
    assert "dims: [ -1, 4 ]" in config
    assert "dims: [ -1 ]" in config
    assert "dynamic_batching" not in config


def test_without_batching_the_batch_is_written_out(write):
    config = write(ROWS, "--max-batch", "0")
    assert "max_batch_size: 0\n" in config
    assert config.count("dims: [ -1, 4 ]") == 2
    assert "dims: [ -1, 3 ]" in config


def test_a_target_is_an_input_and_bars_batching(write):
    config = write(ROWS, "--target", "input")
    assert "max_batch_size: 0\n" in config
    assert 'name: "target"' in config


def test_devices_and_options_are_written(write):
    config = write(ROWS, "--device", "tensorrt", "--fp16", "--engines", "/cache", "--threads", "3")
    assert "KIND_GPU" in config
    assert '"precision_mode"\n        value: "FP16"' in config
    assert 'value: "/cache"' in config
    assert config.index('name: "tensorrt"') < config.index('name: "cuda"')
    assert '"intra_op_thread_count"\n  value {\n    string_value: "3"' in config


def test_a_second_model_joins_and_the_same_is_refused(write, tmp_path):
    write(ROWS)
    before = (tmp_path / "out" / "model" / "config.pbtxt").read_text()
    assert "exists already" in write(ROWS, "--max-batch", "0")
    assert (tmp_path / "out" / "model" / "config.pbtxt").read_text() == before
    write(ROWS, "--name", "other")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"model", "other"}


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a b", "x" * 101])
def test_names_that_leave_the_folder_are_refused(write, tmp_path, name):
    if name:
        assert "is no name for a served model" in write(ROWS, "--name", name)
        assert not (tmp_path / "out").exists()


def test_rows_cannot_be_asked_with_a_picture(write):
    assert "cannot be asked with a picture alone" in write(ROWS, "--ensemble")


def test_a_failure_leaves_nothing(tmp_path):
    (tmp_path / "repository" / "old").mkdir(parents=True)

    def write(folder):
        (folder / "new").mkdir()
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        add_models(tmp_path / "repository", ("new",), write)
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]
    assert [path.name for path in (tmp_path / "repository").iterdir()] == ["old"]
    with pytest.raises(OSError, match="disk full"), new_folder(tmp_path / "one") as folder:
        write(folder)
    assert not (tmp_path / "one").exists()


def test_moves_are_taken_back_when_one_fails(tmp_path):
    (tmp_path / "repository").mkdir()

    def write(folder):
        (folder / "first").mkdir()

    with pytest.raises(OSError, match="second"):
        add_models(tmp_path / "repository", ("first", "second"), write)
    assert not any((tmp_path / "repository").iterdir())


def test_a_full_folder_is_not_overwritten(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("kept")
    with pytest.raises(DataError, match="exists already"), new_folder(tmp_path / "full"):
        pass
    assert (tmp_path / "full" / "file").read_text() == "kept"


def test_text_is_escaped():
    message = {"name": 'a"b\\c\né', "kind": Word("KIND_CPU"), "dims": [-1, 2], "on": True}
    assert to_text(message) == (
        'name: "a\\042b\\134c\\012\\303\\251"\nkind: KIND_CPU\ndims: [ -1, 2 ]\non: true\n'
    )


def test_programs_need_nothing_of_onnxlrp():
    programs = list((Path(onnxlrp.__file__).parent / "serve").rglob("programs/*.py"))
    assert {path.stem for path in programs} >= {"model", "predictor", "picture_steps"}
    for path in programs:
        nodes = list(ast.walk(ast.parse(path.read_text())))
        names = {
            alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names
        }
        names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
        assert not [name for name in names if name.split(".")[0] == "onnxlrp"], path


def test_choices_out_of_range_are_refused():
    with pytest.raises(InputError, match="instances must be at least 1"):
        Layout(instances=0)
    with pytest.raises(InputError, match="unknown backend 'tensorflow'"):
        Layout(backend="tensorflow")
    with pytest.raises(InputError, match="--max-bytes must be at least 1"):
        Limits(max_bytes=0)
    with pytest.raises(InputError, match="unknown device 'tpu'"):
        Service(image="x", device="tpu")


def test_the_manifest_quotes_what_it_takes(write, tmp_path):
    image = 'registry/a:1"\n    evil: true'
    with pytest.raises(FileNotFoundError):
        write(ROWS, "--image", image, "--name", "My_Model", server="kserve")
    text = (tmp_path / "out" / "inferenceservice.yaml").read_text()
    assert 'name: "my-model"' in text
    assert f"image: {json.dumps(image)}" in text
    assert "\n    evil" not in text


def test_a_crop_that_does_not_fit_the_model_is_refused(tmp_path):
    from onnxlrp.data import Preprocessing
    from onnxlrp.serve.artefact import find_pictures, read_artefact

    root = Path(__file__).resolve().parents[2]
    source, graph = root / "models" / "shapes_resnet.onnx", tmp_path / "graph.onnx"
    assert main(["compile", str(source), "-o", str(graph)]) == 0
    artefact = read_artefact(graph, "shapes")
    assert find_pictures(artefact, Preprocessing(crop=64)).relevance == "relevance/image"
    with pytest.raises(DataError, match="crops 32x32 pixels, the model takes 64x64"):
        find_pictures(artefact, Preprocessing(crop=32))


def test_a_compiled_graph_is_served_with_its_external_data(tmp_path, capsys):
    model = onnx.parser.parse_model(ROWS)
    values = np.arange(12, dtype=np.float32).reshape(4, 3)
    model.graph.initializer.append(numpy_helper.from_array(values, "w"))
    path = tmp_path / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    assert main(["compile", str(path), "-o", str(tmp_path / "rows.lrp.onnx")]) == 0
    arguments = ["-o", str(tmp_path / "out"), "--labels", str(tmp_path / "labels.txt")]
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    assert main(["serve", "triton", str(tmp_path / "rows.lrp.onnx"), *arguments]) == 0
    assert (tmp_path / "out" / "rows" / "1" / "w.bin").stat().st_size == 48
    assert (tmp_path / "out" / "rows" / "labels.txt").read_text() == "a\nb\nc\n"
    given = ["serve", "triton", str(tmp_path / "rows.lrp.onnx"), *arguments, "--target", "1"]
    assert main(given) == 1
    assert "is compiled already, --target has no effect" in capsys.readouterr().err
