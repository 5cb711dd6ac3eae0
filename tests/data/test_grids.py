"""Gridded fields: anomalies, the index of a region, labels, gaps, longitudes, bad input."""

from dataclasses import replace

import numpy as np
import pytest

from onnxlrp.data.grids.climate import anomalies, label, region_index
from onnxlrp.data.grids.grid import NINO34, Grid, Region, roll, same_grid
from onnxlrp.data.grids.samples import gather, samples, scatter
from onnxlrp.errors import DataError
from tests.data.fields import LATS, LONS, make, sea, seasonless


def constant(values, *, years=(), months=()):
    """Fields on a 3 x 4 grid with land at its first cell."""
    values = np.asarray(values, np.float64)
    grid = Grid(
        lats=np.array([-60.0, 0.0, 60.0]),
        lons=np.array([0.0, 90.0, 180.0, 270.0]),
        valid=np.isfinite(values).any(axis=0),
    )
    fields, _ = make(1950, 1950)
    return replace(
        fields,
        values=values,
        grid=grid,
        years=np.array(years, np.int64),
        months=np.array(months, np.int64),
    )


def test_nino_box_has_the_cells_of_the_published_one() -> None:
    inside = NINO34.inside(Grid(lats=LATS, lons=LONS, valid=sea()))
    assert inside.sum() == 5 * 26
    assert set(LATS[inside.any(axis=1)]) == {-4, -2, 0, 2, 4}
    assert LONS[inside.any(axis=0)].min() == 190
    assert LONS[inside.any(axis=0)].max() == 240


@pytest.mark.parametrize("start", [-180.0, -20.0, 0.0, 100.0])
def test_a_box_is_the_same_cells_in_every_convention(start: float) -> None:
    lons = start + np.arange(180) * 2.0
    grid = Grid(lats=LATS, lons=lons, valid=np.ones((89, 180), bool))
    for region in (NINO34, Region(south=-5, north=5, west=190, east=240)):
        found = lons[region.inside(grid).any(axis=0)] % 360
        assert sorted(found) == list(np.arange(190.0, 241.0, 2.0))


def test_a_box_across_the_date_line_and_around_the_globe() -> None:
    grid = Grid(lats=LATS, lons=LONS, valid=sea())
    across = Region(south=0, north=0, west=350, east=10).inside(grid)
    assert sorted(LONS[across.any(axis=0)]) == [0, 2, 4, 6, 8, 10, 350, 352, 354, 356, 358]
    assert Region(south=-90, north=90, west=0, east=360).inside(grid).all()
    assert Region(south=0, north=0, west=10, east=10).inside(grid).sum() == 1


def test_anomalies_lose_the_season() -> None:
    fields, strength = make()
    found = anomalies(fields, (1950, 1957))
    assert np.array_equal(np.isfinite(found.values), np.isfinite(fields.values))
    for month in (1, 7):
        assert np.nanmax(np.abs(found.values[fields.months == month].mean(axis=0))) < 1e-9
    index = region_index(found)
    assert np.corrcoef(index, seasonless(strength, fields.months))[0, 1] > 0.99
    assert index.std() == pytest.approx(1)


def test_climatology_of_some_years() -> None:
    values = np.arange(4.0)[:, None, None] * np.ones((1, 3, 4))
    fields = constant(values, years=[1950, 1951, 1952, 1952], months=[1, 1, 1, 1])
    found = anomalies(fields, (1950, 1951))
    assert np.allclose(found.values[:, 0, 0], np.arange(4.0) - 0.5)


def test_a_gap_does_not_spoil_the_climatology() -> None:
    values = np.ones((3, 3, 4))
    values[1, 1, 1] = np.nan
    found = anomalies(constant(values, years=[1, 2, 3], months=[5, 5, 5]), (1, 3))
    assert np.isnan(found.values[1, 1, 1])
    assert np.nansum(np.abs(found.values)) == 0


def test_plain_and_weighted_mean() -> None:
    values = np.zeros((1, 3, 4))
    values[0, :, 1] = [4.0, 1.0, np.nan]
    box = Region(south=-60, north=60, west=90, east=90)
    fields = constant(values)
    assert region_index(fields, box, normalise=False)[0] == pytest.approx(2.5)
    weighted = region_index(fields, box, "cos", normalise=False)[0]
    assert weighted == pytest.approx((0.5 * 4 + 1) / 1.5)


def test_index_is_divided_by_the_deviation_of_its_years() -> None:
    values = np.array([1.0, -1.0, 8.0])[:, None, None] * np.ones((1, 3, 4))
    fields = constant(values, years=[1, 2, 3], months=[1, 1, 1])
    box = Region(south=0, north=0, west=0, east=0)
    assert np.allclose(region_index(fields, box, years=(1, 2)), [1, -1, 8])


def test_labels() -> None:
    found = label([0.5, 0.51, -0.5, -2.0, 0.0], 0.5)
    assert found.tolist() == [0, 1, 0, -1, 0]
    assert found.dtype == np.int8


