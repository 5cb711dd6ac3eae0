"""Models from strangers: one line or a right answer; memory, files and programs stay ours."""

import json
import struct
import tracemalloc
import zlib

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.data import Preprocessing, load_labels, load_picture
from onnxlrp.errors import DataError, ModelError
from onnxlrp.metadata import Metadata
from tests.engine import model_of

BIG = 1 << 33
MOST = 200 * 2**20


def const(name, value):
    return numpy_helper.from_array(np.array(value), name)


def with_constant(node, *constants):
    """`y = x + sum(node(constants))`: a value that only the constants decide."""
    value = helper.make_tensor_value_info
    nodes = [
        node,
        helper.make_node("ReduceSum", ["c"], ["d"], keepdims=0),
        helper.make_node("Cast", ["d"], ["e"], to=1),
        helper.make_node("Add", ["x", "e"], ["y"]),
    ]
    rows = ["N", 4]
    graph = helper.make_graph(
        nodes, "g", [value("x", 1, rows)], [value("y", 1, rows)], list(constants)
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def node(kind, *names):
    return helper.make_node(kind, names, ["c"])


F4, ROW, COLUMN = np.zeros(4, np.float32), np.ones((1, 60_000)), np.ones((60_000, 1))
BOMBS = {
    "ConstantOfShape": with_constant(node("ConstantOfShape", "s"), const("s", [BIG])),
    "Expand": with_constant(node("Expand", "a", "s"), const("a", F4[0]), const("s", [BIG])),
    "Tile": with_constant(node("Tile", "a", "s"), const("a", F4), const("s", [BIG])),
    "Pad": with_constant(node("Pad", "a", "s"), const("a", F4), const("s", [0, BIG])),
    "Range": with_constant(
        node("Range", "a", "b", "s"), const("a", 0), const("b", BIG), const("s", 1)
    ),
    "OneHot": with_constant(
        node("OneHot", "i", "n", "v"), const("i", [1]), const("n", BIG), const("v", F4[:2])
    ),
    "Resize": with_constant(
        node("Resize", "a", "", "", "s"), const("a", F4[None, None]), const("s", [1, 1, BIG])
    ),
    "Add": with_constant(node("Add", "a", "b"), const("a", ROW), const("b", COLUMN)),
    "MatMul": with_constant(node("MatMul", "b", "a"), const("a", ROW), const("b", COLUMN)),
}


@pytest.mark.parametrize("kind", BOMBS)
def test_small_constants_that_would_grow_are_not_computed(kind):
    tracemalloc.start()
    try:
        onnxlrp.inspect(BOMBS[kind])
        onnxlrp.compile(BOMBS[kind])
        assert tracemalloc.get_traced_memory()[1] < MOST
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("shape", [[1 << 40], [1 << 40, 1 << 40], [-4], [2**62, 4]])
def test_weights_that_claim_to_be_large(shape):
    model = model_of("y = Add(x, w)", {"x": ("N", 4)}, {"w": F4})
    model.graph.initializer[0].dims[:] = shape
    with pytest.raises(ModelError):
        onnxlrp.compile(model)


def nested(depth):
    """Branches in branches."""
    info = helper.make_tensor_value_info("o", 1, ["N", 4])
    inner = helper.make_node("Identity", ["x"], ["o"])
    for _ in range(depth):
        body = helper.make_graph([inner], "b", [], [info])
        inner = helper.make_node("If", ["flag"], ["o"], then_branch=body, else_branch=body)
    return inner


def test_branches_in_branches():
    value = helper.make_tensor_value_info
    chosen = nested(6)
    chosen.output[0] = "y"
    inputs = [value("x", 1, ["N", 4]), value("flag", 9, [])]
    graph = helper.make_graph([chosen], "g", inputs, [value("y", 1, ["N", 4])])
    opsets = [helper.make_opsetid("", 21)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    explain = onnxlrp.Explainer(onnxlrp.compile(model, composite="gradient", target="0"))
    result = explain({"x": np.ones((1, 4), np.float32), "flag": np.array(True)})
    np.testing.assert_array_equal(result.relevance["x"], [[1, 0, 0, 0]])


def field(number, content):
    """A field of a protobuf message."""
    size, length = b"", len(content)
    while length > 127:
        size, length = size + bytes([length & 127 | 128]), length >> 7
    return bytes([number << 3 | 2]) + size + bytes([length]) + content


def deep(depth=5000):
    """graph.node.attribute.graph.node..."""
    content = b""
    for _ in range(depth):
        content = field(1, field(5, field(6, content)))
    return field(7, content)


def entry(key, value):
    return field(14, field(1, key) + field(2, value))


FILES = {
    "nested deeply": deep(),
    "zeros": bytes(1_000_000),
    "groups": b"\x3b" * 100_000,
    "many empty fields": field(8, b"") * 500_000,
    "a length that is not there": b"\x3a" + b"\xff" * 8 + b"\x7f" + b"xx",
    "a length beyond 64 bits": b"\x3a" + b"\xff" * 9 + b"\x01",
    "a graph only by its label": entry(b"onnxlrp.version", b'"1"') + b"\x3a\x05abc",
    "labels without end": entry(b"onnxlrp.version", b"[" * 100_000) + field(7, b""),
}
COMMANDS = (
    ("inspect", "{}"),
    ("compile", "{}", "-o", "{}.out"),
    ("serve", "triton", "{}", "-o", "{}.triton"),
    ("serve", "kserve", "{}", "-o", "{}.kserve"),
    ("serve", "web", "{}", "-o", "{}.web"),
    ("serve", "http", "{}"),
)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda words: " ".join(words[:2]))
def test_files_that_are_no_model(tmp_path, capfd, name, command):
    if command[1] == "http":
        pytest.importorskip("uvicorn", reason="the extra `serve` is not installed")
    path = tmp_path / "model.onnx"
    path.write_bytes(FILES[name])
    assert main([word.format(path) for word in command]) == 1
    said = capfd.readouterr().err
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert len(said) < 1000


PROPERTIES = onnxlrp.compile(model_of("y = Relu(x)", {"x": ("N", 4)})).model.metadata_props
WRONG = {
    "composite": ["[]", "5", "null", "[" * 100_000],
    "inputs": ["5", '"x"', "[1]", "{}"],
    "output": ["[]", "1"],
    "target": ["1", "null"],
    "ledger": ["{}", "[[]]"],
    "preprocessing": ["[]", '"unit"'],
    "shadow": ["1", '"no"'],
    "labels": ["[]", '{"y": 3}'],
    "notes": ["{}", '["a"]', '[["a"]]'],
}


@pytest.mark.parametrize(("key", "value"), [(key, v) for key in WRONG for v in WRONG[key]])
def test_metadata_of_another_form(key, value):
    whole = {item.key: item.value for item in PROPERTIES}
    assert Metadata.read(whole).inputs == ("x",)
    with pytest.raises(ModelError, match=f"metadata key 'onnxlrp.{key}'"):
        Metadata.read(whole | {f"onnxlrp.{key}": value})


def outside(folder, location):
    """A model whose weight lies in a file of that name."""
    w = np.random.default_rng(0).standard_normal((4, 300)).astype(np.float32)
    source = model_of("y = MatMul(x, w)", {"x": ("N", 4)}, {"w": w})
    (folder / location).parent.mkdir(parents=True, exist_ok=True)
    place = {"location": location, "size_threshold": 0, "save_as_external_data": True}
    onnx.save_model(source, folder / "model.onnx", **place)
    return str(folder / "model.onnx")


@pytest.mark.parametrize(
    "location",
    ["numpy.py", "numpy/__init__.py", "onnxruntime.so", "JSON.PY", ".bashrc", ".ssh/config"],
)
@pytest.mark.parametrize(
    "command",
    [("compile",), ("serve", "kserve"), ("serve", "triton", "--backend", "python")],
    ids=lambda words: words[-1],
)
def test_weights_that_are_named_like_programs(tmp_path, capfd, location, command):
    """Beside a predictor, `numpy.py` would be what it imports."""
    model = outside(tmp_path / "in", location)
    out = tmp_path / "out"
    target = out / "o.onnx" if command == ("compile",) else out
    if command == ("compile",):
        out.mkdir()
    assert main([*command, model, "-o", str(target)]) == 1
    assert f"external data '{location}'" in capfd.readouterr().err
    assert not out.exists() or list(out.iterdir()) == []


def test_weights_do_not_overwrite_what_is_there(tmp_path):
    graph = onnxlrp.compile(outside(tmp_path / "in", "notes.txt"))
    out = tmp_path / "out"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    with pytest.raises(ModelError, match="exists and is other data"):
        graph.save(out / "o.onnx")
    assert [item.name for item in out.iterdir()] == ["notes.txt"]
    (out / "notes.txt").unlink()
    graph.save(out / "o.onnx")
    graph.save(out / "o.onnx")  # the same data may lie there
    (out / "notes.txt").unlink()
    (out / "notes.txt").symlink_to(tmp_path / "absent")
    with pytest.raises(ModelError, match="exists and is other data"):
        graph.save(out / "o.onnx")
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    "name", ["../up", "a/b", "/tmp/x", ".hidden", "a b", "a\nb", "", "a" * 200]
)
@pytest.mark.parametrize("server", ["triton", "kserve"])
def test_names_of_models_are_no_paths(tmp_path, capfd, name, server):
    onnx.save(model_of("y = Relu(x)", {"x": ("N", 4)}), tmp_path / "m.onnx")
    words = ["serve", server, str(tmp_path / "m.onnx"), "-o", str(tmp_path / "out")]
    status = main([*words, f"--name={name}"])
    if name:
        assert status == 1
        assert "is no name for a served model" in capfd.readouterr().err
        assert sorted(item.name for item in tmp_path.iterdir()) == ["m.onnx"]
    else:
        assert status == 0  # that of the file


