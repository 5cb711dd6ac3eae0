"""What is listed, and that nothing outside of the folder is."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from onnxlrp.data.layout import Port
from onnxlrp.data.pictures import MAX_BYTES
from onnxlrp.distribute.items import Item, Source, into_shards, list_items
from onnxlrp.distribute.reader import Reader, only_input
from onnxlrp.errors import DataError, InputError
from onnxlrp.runtime.signature import Port as AnyPort

PORT: Port = AnyPort(name="x", dtype=np.dtype("float32"), kind="float", shape=("N", 3, 64, 64))


def items(data, **choices):
    return list(list_items(Source.of(str(data)), **choices))


def png(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def tar_of(path, entries):
    with tarfile.open(path, "w") as tar:
        for name, content in entries:
            about = tarfile.TarInfo(name)
            about.size = len(content)
            tar.addfile(about, io.BytesIO(content))
    return path


def test_pictures_in_the_order_of_their_names(pictures):
    found = items(pictures)
    assert [item.index for item in found] == list(range(20))
    assert [item.name for item in found][:3] == ["000.png", "002.png", "004.png"]
    assert found[-1].name == "b/019.png"


def test_hidden_files_and_the_folder_of_results_are_left_out(pictures):
    (pictures / ".hidden.png").write_bytes(b"x")
    assert len(items(pictures, skip=pictures / "b")) == 10


def test_shards_lose_nothing():
    all_items = [Item(k, str(k), str(k)) for k in range(7)]
    shards = list(into_shards(all_items, 3))
    assert [len(shard.items) for shard in shards] == [3, 3, 1]
    assert [item for shard in shards for item in shard.items] == all_items


def test_a_tar_gives_its_pictures(tmp_path, pixels):
    tar_of(tmp_path / "a.tar", [("k/1.png", png(pixels[0])), ("1.cls", b"3"), ("2.png", b"bad")])
    found = items(tmp_path)
    assert [item.name for item in found] == ["a.tar/k/1.png", "a.tar/2.png"]
    reader = Reader(Source.of(str(tmp_path)), PORT)
    assert reader.read(found[0]).shape == (3, 64, 64)
    with pytest.raises(DataError, match=r"a\.tar/2\.png"):
        reader.read(found[1])


def test_names_in_a_tar_are_no_paths(tmp_path, pixels):
    secret = tmp_path / "secret.png"
    secret.write_bytes(b"secret")
    data = tmp_path / "data"
    data.mkdir()
    path = tar_of(data / "a.tar", [("../secret.png", png(pixels[0])), ("/etc/x.png", b"bad")])
    with tarfile.open(path, "a") as tar:
        for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE):
            link = tarfile.TarInfo("link.png")
            link.type, link.linkname = kind, "../secret.png"
            tar.addfile(link)
    found = items(data)
    assert [item.name for item in found] == ["a.tar/../secret.png", "a.tar//etc/x.png"]
    x = Reader(Source.of(str(data)), PORT).read(found[0])
    assert x.shape == (3, 64, 64)  # the bytes of the member, not of the file


def test_a_damaged_tar_is_read_as_far_as_it_goes(tmp_path, pixels):
    path = tar_of(tmp_path / "a.tar", [("1.png", png(pixels[0])), ("2.png", png(pixels[1]))])
    content = bytearray(path.read_bytes())
    second = content.index(b"2.png")
    content[second : second + 300] = b"\xff" * 300
    path.write_bytes(content)
    found = items(tmp_path)
    assert [bool(item.fault) for item in found] == [False, True]
    with pytest.raises(DataError, match="to its end"):
        Reader(Source.of(str(tmp_path)), PORT).read(found[1])


def test_a_member_may_not_be_huge(tmp_path, pixels):
    path = tar_of(tmp_path / "a.tar", [("1.png", png(pixels[0]))])
    reader = Reader(Source.of(str(path)), PORT)
    with pytest.raises(DataError, match="more than"):
        reader.read(Item(0, "x", "a.tar", 512, MAX_BYTES + 1))
    with pytest.raises(DataError, match="ends inside"):
        reader.read(Item(0, "x", "a.tar", 512, 10**6))


def test_a_link_out_of_the_folder_is_not_followed(tmp_path, pixels):
    (tmp_path / "secret.png").write_bytes(png(pixels[0]))
    data = tmp_path / "data"
    data.mkdir()
    (data / "link.png").symlink_to(tmp_path / "secret.png")
    (data / "folder").symlink_to(tmp_path)
    found = items(data)
    assert [item.name for item in found] == ["link.png"]
    with pytest.raises(DataError, match="leads out of"):
        Reader(Source.of(str(data)), PORT).read(found[0])
    with pytest.raises(DataError, match="leads out of"):
        Reader(Source.of(str(data)), PORT).read(Item(0, "x", "../secret.png"))


def test_rows_of_an_npz(tmp_path):
    x = np.random.default_rng(0).standard_normal((3, 3, 64, 64)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x)
    found = items(tmp_path / "d.npz")
    assert [item.name for item in found] == ["d.npz/0", "d.npz/1", "d.npz/2"]
    reader = Reader(Source.of(str(tmp_path)), PORT)
    assert np.array_equal(reader.read(found[2]), x[2])


def test_no_pickle_in_an_npz(tmp_path):
    np.savez(tmp_path / "d.npz", x=np.array([{}], dtype=object))
    assert "it must hold numbers" in items(tmp_path / "d.npz")[0].fault


@pytest.mark.parametrize("kind", ["nc", "zarr"])
def test_slices_of_gridded_fields(tmp_path, kind):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip({"nc": "netCDF4", "zarr": "zarr"}[kind])
    values = np.random.default_rng(0).standard_normal((4, 8, 16)).astype(np.float32)
    axes = {"lat": np.linspace(70, -70, 8), "lon": np.arange(16) * 22.5}
    times = np.array(["2000-01", "2000-02", "2000-03", "2000-04"], "datetime64[ns]")
    data = xarray.Dataset({"t": (("time", "lat", "lon"), values)}, {"time": times, **axes})
    path = tmp_path / f"t.{kind}"
    data.to_netcdf(path) if kind == "nc" else data.to_zarr(path)
    port = AnyPort(name="x", dtype=np.dtype("float32"), kind="float", shape=("N", 1, 8, 16))
    for where in (tmp_path, path):
        found = items(where)
        assert [item.name for item in found] == [f"t.{kind}/2000-0{k}" for k in range(1, 5)]
        x = Reader(Source.of(str(where)), port).read(found[3])
        assert np.allclose(x[0], np.clip(values[3], -5, 5) / 5)


def test_slices_of_a_grib_file(tmp_path):
    pytest.importorskip("xarray")
    pytest.importorskip("cfgrib")
    codes = pytest.importorskip("eccodes")
    grid = {"Ni": 16, "Nj": 8, "iDirectionIncrementInDegrees": 22.5}
    grid |= {"latitudeOfFirstGridPointInDegrees": 70, "latitudeOfLastGridPointInDegrees": -70}
    grid |= {"longitudeOfFirstGridPointInDegrees": 0, "longitudeOfLastGridPointInDegrees": 337.5}
    grid |= {"jDirectionIncrementInDegrees": 20, "shortName": "2t"}
    values = np.random.default_rng(0).standard_normal((2, 8, 16))
    with (tmp_path / "t.grib").open("wb") as file:
        for month, each in enumerate(values, 1):
            message = codes.codes_grib_new_from_samples("regular_ll_sfc_grib2")
            for key, value in {**grid, "dataDate": 20000001 + 100 * month}.items():
                codes.codes_set(message, key, value)
            codes.codes_set_values(message, each.ravel())
            codes.codes_write(message, file)
            codes.codes_release(message)
    port = AnyPort(name="x", dtype=np.dtype("float32"), kind="float", shape=("N", 1, 8, 16))
    found = items(tmp_path / "t.grib")
    assert [item.name for item in found] == ["t.grib/2000-01", "t.grib/2000-02"]
    x = Reader(Source.of(str(tmp_path)), port).read(found[1])
    assert np.allclose(x[0], np.clip(values[1], -5, 5) / 5, atol=1e-4)  # packed in 16 bits


def test_what_is_no_data_is_refused(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(DataError, match="no file or folder"):
        Source.of(str(tmp_path / "none"))
    with pytest.raises(DataError, match="should end in"):
        Source.of(str(tmp_path / "a.txt"))
    assert items(tmp_path) == []
    with pytest.raises(InputError, match="'a', 'b'"):
        only_input({"a": PORT, "b": PORT})
