"""NetCDF files in many shapes, written here by xarray; skipped without it."""

import importlib.util
import sys

import numpy as np
import pytest

from onnxlrp.data.grids.climate import anomalies, label, region_index
from onnxlrp.data.grids.files import read_fields
from onnxlrp.data.grids.grid import same_grid
from onnxlrp.errors import DataError, RuntimeMissing
from tests.data.fields import LATS, LONS, make, seasonless

xr = pytest.importorskip("xarray")
pytest.importorskip("netCDF4")


def dataset(**names: str):
    """The fields as ERSSTv5 has them: time, lev, lat, lon; `names` rename the axes."""
    fields, _ = make(1950, 1951)
    stamps = [f"{y}-{m:02d}-01" for y, m in zip(fields.years, fields.months, strict=True)]
    data = xr.Dataset(
        {"sst": (("time", "lev", "lat", "lon"), fields.values[:, None].astype(np.float32))},
        {
            "time": np.array(stamps, "datetime64[ns]"),
            "lev": [0.0],
            "lat": ("lat", LATS, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", LONS, {"units": "degrees_east", "standard_name": "longitude"}),
        },
    )
    return data.rename(names)


def write(tmp_path, data, name: str = "sst.nc"):
    path = tmp_path / name
    data.to_netcdf(path)
    return path


def test_file_to_labels(tmp_path) -> None:
    fields, strength = make(1950, 1951)
    found = read_fields(write(tmp_path, dataset()))
    assert found.name == "sst"
    assert found.values.shape == (24, 89, 180)
    assert np.allclose(found.values, fields.values, equal_nan=True, atol=1e-5)
    assert found.years.tolist() == fields.years.tolist()
    assert found.months.tolist() == fields.months.tolist()
    same_grid(found.grid, fields.grid)
    assert np.array_equal(found.grid.valid, fields.grid.valid)
    index = region_index(anomalies(found, (1950, 1951)))
    wanted = seasonless(strength, fields.months)
    assert np.corrcoef(index, wanted)[0, 1] > 0.99
    strong = np.abs(wanted) > wanted.std()
    assert np.array_equal(label(index)[strong], np.sign(wanted[strong]))


@pytest.mark.parametrize("order", [("lon", "lat", "time", "lev"), ("lat", "time", "lon", "lev")])
def test_axes_in_any_order(tmp_path, order) -> None:
    fields, _ = make(1950, 1951)
    found = read_fields(write(tmp_path, dataset().transpose(*order)))
    assert np.allclose(found.values, fields.values, equal_nan=True, atol=1e-5)


def test_axes_with_names_but_no_attributes(tmp_path) -> None:
    data = dataset(lat="Latitude", lon="LONGITUDE")
    for name in ("Latitude", "LONGITUDE"):
        data[name].attrs.clear()
    assert read_fields(write(tmp_path, data)).values.shape == (24, 89, 180)


def test_axes_with_attributes_but_odd_names(tmp_path) -> None:
    data = dataset(lat="rows", lon="columns", time="when")
    found = read_fields(write(tmp_path, data))
    assert found.values.shape == (24, 89, 180)
    assert found.months[:3].tolist() == [1, 2, 3]


def test_north_first_stays_north_first(tmp_path) -> None:
    found = read_fields(write(tmp_path, dataset().isel(lat=slice(None, None, -1))))
    assert found.grid.lats[0] == 88


def test_one_field_without_time(tmp_path) -> None:
    found = read_fields(write(tmp_path, dataset().isel(time=0, drop=True)))
    assert found.values.shape == (1, 89, 180)
    assert not len(found.years)
    assert found.when(0) == "field 0"


def test_fill_values_and_scaled_integers(tmp_path) -> None:
    data = dataset()
    path = tmp_path / "packed.nc"
    packing = {"dtype": "int16", "scale_factor": 0.01, "_FillValue": -999}
    data.to_netcdf(path, encoding={"sst": packing})
    fields, _ = make(1950, 1951)
    assert np.allclose(read_fields(path).values, fields.values, equal_nan=True, atol=0.006)


def test_classic_format(tmp_path) -> None:
    path = tmp_path / "old.nc"
    dataset().to_netcdf(path, format="NETCDF3_64BIT")
    assert read_fields(path).values.shape == (24, 89, 180)


def refused(tmp_path, data, says: str, variable: str | None = None) -> None:
    with pytest.raises(DataError, match=says):
        read_fields(write(tmp_path, data), variable)


def test_unknown_variable(tmp_path) -> None:
    refused(tmp_path, dataset(), "has no variable 'slp'; it has sst", "slp")


def test_several_variables_need_a_name(tmp_path) -> None:
    data = dataset()
    data["ssta"] = data["sst"] * 2
    data["flag"] = ("time", np.zeros(24))
    refused(tmp_path, data, "say which variable; it has sst, ssta")
    assert read_fields(tmp_path / "sst.nc", "ssta").name == "ssta"
    refused(tmp_path, data, "'flag' has no latitude and longitude axis", "flag")


def test_a_field_of_gaps(tmp_path) -> None:
    refused(tmp_path, dataset() * np.nan, "no value at all")


def test_several_levels(tmp_path) -> None:
    two = xr.concat([dataset(), dataset()], dim="lev", data_vars="all")
    refused(tmp_path, two, r"select one entry of lev \(2\) first")


def test_curvilinear_grid(tmp_path) -> None:
    data = xr.Dataset({"sst": (("j", "i"), np.ones((4, 5)))})
    data.coords["lat"] = (("j", "i"), np.ones((4, 5)))
    data.coords["lon"] = (("j", "i"), np.ones((4, 5)))
    refused(tmp_path, data, "no latitude and longitude axis .axes: j, i.", "sst")


def test_latitudes_that_are_none(tmp_path) -> None:
    refused(tmp_path, dataset().assign_coords(lat=LATS * 2), "beyond 90 degrees")
    mixed = LATS.copy()
    mixed[3] = mixed[5]
    refused(tmp_path, dataset().assign_coords(lat=mixed), "does not rise or fall throughout")


def test_times_that_are_no_dates(tmp_path) -> None:
    refused(tmp_path, dataset().assign_coords(time=np.arange(24.0)), "holds no dates")


def test_words_are_no_field(tmp_path) -> None:
    data = dataset()
    data["name"] = (("lat", "lon"), np.full((89, 180), "sea"))
    refused(tmp_path, data, "not numbers", "name")


def test_files_that_cannot_be_read(tmp_path) -> None:
    with pytest.raises(DataError, match="there is no file or folder"):
        read_fields(tmp_path / "none.nc")
    (tmp_path / "text.nc").write_text("hello")
    with pytest.raises(DataError, match=r"cannot read '.*text\.nc': did not find a match"):
        read_fields(tmp_path / "text.nc")
    whole = write(tmp_path, dataset()).read_bytes()
    (tmp_path / "cut.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot read"):
        read_fields(tmp_path / "cut.nc")


def test_without_xarray(tmp_path, monkeypatch) -> None:
    path = write(tmp_path, dataset())
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(RuntimeMissing, match="install the extra `geo`"):
        read_fields(path)


def test_without_a_reader(tmp_path) -> None:
    (tmp_path / "field.grib").write_bytes(b"GRIB" + bytes(64))
    reader = importlib.util.find_spec("cfgrib")
    wanted = (DataError, "cannot read") if reader else (RuntimeMissing, "install cfgrib")
    with pytest.raises(wanted[0], match=wanted[1]):
        read_fields(tmp_path / "field.grib")