def test_files_beside_a_model_that_are_nested_deeply(tmp_path):
    path = tmp_path / "deep.json"
    path.write_text("[" * 200_000)
    with pytest.raises(DataError, match="JSON"):
        load_labels(path)
    with pytest.raises(DataError, match="JSON"):
        Preprocessing.parse(str(path))


def test_files_beside_a_model_that_are_long(tmp_path):
    path = tmp_path / "long.json"
    path.write_bytes(b"\n" * (17 * 2**20))
    with pytest.raises(DataError, match="more than"):
        load_labels(path)
    with pytest.raises(DataError, match="more than"):
        Preprocessing.parse(str(path))


def test_a_name_of_several_lines_is_one_class(tmp_path):
    onnx.save(model_of("y = Relu(x)", {"x": ("N", 2)}), tmp_path / "m.onnx")
    (tmp_path / "labels.json").write_text(json.dumps(["a\nb", "c"]))
    words = ["serve", "triton", str(tmp_path / "m.onnx"), "-o", str(tmp_path / "out")]
    assert main([*words, "--labels", str(tmp_path / "labels.json")]) == 0
    assert (tmp_path / "out" / "m" / "labels.txt").read_text() == "a b\nc\n"


def chunk(kind, content):
    end = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + end


@pytest.mark.parametrize("kind", [1, 2, 3, 4, 6, 7, 8, 9, 11, 13])
@pytest.mark.parametrize("tag", [0x100, 0x10E, 0x9000])
def test_damaged_exif_entries(kind, tag):
    """Of all entries only the orientation is read."""
    exif = b"MM\0*\0\0\0\x08\0\x02" + struct.pack(">HHIf", tag, kind, 1, 1.5)
    exif += struct.pack(">HHIHH", 0x112, 3, 1, 6, 0) + bytes(4)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 6, 4, 8, 0, 0, 0, 0))
    rows = chunk(b"IDAT", zlib.compress(bytes(28)))
    picture = b"\x89PNG\r\n\x1a\n" + header + chunk(b"eXIf", exif) + rows + chunk(b"IEND", b"")
    assert load_picture(picture).size == (4, 6)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientations(orientation):
    """As Pillow turns them."""
    from io import BytesIO

    from PIL import Image, ImageOps

    exif = Image.Exif()
    exif[0x112] = orientation
    pixels = np.arange(72, dtype=np.uint8).reshape(4, 6, 3)
    content = BytesIO()
    Image.fromarray(pixels).save(content, "PNG", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(content))
    np.testing.assert_array_equal(load_picture(content.getvalue()), expected)
