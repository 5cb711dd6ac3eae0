"""A whole data set: results equal single runs, what fails is listed, a run is resumed."""

import json

import numpy as np
import pytest
from PIL import Image

from onnxlrp import Explainer
from onnxlrp.data import Preprocessing, load_sample
from onnxlrp.distribute import Plan, Tools, explain_shard, run
from onnxlrp.distribute.folder import Folder
from onnxlrp.distribute.items import into_shards, list_items
from onnxlrp.errors import DataError, InputError, ModelError
from tests.distribute.results import contents, failures, read_npz

SMALL = Plan(shard_size=6, workers=1)


@pytest.fixture
def out(tmp_path):
    return tmp_path / "out"


def test_results_equal_single_runs(make_job, pictures, out, graph):
    summary = run(make_job(pictures), SMALL)
    assert (summary.items, summary.explained, summary.failed) == (20, 19, 1)
    explain, found = Explainer(graph), read_npz(out)
    assert sorted(found) == [k for k in range(20) if k != 2]
    for row in found.values():
        file = pictures / str(row["name"])
        sample = load_sample(str(file), explain.signature.inputs, Preprocessing.parse("unit"))
        single = explain(sample.inputs)
        expected = next(iter(single.relevance.values()))[0]
        top = np.abs(expected).max()
        got = row["relevance/" + next(iter(single.relevance))]
        assert np.abs(got - expected).max() <= 1e-5 * top  # batches sum in another order
        name, logits = next(iter(single.outputs.items()))
        assert np.allclose(row[name], logits[0], rtol=1e-5, atol=1e-5)


def test_what_fails_is_listed_with_its_reason(make_job, pictures, out):
    run(make_job(pictures), SMALL)
    (failure,) = failures(out)
    assert (failure["index"], failure["name"]) == (2, "004.png")
    assert "not a png, jpg or webp file" in failure["reason"]


def test_a_shard_can_be_explained_again(make_job, pictures, out):
    job = make_job(pictures)
    folder = Folder(out)
    folder.make()
    shard = next(into_shards(list_items(job.source), 5))
    tools = Tools.open(job)
    first = explain_shard(tools, shard)
    before = contents(out)
    again = explain_shard(tools, shard)
    assert contents(out) == before
    assert len(before) == 1
    assert (first.explained, again.explained, first.failures) == (4, 4, again.failures)
    assert not list(folder.partial.iterdir())


@pytest.mark.parametrize("kind", ["npz", "png"])
def test_a_run_is_resumed_with_equal_bytes(make_job, pictures, out, tmp_path, kind):
    job = make_job(pictures, format=kind)
    run(job, SMALL)
    whole = contents(out)
    for number in (1, 3):
        (out / "done" / f"shard-{number:06d}.json").unlink()
    (out / ".partial" / "left").write_text("half")
    with pytest.raises(DataError, match="--resume"):
        run(job, SMALL)
    summary = run(job, Plan(shard_size=6, workers=2, resume=True))
    assert (summary.now, summary.explained) == (8, 19)
    assert contents(out) == whole
    assert not list((out / ".partial").iterdir())


def test_another_setting_is_no_resumption(make_job, pictures, out):
    run(make_job(pictures), SMALL)
    with pytest.raises(DataError, match="another values: relevance, now heatmap"):
        run(make_job(pictures, values="heatmap"), Plan(resume=True))


def test_pictures_out(make_job, pictures, out):
    run(make_job(pictures, format="png"), SMALL)
    lines = [
        json.loads(line)
        for path in sorted((out / "data").glob("*/index.jsonl"))
        for line in path.read_text().splitlines()
    ]
    assert [line["index"] for line in lines] == [k for k in range(20) if k != 2]
    with Image.open(out / "data" / "shard-000000" / lines[0]["file"]) as drawn:
        assert drawn.size == (64, 64)
        assert len(drawn.getcolors(10**6)) > 10


def test_heatmaps_are_relevance_summed_over_channels(make_job, pictures, out, tmp_path):
    run(make_job(pictures), SMALL)
    whole = read_npz(out)
    job = make_job(pictures, values="heatmap", out=str(tmp_path / "heat"))
    run(job, SMALL)
    for index, row in read_npz(tmp_path / "heat").items():
        assert row["heatmap/image"].shape == (64, 64)
        expected = whole[index]["relevance/image"].sum(axis=0)
        assert np.allclose(row["heatmap/image"], expected, atol=1e-5 * np.abs(expected).max())


def test_values_that_are_not_finite_are_failures(make_job, tmp_path, out):
    x = np.random.default_rng(0).uniform(0, 1, (3, 3, 64, 64)).astype(np.float32)
    x[1, 0, 5, 5] = np.nan
    np.savez(tmp_path / "d.npz", x=x)
    summary = run(make_job(tmp_path / "d.npz"), SMALL)
    assert (summary.explained, summary.failed) == (2, 1)
    assert "not finite" in failures(out)[0]["reason"]


def test_a_model_that_does_not_load_stops_the_run(make_job, pictures, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    with pytest.raises(ModelError, match="cannot start"):
        run(make_job(pictures, model=str(tmp_path / "bad.onnx")), SMALL)


def test_results_that_cannot_be_written_are_tried_again_then_lost(make_job, pictures, out):
    folder = Folder(out)
    folder.make()
    for number in range(4):
        (folder.data / f"shard-{number:06d}.npz").mkdir()  # cannot be replaced by a file
        (folder.data / f"shard-{number:06d}.npz" / "x").write_text("x")
    summary = run(make_job(pictures), Plan(shard_size=6, retries=1))
    assert [number for number, _ in summary.lost] == [0, 1, 2, 3]
    assert summary.now == 0


def test_no_samples(make_job, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no samples"):
        run(make_job(tmp_path / "empty"), SMALL)


@pytest.mark.parametrize("choices", [{"workers": 0}, {"shard_size": 0}, {"gpus": 1.0}])
def test_plans_are_checked(choices):
    with pytest.raises(InputError, match="--"):
        Plan(**choices)
