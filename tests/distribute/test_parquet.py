"""Parquet in and out: shapes in the schema, columns chosen, nothing unpickled."""

import json

import numpy as np
import pytest

from onnxlrp.distribute import Plan, run
from onnxlrp.distribute.items import Source, list_items
from tests.distribute.results import contents, failures, read_npz
from tests.distribute.test_items import png

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

SMALL = Plan(shard_size=6)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def read(path):
    """Index -> arrays by name, as any reader of Parquet would."""
    table = pq.read_table(path)
    shapes = {f.name: json.loads(f.metadata[b"shape"]) for f in table.schema if f.metadata}
    return {
        row["index"]: {name: np.reshape(row[name], shape) for name, shape in shapes.items()}
        for row in table.to_pylist()
    }


def test_fixed_size_lists_with_their_shape(make_job, pictures, out, tmp_path):
    run(make_job(pictures, format="parquet"), SMALL)
    run(make_job(pictures, out=str(tmp_path / "npz")), SMALL)
    expected = read_npz(tmp_path / "npz")
    found = read(out / "data")
    assert found.keys() == expected.keys()
    for index, arrays in found.items():
        assert arrays.keys() == {"logits", "relevance/image"}
        for name, array in arrays.items():
            assert np.array_equal(array.astype(np.float32), expected[index][name])
    schema = pq.read_schema(out / "data" / "shard-000000.parquet")
    assert schema.field("relevance/image").type == pa.list_(pa.float32(), 3 * 64 * 64)


def test_equal_bytes_when_run_again(make_job, pictures, out, tmp_path):
    run(make_job(pictures, format="parquet"), SMALL)
    second = tmp_path / "second"
    run(make_job(pictures, format="parquet", out=str(second)), Plan(shard_size=6, workers=2))
    assert contents(out) == contents(second)


@pytest.mark.parametrize("form", ["binary", "struct"])
def test_pictures_in_a_column(make_job, pictures, pixels, out, tmp_path, form):
    cells = [png(each) for each in pixels[:4]] + [None, b"bad"]
    if form == "struct":
        cells = [{"bytes": cell, "path": "/etc/passwd"} for cell in cells]
    table = pa.table({"image": cells, "label": list(range(6))})
    pq.write_table(table, tmp_path / "d.parquet", row_group_size=3)
    summary = run(make_job(tmp_path / "d.parquet"), SMALL)
    assert (summary.explained, summary.failed) == (4, 2)
    assert [failure["index"] for failure in failures(out)] == [4, 5]
    assert "empty" in failures(out)[0]["reason"]


def test_arrays_in_a_column(make_job, out, tmp_path):
    x = np.random.default_rng(0).uniform(0, 1, (4, 3, 64, 64)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x)
    run(make_job(tmp_path / "d.npz"), SMALL)
    expected = read_npz(out)
    flat = pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), 3 * 64 * 64)
    tensors = pa.FixedShapeTensorArray.from_numpy_ndarray(x)
    said = pa.field("x", flat.type, metadata={"shape": "[3, 64, 64]"})
    for name, table in {
        "said": pa.Table.from_arrays([flat], schema=pa.schema([said])),
        "flat": pa.table({"x": flat}),
        "tensors": pa.table({"x": tensors}),
    }.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(table, path, row_group_size=3)
        run(make_job(path, out=str(tmp_path / name)), SMALL)
        found = read_npz(tmp_path / name)
        assert found.keys() == expected.keys()
        for index, row in found.items():
            same = np.array_equal(row["relevance/image"], expected[index]["relevance/image"])
            assert same, name


def test_several_columns_need_a_name(tmp_path):
    pq.write_table(pa.table({"a": [b"1"], "b": [b"2"]}), tmp_path / "d.parquet")
    (item,) = list_items(Source.of(str(tmp_path / "d.parquet")))
    assert "2 columns" in item.fault
    assert "--column" in item.fault
    assert not next(list_items(Source.of(str(tmp_path / "d.parquet"), "b"))).fault
    assert "no column 'c'" in next(list_items(Source.of(str(tmp_path / "d.parquet"), "c"))).fault


def test_a_damaged_file_is_a_failure(make_job, pictures, out, tmp_path):
    (pictures / "d.parquet").write_bytes(b"PAR1 damaged")
    run(make_job(pictures), SMALL)
    assert any("as Parquet" in failure["reason"] for failure in failures(out))


def test_outputs_of_free_sizes(make_job, tmp_path, out):
    import onnx

    import onnxlrp

    text = """<ir_version: 10, opset_import: ["" : 21]>
    g (float[N, 1, H, W] x) => (float[N, 1] y) <float[1, 1, 3, 3] w = {1,2,1,0,1,0,1,3,1}> {
      c = Conv<pads = [1, 1, 1, 1]>(x, w)
      m = GlobalAveragePool(c)
      y = Flatten(m)
    }"""
    path = tmp_path / "free.lrp.onnx"
    onnxlrp.compile(onnx.parser.parse_model(text), composite="epsilon").save(path)
    rng = np.random.default_rng(0)
    folder = tmp_path / "data"
    folder.mkdir()
    for k, side in enumerate((8, 9)):
        x = rng.uniform(0.5, 1, (1, 1, side, 7)).astype(np.float32)
        np.savez(folder / f"{k}.npz", x=x)
    job = make_job(folder, model=str(path), format="parquet", preprocessing=None)
    assert run(job, SMALL).explained == 2
    rows = pq.read_table(out / "data").to_pylist()
    assert [row["relevance/x.shape"] for row in rows] == [[1, 8, 7], [1, 9, 7]]
    for row in rows:
        relevance = np.reshape(row["relevance/x"], row["relevance/x.shape"])
        assert relevance.sum() == pytest.approx(row["y"][0], rel=1e-3)


def test_pyarrow_may_be_missing():
    from onnxlrp.distribute import parquet_rows
    from onnxlrp.errors import RuntimeMissing

    with pytest.raises(RuntimeMissing, match=r"onnxlrp\[batch\]"):
        parquet_rows.import_arrow("pyarrow.none")
