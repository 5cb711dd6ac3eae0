import io
import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from onnxlrp.data import expand, load_sample
from onnxlrp.errors import DataError
from tests.data.ports import ports

ONE = ports(("N", 3))
TWO = ports(("N", 3), ("N", 2))
PICTURE = ports((1, 3, 8, 8))


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


def test_picture(tmp_path):
    path = tmp_path / "cat.png"
    Image.new("RGB", (9, 8)).save(path)
    sample = load_sample(str(path), PICTURE)
    assert sample.name == "cat"
    assert sample.inputs["x0"].shape == (1, 3, 8, 8)
    assert sample.picture.size == (8, 8)
    assert sample.notes


def test_numpy_files(tmp_path):
    np.save(tmp_path / "one.npy", np.ones(3))
    assert load_sample(str(tmp_path / "one.npy"), ONE).inputs["x0"].shape == (1, 3)
    np.savez(tmp_path / "any.npz", anything=np.ones((4, 3)))
    assert load_sample(str(tmp_path / "any.npz"), ONE).inputs["x0"].shape == (4, 3)
    np.savez(tmp_path / "two.npz", x0=np.ones((4, 3)), x1=np.ones((4, 2)), y=np.ones(4))
    assert list(load_sample(str(tmp_path / "two.npz"), TWO).inputs) == ["x0", "x1"]


@pytest.mark.parametrize(
    ("content", "rows", "features"),
    [
        ("1,2,3\n4,5,6\n", [[1, 2, 3], [4, 5, 6]], ()),
        ("age, height,weight\n4,5,6e1\n\n", [[4, 5, 60]], ("age", "height", "weight")),
    ],
)
def test_csv(tmp_path, content, rows, features):
    sample = load_sample(write(tmp_path / "t.csv", content), ONE)
    assert sample.inputs["x0"].tolist() == rows
    assert sample.features == features


@pytest.mark.parametrize(
    ("data", "rows", "features"),
    [
        ([1, 2, 3], [[1, 2, 3]], ()),
        ([[1, 2, 3], [4, 5, 6]], [[1, 2, 3], [4, 5, 6]], ()),
        ({"a": 1, "b": 2, "c": 3}, [[1, 2, 3]], ("a", "b", "c")),
        (
            [{"a": 1, "b": 2, "c": 3}, {"c": 6, "b": 5, "a": 4}],
            [[1, 2, 3], [4, 5, 6]],
            ("a", "b", "c"),
        ),
        ({"x0": [[1, 2, 3]]}, [[1, 2, 3]], ()),
    ],
)
def test_json(tmp_path, data, rows, features):
    sample = load_sample(write(tmp_path / "t.json", json.dumps(data)), ONE)
    assert sample.inputs["x0"].tolist() == rows
    assert sample.features == features


def test_integer_inputs_stay_integers(tmp_path):
    sample = load_sample(write(tmp_path / "t.csv", "1,2,3"), ports(("N", 3), kind="int64"))
    assert sample.inputs["x0"].dtype == np.int64


def test_expand(tmp_path):
    for name in ("b.png", "a.csv", "notes.txt"):
        write(tmp_path / name, "1")
    names = [str(tmp_path / "a.csv"), str(tmp_path / "b.png")]
    assert expand([str(tmp_path)]) == tuple(names)
    assert expand([names[1], "-"]) == (names[1], "-")
    with pytest.raises(DataError, match="no file or folder"):
        expand([str(tmp_path / "none")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"has no \.csv, \.jpeg"):
        expand([str(tmp_path / "empty")])


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


def npy():
    buffer = io.BytesIO()
    np.save(buffer, np.ones((2, 3)))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "rank", "shape"),
    [(png(), 4, (1, 3, 8, 8)), (npy(), 2, (2, 3)), (b"1,2,3", 2, (1, 3)), (b"[1,2,3]", 2, (1, 3))],
)
def test_standard_input(content, rank, shape):
    code = (
        "import sys; from onnxlrp.data import load_sample; from tests.data.ports import ports\n"
        f"p = ports({(1, 3, 8, 8) if rank == 4 else ('N', 3)})\n"
        "print(load_sample('-', p).inputs['x0'].shape)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], input=content, capture_output=True, check=True
    )
    assert run.stdout.decode().strip() == str(shape)


BAD = [
    ("t.csv", "1,2\n1,2,3\n", ONE, "row 2: 3 entries instead of 2"),
    ("t.csv", "1,2,3\n1,x,3\n", ONE, "row 2, column 2: 'x' is no number"),
    ("t.csv", "a,b,c\n", ONE, "no rows of numbers"),
    ("t.csv", "", ONE, "is empty"),
    ("t.csv", b"\xff\xfe\x00", ONE, "not UTF-8"),
    ("t.json", "{", ONE, "is not JSON"),
    ("t.json", '["a"]', ONE, "expected numbers"),
    ("t.json", "[[1,2],[3]]", ONE, "unequal length"),
    ("t.json", '[{"a":1},{"b":1}]', ONE, "row 2: other features"),
    ("t.json", "[]", ONE, "expected numbers"),
    ("t.npy", "junk", ONE, "cannot read the arrays"),
    ("t.npz", "PK junk", ONE, "cannot read the arrays"),
    ("t.npy", npy()[:60], ONE, "cannot read the arrays"),
    ("t.npy", npy(), TWO, "the model needs 'x0', 'x1'"),
    ("t.csv", "1,2,3", TWO, "gives one input, the model needs 'x0', 'x1'"),
    ("t.txt", "1", ONE, "cannot tell what"),
    ("t.png", png(), ONE, "does not take a picture"),
]


@pytest.mark.parametrize(("name", "content", "inputs", "message"), BAD)
def test_bad_files_are_one_line_errors(tmp_path, name, content, inputs, message):
    path = write(tmp_path / name, content)
    with pytest.raises(DataError, match=message) as caught:
        load_sample(path, inputs)
    assert "\n" not in str(caught.value)


def test_npz_without_the_input(tmp_path):
    np.savez(tmp_path / "t.npz", a=np.ones(3), b=np.ones(3))
    with pytest.raises(DataError, match="no array 'x0': the model needs 'x0', the file has 'a'"):
        load_sample(str(tmp_path / "t.npz"), ONE)


def test_pickled_arrays_are_refused(tmp_path):
    np.save(tmp_path / "t.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot read the arrays"):
        load_sample(str(tmp_path / "t.npy"), ONE)