def test_inputs_with_land_at_zero() -> None:
    fields, _ = make(1950, 1951)
    found = samples(anomalies(fields, (1950, 1951)), "zero", cap=0.5)
    assert found.x.shape == (24, 1, 89, 180)
    assert found.x.dtype == np.float32
    assert np.abs(found.x).max() == 1
    assert not found.x[:, 0, ~sea()].any()
    assert np.isfinite(found.x).all()


def test_inputs_without_land_go_back_to_the_grid() -> None:
    fields, _ = make(1950, 1950)
    found = samples(fields, "drop", cap=None)
    assert found.x.shape == (12, sea().sum())
    back = scatter(found.x, found.cells, np.nan)
    assert np.allclose(back, fields.values, equal_nan=True, rtol=1e-6)
    assert np.array_equal(gather(back, found.cells), found.x)


def test_a_cell_with_a_gap_is_dropped() -> None:
    values = np.ones((2, 3, 4))
    values[:, 0, 0] = np.nan
    values[1, 2, 3] = np.nan
    found = samples(constant(values), "drop", cap=2)
    assert found.cells.sum() == 10
    assert np.all(found.x == 0.5)
    assert samples(constant(values), "zero", cap=2).x.sum() == 0.5 * (11 + 10)


def test_all_land_rows_are_zero_and_dropped_not_refused() -> None:
    """The Antarctic rows of a real field are all land."""
    fields, _ = make(1950, 1950)
    assert not samples(fields, "zero").x[:, 0, LATS <= -78].any()
    assert not samples(fields, "drop").cells[LATS <= -78].any()


def test_the_globe_turns() -> None:
    fields, _ = make(1950, 1950)
    turned = roll(fields, -180)
    assert turned.grid.lons[0] == -180
    assert turned.grid.lons[-1] == 178
    assert np.allclose(np.diff(turned.grid.lons), 2)
    one = fields.values[:, :, LONS == 190]
    assert np.allclose(turned.values[:, :, turned.grid.lons == -170], one, equal_nan=True)
    assert np.array_equal(turned.grid.valid, sea()[:, (np.arange(180) + 90) % 180])
    same_grid(roll(turned, 0).grid, fields.grid)
    assert np.allclose(roll(turned, 0).values, fields.values, equal_nan=True)
    assert np.allclose(region_index(turned), region_index(fields))


def test_part_of_the_globe_does_not_turn() -> None:
    fields, _ = make(1950, 1950)
    grid = Grid(lats=LATS, lons=LONS[:50], valid=sea()[:, :50])
    with pytest.raises(DataError, match="does not go around the globe"):
        roll(replace(fields, grid=grid, values=fields.values[:, :, :50]), -180)


def test_other_grids_are_refused() -> None:
    one = Grid(lats=LATS, lons=LONS, valid=sea())
    same_grid(one, replace(one, lons=LONS - 360))
    with pytest.raises(DataError, match=r"89 x 180 and 88 x 180 cells"):
        same_grid(one, Grid(lats=LATS[1:], lons=LONS, valid=sea()[1:]))
    with pytest.raises(DataError, match="the grids differ: latitudes -88 to 88"):
        same_grid(one, replace(one, lats=LATS[::-1]))
    with pytest.raises(DataError, match="are not on the grid"):
        gather(np.ones((2, 88, 180)), sea())
    with pytest.raises(DataError, match="do not fit the"):
        scatter(np.ones((2, 7)), sea())


def test_a_field_without_a_value_is_refused() -> None:
    fields, _ = make(1950, 1950)
    fields.values[4] = np.nan
    with pytest.raises(DataError, match=r"1950-05: the field has no value at all \(1 of 12"):
        samples(fields)
    with pytest.raises(DataError, match=r"1950-05: no value inside region Nino 3\.4"):
        region_index(fields)


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda f: anomalies(f, (1900, 1910)), "no field of month 1 in 1900 to 1910: it covers"),
        (lambda f: region_index(f, Region(south=-88, north=-80, west=0, east=360)), "only land"),
        (lambda f: region_index(f, Region(south=1, north=1.5, west=0, east=9)), "no cell of the"),
        (lambda f: region_index(f, weights="area"), "weights='area'"),
        (lambda f: samples(f, cap=0.0), "cap=0"),
        (lambda f: samples(f, "fill"), "gaps='fill'"),
        (lambda f: Region(south=5, north=-5, west=0, east=1), "are no box"),
        (lambda f: region_index(replace(f, values=f.values * 0)), "does not vary"),
    ],
)
def test_refuses(call, says: str) -> None:
    fields, _ = make(1950, 1950)
    with pytest.raises(DataError, match=says):
        call(fields)


def test_anomalies_need_months() -> None:
    with pytest.raises(DataError, match="no time axis"):
        anomalies(constant(np.ones((1, 3, 4))), (1950, 1960))


def test_no_cell_is_always_known() -> None:
    values = np.full((2, 3, 4), np.nan)
    values[0, 0], values[1, 1] = 1.0, 1.0
    with pytest.raises(DataError, match="no cell has a value in every field"):
        samples(constant(values), "drop")
