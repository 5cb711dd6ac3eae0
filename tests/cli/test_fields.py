"""`onnxlrp audit` and `onnxlrp evaluate` on gridded files."""

import csv
import json
import shlex
import sys

import numpy as np
import onnx
import pytest

from onnxlrp.cli import main
from onnxlrp.data.grids.climate import anomalies, label, region_index
from onnxlrp.data.grids.files import read_fields
from onnxlrp.data.grids.grid import NINO34
from onnxlrp.data.grids.samples import samples
from onnxlrp.esn import Settings, fit, make_reservoir, to_onnx
from tests.data.fields import write_fields

pytest.importorskip("xarray")
pytest.importorskip("netCDF4")

YEARS = (1950, 1953)
NINO = ("--climatology", "1950-1953", "--region", "nino34")
FEW = ("--composites", "landt-hayen,gradient", "--metrics", "sparseness")


def prepared(path):
    """By the Python API: names, inputs and signs of the fields that are kept."""
    fields = anomalies(read_fields(path), YEARS)
    signs = label(region_index(fields, NINO34), 0.5)
    kept = np.flatnonzero(signs)
    return [fields.when(k) for k in kept], samples(fields).x[kept, 0], signs[kept]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A small file, and networks of one and of two scores that were fitted to it."""
    folder = tmp_path_factory.mktemp("fields")
    path = write_fields(folder / "sst.nc", *YEARS, every=4)
    _, x, signs = prepared(path)
    reservoir = make_reservoir(Settings(size=30, alpha=0.1), x.shape[1:])
    for name, wanted in (("one", signs), ("two", np.stack([-signs, signs], axis=1))):
        onnx.save(to_onnx(fit(reservoir, x, wanted, ridge=1e-4)), folder / f"{name}.onnx")
    return folder


def fails(command, match, *words):
    status, said, err = command(*words)
    assert (status, said) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert match in err


def test_audit_of_one_score(made, command, tmp_path):
    words = ("audit", made / "one.onnx", made / "sst.nc", *NINO, "--composite", "landt-hayen")
    status, said, err = command(*words, "--draws", 2, "--show", 0, "-o", tmp_path)
    assert (status, err) == (0, "")
    names, x, signs = prepared(made / "sst.nc")
    high, low = (signs > 0).sum(), (signs < 0).sum()
    note = f"classes: 1 for {high} fields with an index above 0.5, -1 for {low} below -0.5; "
    note += f"{48 - len(names)} fields in between are left out"
    assert note in said
    found = json.loads((tmp_path / "audit.json").read_text())
    assert note in found["notes"]
    assert found["samples"] == len(names) < 48
    assert found["classes"] == ["1", "-1"]
    with np.load(tmp_path / "maps.npz") as maps:
        by_file = maps["relevance"]
    np.savez(tmp_path / "same.npz", x=x, y=signs.astype(np.int64))
    again = ("audit", made / "one.onnx", tmp_path / "same.npz", "--composite", "landt-hayen")
    assert command(*again, "--draws", 2, "-o", tmp_path / "npz")[0] == 0
    with np.load(tmp_path / "npz" / "maps.npz") as maps:
        assert np.array_equal(maps["relevance"], by_file)
    same = json.loads((tmp_path / "npz" / "audit.json").read_text())
    assert {**same, "command": "", "notes": []} == {**found, "command": "", "notes": []}


def test_audit_of_two_scores(made, command):
    words = ("audit", made / "two.onnx", made / "sst.nc", *NINO, "--draws", 2, "--json")
    status, said, _ = command(*words)
    assert status == 0
    assert json.loads(said)["classes"] == ["1", "0"]


def test_the_command_in_the_report_works(made, command):
    words = ("audit", made / "two.onnx", made / "sst.nc", "--draws", 2, "--json", "--limit", 12)
    options = ("--climatology", "1950-1953", "--region=-6,6,-170,240", "--threshold", 1)
    status, said, _ = command(*words, *options, "--cap", 0, "--west", -180, "--variable", "sst")
    assert status == 0
    first = json.loads(said)
    again = shlex.split(first["command"])
    assert {"--region=-6,6,-170,240", "--west=-180.0", "--cap", "--variable"} <= set(again)
    status, said, _ = command(*again[1:], "--json")
    assert (status, json.loads(said)) == (0, first)


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_evaluate(made, command, tmp_path):
    words = ("evaluate", made / "two.onnx", made / "sst.nc", *NINO, *FEW)
    status, said, err = command(*words, "--show", 1, "-o", tmp_path / "nc")
    assert (status, err) == (0, "")
    names, x, signs = prepared(made / "sst.nc")
    assert f"classes: 1 for {(signs > 0).sum()} fields" in said
    assert f"{48 - len(names)} fields in between are left out" in said
    by_file = rows(tmp_path / "nc" / "results.csv")
    assert [row["name"] for row in by_file] == names * 2
    assert [int(row["label"]) for row in by_file] == [int(sign > 0) for sign in signs] * 2
    right = np.mean([row["label"] == row["predicted"] for row in by_file])
    assert right >= 0.9
    np.savez(tmp_path / "same.npz", x=x, y=(signs > 0).astype(np.int64))
    again = ("evaluate", made / "two.onnx", tmp_path / "same.npz", *FEW, "-o", tmp_path / "npz")
    assert command(*again)[0] == 0
    for one, other in zip(by_file, rows(tmp_path / "npz" / "results.csv"), strict=True):
        assert {**one, "name": ""} == {**other, "name": ""}


def test_other_settings_are_another_run(made, command, tmp_path):
    words = ("evaluate", made / "two.onnx", made / "sst.nc", *FEW, "--limit", 3, "-o", tmp_path)
    assert command(*words, *NINO)[0] == 0
    assert command(*words, *NINO)[0] == 0
    status, _, err = command(*words, *NINO, "--cap", 4)
    assert status == 1
    assert "--restart" in err


@pytest.mark.parametrize("name", ["audit", "evaluate"])
@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("--variable", "t2m"), "has no variable 't2m'; it has sst"),
        (("--climatology", "1953-1950"), "--climatology expects years such as 1980-2009"),
        (("--climatology", "1980"), "--climatology expects years such as 1980-2009"),
        (("--region", "5S,5N"), "--region expects nino34 or south,north,west,east"),
        (("--region", "5E,5N,10W,10E"), "--region expects nino34"),
        (("--region", "5N,5S,10W,10E"), "are no box"),
        (("--threshold", "1"), "--threshold needs --region"),
        (("--west", "nan"), "--west must be a longitude"),
        (("--cap", "-1"), "cap=-1.0 must be above 0"),
        (("--gaps", "drop"), "does not take vectors"),
        (("--label-file", "sst.nc"), "--region labels fields"),
        (("--region", "84S,79S,0E,360E"), "only land"),
    ],
)
def test_errors(made, command, monkeypatch, name, words, match):
    monkeypatch.chdir(made)
    fails(command, match, name, "two.onnx", "sst.nc", *words)


@pytest.mark.parametrize("name", ["audit", "evaluate"])
def test_another_grid(made, command, name, tmp_path):
    path = write_fields(tmp_path / "other.nc", 1950, 1950, every=2)
    wanted = "input 'field' (float"
    fails(command, wanted, name, made / "two.onnx", path)
    fails(command, "does not take fields of 45 x 90 cells", name, made / "two.onnx", path)


def test_a_field_without_values(made, command, tmp_path):
    def empty(data):
        data["sst"][{"time": 2}] = np.nan

    path = write_fields(tmp_path / "gap.nc", 1950, 1950, every=4, change=empty)
    fails(command, "1950-03: the field has no value at all", "audit", made / "two.onnx", path)
    fails(command, "1950-03: the field has no value", "evaluate", made / "two.onnx", path, *NINO)


def test_without_xarray(made, command, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    fails(command, "install the extra `geo`", "evaluate", made / "two.onnx", made / "sst.nc")


@pytest.mark.parametrize("name", ["audit", "evaluate"])
def test_options_of_fields_for_other_data(made, command, tmp_path, name):
    np.savez(tmp_path / "x.npz", x=np.ones((2, 23, 45), np.float32))
    words = (name, made / "two.onnx", tmp_path / "x.npz", "--region=-5,5,190,240")
    fails(command, "--region is for gridded fields", *words)


def test_hemispheres_are_signs(made, command):
    said = []
    for region in ("nino34", "5S,5N,170W,120W", "-5,5,190,240"):
        words = ("evaluate", made / "two.onnx", made / "sst.nc", *NINO[:2], f"--region={region}")
        said.append(command(*words, *FEW)[1])
    assert said[0] == said[1] == said[2]


def test_help_names_the_options(capsys):
    for name in ("audit", "evaluate"):
        assert main([name, "--help"]) == 0
        text = capsys.readouterr().out
        assert all(f"--{option}" in text for option in ("variable", "region", "gaps", "west"))
