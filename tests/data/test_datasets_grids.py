"""Gridded files as data sets: samples, labels, shapes, and what is refused."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from onnxlrp.data.datasets.fields import FieldSettings, is_gridded, list_fields
from onnxlrp.data.datasets.items import ItemReader
from onnxlrp.data.datasets.listing import choose
from onnxlrp.data.grids.climate import anomalies, label, region_index
from onnxlrp.data.grids.files import read_fields
from onnxlrp.data.grids.grid import NINO34, Region
from onnxlrp.data.grids.samples import samples
from onnxlrp.errors import DataError, RuntimeMissing
from tests.data.fields import sea, write_fields
from tests.data.ports import port

pytest.importorskip("xarray")
pytest.importorskip("netCDF4")

YEARS = (1950, 1953)
NINO = FieldSettings(climatology=YEARS, region=NINO34)


@pytest.fixture
def sst(tmp_path):
    return write_fields(tmp_path / "sst.nc", *YEARS)


def read_all(listing, *shape, layout=None):
    reader = ItemReader.make(listing, port(*shape), layout=layout)
    return np.stack([reader.read(entry).x for entry in reader.listing.entries])


def test_which_files_are_gridded():
    assert all(is_gridded(name) for name in ("a.nc", "B.NC", "folder.zarr", "c.grib2"))
    assert not any(is_gridded(name) for name in ("a.npz", "folder", "nc"))


def test_values_are_those_of_the_python_api(sst):
    listing = list_fields(sst, FieldSettings(climatology=YEARS))
    wanted = samples(anomalies(read_fields(sst), YEARS)).x
    assert np.array_equal(read_all(listing, "N", 1, 89, 180), wanted)
    assert [entry.name for entry in listing.entries[:13:6]] == ["1950-01", "1950-07", "1951-01"]
    assert not listing.labelled
    assert not listing.notes


def test_values_as_they_are(sst):
    listing = list_fields(sst, FieldSettings(cap=None))
    values = read_fields(sst).values
    wanted = np.where(np.isnan(values), 0, values)[:, None]
    assert np.allclose(read_all(listing, "N", 1, 89, 180), wanted, atol=1e-5)
    assert wanted.max() > 20


def test_labels_and_neutral_fields(sst):
    listing = list_fields(sst, NINO)
    fields = anomalies(read_fields(sst), YEARS)
    signs = label(region_index(fields, NINO34), 0.5)
    kept = np.flatnonzero(signs)
    assert 0 < len(kept) < len(signs)
    assert [entry.name for entry in listing.entries] == [fields.when(k) for k in kept]
    assert [entry.label for entry in listing.entries] == [int(sign > 0) for sign in signs[kept]]
    assert np.array_equal(read_all(listing, "N", 1, 89, 180), samples(fields).x[kept])
    high, low = (signs > 0).sum(), (signs < 0).sum()
    (note,) = listing.notes
    assert f"1 for {high} fields" in note
    assert f"0 for {low} below" in note
    assert f"; {len(signs) - high - low} fields in between are left out" in note


def test_labels_of_one_score_are_signs(sst):
    plain, signed = list_fields(sst, NINO), list_fields(sst, NINO, signed=True)
    assert {entry.label for entry in signed.entries} == {1, -1}
    for one, other in zip(plain.entries, signed.entries, strict=True):
        assert other.label == 2 * one.label - 1


def test_a_part_of_the_fields(sst):
    listing = choose(list_fields(sst, NINO), per_class=2)
    whole = list_fields(sst, NINO)
    assert sorted(entry.label for entry in listing.entries) == [0, 0, 1, 1]
    given = dict(zip((e.name for e in whole.entries), read_all(whole, "N", 89, 180), strict=True))
    for entry, x in zip(listing.entries, read_all(listing, "N", 89, 180), strict=True):
        assert np.array_equal(x, given[entry.name])


FORMS = [
    (("N", 1, 89, 180), None, (1, 89, 180)),
    ((1, 1, 89, 180), None, (1, 89, 180)),
    (("N", "c", "h", "w"), None, (1, 89, 180)),
    (("N", 89, 180, 1), None, (89, 180, 1)),
    (("N", "h", "w", "c"), "nhwc", (89, 180, 1)),
    (("N", 89, 180), None, (1, 89, 180)),
    ((1, 89, 180), None, (1, 89, 180)),
    (("N", 89, "steps"), None, (1, 89, 180)),
    ((89, 180, 1), None, (89, 180, 1)),
    ((89, 180), None, (89, 180)),
    (("N", 89 * 180), None, (89 * 180,)),
]


@pytest.mark.parametrize(("shape", "layout", "wanted"), FORMS)
def test_forms_of_inputs(sst, shape, layout, wanted):
    listing = list_fields(sst)
    found = read_all(listing, *shape, layout=layout)
    assert found.shape[1:] == wanted
    assert np.array_equal(found.ravel(), listing.arrays.x.values.ravel())


def test_vectors_without_land(sst):
    listing = list_fields(sst, FieldSettings(climatology=YEARS, gaps="drop"))
    wanted = samples(anomalies(read_fields(sst), YEARS), gaps="drop").x
    assert wanted.shape[1] == sea().sum()
    assert np.array_equal(read_all(listing, "N", int(sea().sum())), wanted)


@pytest.mark.parametrize(
    ("settings", "shape"),
    [
        (FieldSettings(), ("N", 1, 90, 180)),
        (FieldSettings(), ("N", 180, 89)),
        (FieldSettings(), ("N", 3, 89, 180)),
        (FieldSettings(), (2, 89, 180)),
        (FieldSettings(), ("N", 500)),
        (FieldSettings(), ("N", 180)),
        (FieldSettings(), ("N",)),
        (FieldSettings(gaps="drop"), ("N", 1, 89, 180)),
        (FieldSettings(gaps="drop"), ("N", 89 * 180)),
    ],
)
def test_another_grid(sst, settings, shape):
    with pytest.raises(DataError, match=r"input 'x' .* does not take .*89 x 180.*sst.nc.*--gaps"):
        ItemReader.make(list_fields(sst, settings), port(*shape))


def test_turned_globe(sst):
    plain, turned = (list_fields(sst, replace(NINO, west=west)) for west in (None, -180))
    rolled = np.roll(read_all(plain, "N", 89, 180), 90, axis=-1)
    assert np.array_equal(read_all(turned, "N", 89, 180), rolled)
    assert [e.label for e in turned.entries] == [e.label for e in plain.entries]


OTHERS = [
    {"climatology": (1950, 1951)},
    {"region": None},
    {"region": Region(south=-10, north=10, west=-170, east=-120)},
    {"threshold": 0.4},
    {"cap": 4.0},
    {"cap": None},
    {"gaps": "drop"},
    {"west": -180.0},
]


def test_digest_covers_settings_and_values(sst, tmp_path):
    digests = [list_fields(sst, replace(NINO, **other)).digest() for other in ({}, *OTHERS)]
    assert len(set(digests)) == len(digests)
    assert digests[0] == list_fields(sst, NINO).digest()
    before = sst.stat().st_size
    other = write_fields(tmp_path / "other" / "sst.nc", *YEARS, seed=5)
    assert other.stat().st_size == before
    plain = FieldSettings()
    assert list_fields(other, plain).digest() != list_fields(sst, plain).digest()


def with_nan(data):
    data["sst"][{"time": 3}] = np.nan


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (FieldSettings(variable="t2m"), "no variable 't2m'; it has sst"),
        (FieldSettings(climatology=(1900, 1910)), "no field of month 1 in 1900 to 1910"),
        (replace(NINO, threshold=9.0), r"no field has an index beyond \+-9, the largest is"),
        (replace(NINO, threshold=-1.0), "threshold -1.0 must be 0 or more"),
        (replace(NINO, threshold=float("nan")), "threshold nan must be 0 or more"),
        (FieldSettings(region=Region(south=0, north=5, west=95, east=110)), "only land"),
        (FieldSettings(cap=-2.0), "cap=-2.0 must be above 0"),
    ],
)
def test_settings_that_do_not_fit(sst, settings, message):
    with pytest.raises(DataError, match=message):
        list_fields(sst, settings)


@pytest.mark.parametrize("settings", [FieldSettings(), NINO, FieldSettings(gaps="drop")])
def test_a_field_without_values(tmp_path, settings):
    path = write_fields(tmp_path / "sst.nc", *YEARS, change=with_nan)
    with pytest.raises(DataError, match=r"1950-04: (the field has )?no value"):
        list_fields(path, settings)


def test_without_xarray(sst, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(RuntimeMissing, match="install the extra `geo`"):
        list_fields(sst)
