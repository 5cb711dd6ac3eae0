"""SIGKILL for a worker, and for the driver: nothing is lost, nothing comes twice."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.distribute.results import (
    PATIENCE,
    contents,
    done,
    is_running,
    read_npz,
    wait_for,
)

COUNT = 300

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs /proc")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for k in range(COUNT):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / f"{k:04d}.png")
    return folder


@pytest.fixture(scope="module")
def whole(tmp_path_factory, graph, data):
    """The results of a run that nobody disturbs."""
    out = tmp_path_factory.mktemp("whole") / "out"
    assert finish(start(graph, data, out)) == 0
    return contents(out)


def start(graph, data, out, *more, path=()):
    words = ["batch", str(graph), str(data), "-o", str(out), "--format", "npz", "--workers", "2"]
    words += ["--shard-size", "10", "--preprocess", "unit", "--values", "heatmap", *more]
    command = [sys.executable, "-m", "onnxlrp.cli", *words]
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (*path, root)))}
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=root, stdout=pipe, stderr=pipe, env=environment)


def finish(process):
    process.communicate(timeout=PATIENCE)
    return process.returncode


def workers_of(pid):
    """The processes that the driver started to explain."""
    try:
        found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(p) for p in found if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]
    except OSError:
        return []


def test_killed_workers_lose_and_double_nothing(graph, data, whole, tmp_path):
    out = tmp_path / "out"
    driver = start(graph, data, out)
    killed = set()
    for least in (1, 8, 15):
        wait_for(lambda least=least: done(out) >= least and workers_of(driver.pid))
        victim = workers_of(driver.pid)[0]
        os.kill(victim, signal.SIGKILL)
        killed.add(victim)
    assert done(out) < COUNT // 10  # in the middle
    assert finish(driver) == 0
    assert len(killed) == 3
    assert sorted(read_npz(out)) == list(range(COUNT))
    assert contents(out) == whole


def test_a_killed_driver_is_resumed(graph, data, whole, tmp_path):
    out = tmp_path / "out"
    driver = start(graph, data, out)
    wait_for(lambda: done(out) >= 3 and workers_of(driver.pid))
    workers = workers_of(driver.pid)
    driver.kill()
    assert finish(driver) == -signal.SIGKILL
    wait_for(lambda: not any(is_running(worker) for worker in workers))
    before = done(out)
    assert 3 <= before < COUNT // 10
    assert finish(start(graph, data, out)) == 1  # not without --resume
    again = start(graph, data, out, "--resume")
    said = again.communicate(timeout=PATIENCE)[0].decode()
    assert again.returncode == 0
    assert said.startswith(f"{COUNT - 10 * before} samples in")
    assert contents(out) == whole


POISON = """
import os, signal
from onnxlrp.distribute.reader import Reader

def deadly(self, item, read=Reader.read):
    if item.name == "0033.png":
        os.kill(os.getpid(), signal.SIGKILL)
    return read(self, item)

Reader.read = deadly
"""


def test_a_shard_that_kills_its_workers_is_lost_alone(graph, data, whole, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "sitecustomize.py").write_text(POISON)  # every Python that starts reads it
    driver = start(graph, data, out, path=[tmp_path])
    error = driver.communicate(timeout=PATIENCE)[1].decode()
    assert driver.returncode == 1
    assert "1 shards are not done (shard 3: its worker died (signal 9))" in error
    assert contents(out) == {name: value for name, value in whole.items() if "00003." not in name}
    assert finish(start(graph, data, out, "--resume")) == 0
    assert contents(out) == whole
