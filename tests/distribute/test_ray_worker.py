"""What runs in an actor, called without Ray: how often a shard is begun, what comes back."""

import numpy as np
import pytest

from onnxlrp.distribute.folder import Folder
from onnxlrp.distribute.items import into_shards, list_items
from onnxlrp.distribute.job import Lost, Receipt, Refused
from onnxlrp.distribute.ray_engine import Worker


@pytest.fixture
def folder(make_job, pictures, tmp_path):
    folder = Folder(tmp_path / "out")
    folder.make()
    folder.begin(into_shards(list_items(make_job(pictures).source), 6), {})
    return folder


def call(worker, folder, number):
    """The outcome of a shard, as Ray Data would ask for it."""
    place = dict(folder.places())[number]
    row = worker({"shard": np.array([number]), "at": np.array([place])})
    return row["outcome"][0]


def test_a_shard_in_the_middle_of_the_manifest(make_job, pictures, folder):
    found = call(Worker(make_job(pictures), 0), folder, 2)
    assert isinstance(found, Receipt)
    assert (found.shard, found.items, found.explained) == (2, 6, 6)
    assert list(folder.receipts()) == [found]
    assert not list(folder.partial.iterdir())


@pytest.mark.parametrize(("begun", "kind"), [(1, Receipt), (2, Lost), (3, Lost)])
def test_a_shard_is_begun_once_more_than_it_is_retried(make_job, pictures, folder, begun, kind):
    tries = folder.partial / "tries-000001"
    tries.write_bytes(b"." * begun)  # as by workers that died
    found = call(Worker(make_job(pictures), 1), folder, 1)
    assert isinstance(found, kind)
    assert tries.exists() == (kind is Lost)
    if kind is Lost:
        assert found == Lost(shard=1, reason="its worker died")


def test_a_failure_is_retried_then_lost_with_its_reason(make_job, pictures, folder):
    blocked = folder.data / "shard-000000.npz"
    blocked.mkdir()  # cannot be replaced by a file
    (blocked / "x").write_text("x")
    found = call(Worker(make_job(pictures), 2), folder, 0)
    assert isinstance(found, Lost)
    assert "shard-000000.npz" in found.reason
    assert (folder.partial / "tries-000000").stat().st_size == 3


def test_a_model_that_does_not_load_is_refused(make_job, pictures, folder, tmp_path):
    (tmp_path / "bad.onnx").write_bytes(b"no model")
    job = make_job(pictures, model=str(tmp_path / "bad.onnx"))
    assert isinstance(call(Worker(job, 2), folder, 0), Refused)
