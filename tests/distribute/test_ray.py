"""Ray Data: pools beyond the CPU slots, killed actors and drivers, a deadly shard, equal bytes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.distribute.results import PATIENCE, contents, done, is_running, wait_for

ROOT = Path(__file__).parents[2]
COUNT = 100

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def python():
    """The Python of an environment with Ray."""
    command = [sys.executable, str(ROOT / "tools" / "server_env.py"), "batch"]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"SKIPPED: {made.stderr.strip()}")
    return made.stdout.strip()


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for k in range(COUNT):
        Image.fromarray(rng.integers(0, 255, (64, 64, 3), np.uint8)).save(folder / f"{k:04d}.png")
    (folder / "0055.png").write_bytes(b"bad")
    return folder


@pytest.fixture(scope="module")
def whole(python, graph, data, tmp_path_factory):
    """What the local engine writes."""
    out = tmp_path_factory.mktemp("whole") / "out"
    done = finish(start(python, *batch(graph, data, out), "--workers", 2))
    assert done[0] == 0, done[2]
    return contents(out)


def batch(graph, data, out, *more):
    options = ("--shard-size", 10, "--preprocess", "unit", "--threads", 1)
    return ("-m", "onnxlrp.cli", "batch", graph, data, "-o", out, *options, *more)


def start(python, *words, **more):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    command = [python, *map(str, words)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment)


def finish(process):
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def disturbed(python, graph, data, out, way):
    script = Path(__file__).with_name("ray_run.py")
    status, said, err = finish(start(python, script, graph, data, out, way))
    assert status == 0, err
    return next(line for line in said.splitlines() if line.startswith("found "))


def below(pid):
    """All processes that a process started, and those that they started."""
    try:
        found = [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return found + [each for child in found for each in below(child)]


def in_the_middle(python, graph, data, out):
    """A driver that has done three shards, its actors, and all processes that it started."""
    driver = start(python, *batch(graph, data, out, "--engine", "ray", "--workers", 2))
    wait_for(lambda: done(out) >= 3 or driver.poll() is not None)
    others = below(driver.pid)
    actors = [p for p in others if b"MapWorker" in Path(f"/proc/{p}/cmdline").read_bytes()]
    assert len(actors) == 2
    return driver, actors, others


def test_the_bytes_of_the_local_engine(python, graph, data, whole, tmp_path):
    out = tmp_path / "out"
    status, _, err = finish(start(python, *batch(graph, data, out, "--engine", "ray")))
    assert status == 0, err
    assert contents(out) == whole
    assert len(whole) == COUNT // 10
    assert not list((out / ".partial").iterdir())


def test_two_slots_three_actors_one_killed(python, graph, data, whole, tmp_path):
    out = tmp_path / "out"
    assert disturbed(python, graph, data, out, "kill") == f"found 1 {COUNT - 1} 1 ()"
    assert contents(out) == whole


def test_a_shard_that_kills_its_workers_is_lost_alone(python, graph, data, whole, tmp_path):
    out = tmp_path / "out"
    found = disturbed(python, graph, data, out, "poison")
    assert found == f"found 0 {COUNT - 11} 1 ((3, 'its worker died'),)"
    part = {name: value for name, value in whole.items() if "000003" not in name}
    assert contents(out) == part
    assert finish(start(python, *batch(graph, data, out, "--resume")))[0] == 0
    assert contents(out) == whole


def test_a_killed_driver_is_resumed(python, graph, data, whole, tmp_path):
    out = tmp_path / "out"
    driver, actors, others = in_the_middle(python, graph, data, out)
    driver.kill()
    assert finish(driver)[0] == -signal.SIGKILL
    wait_for(lambda: not any(map(is_running, actors)))
    for agent in filter(is_running, others):  # they would end by themselves after a minute
        os.kill(agent, signal.SIGKILL)
    before = done(out)
    assert 3 <= before < COUNT // 10
    words = batch(graph, data, out, "--engine", "ray", "--workers", 2, "--resume")
    status, said, err = finish(start(python, *words))
    assert status == 0, err
    assert said.startswith(f"{COUNT - 10 * before} samples in")
    assert contents(out) == whole


def test_an_interrupted_driver_leaves_nothing_behind(python, graph, data, tmp_path):
    driver, _, others = in_the_middle(python, graph, data, tmp_path / "out")
    driver.send_signal(signal.SIGINT)
    status, _, err = finish(driver)
    assert (status, err.strip().splitlines()[-1]) == (130, "error: interrupted")
    wait_for(lambda: not any(map(is_running, others)))


def test_a_worker_that_cannot_start_is_one_line(python, graph, data, tmp_path):
    words = ("--engine", "ray", "--workers", 2, "--target", 5)  # the graph has its target
    status, _, err = finish(start(python, *batch(graph, data, tmp_path / "out", *words)))
    assert status == 1
    assert err.strip().splitlines()[-1].startswith("error: a worker cannot start:")
    assert "Traceback" not in err


def test_a_running_cluster_is_joined(python, graph, data, whole, tmp_path):
    """By its address, with the token that Ray has made for it."""
    code = """
import ray, sys
context = ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
print("address", context.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    pipe = subprocess.PIPE
    command = [python, "-c", code]
    head = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
    try:
        lines = iter(head.stdout.readline, "")
        address = next(line.split()[1] for line in lines if line.startswith("address"))
        out = tmp_path / "out"
        words = batch(graph, data, out, "--address", address, "--workers", 3)
        status, _, err = finish(start(python, *words, RAY_AUTH_MODE="token"))
        assert status == 0, err
        assert contents(out) == whole
    finally:
        head.communicate("", timeout=PATIENCE)


def test_what_a_cluster_has_not_is_one_line(python, graph, data, tmp_path):
    out = tmp_path / "out"
    for words, what in (
        (("--address", "127.0.0.1:1"), "127.0.0.1:1"),
        (("--gpus", 1), "more than 0"),
    ):
        words = ("--engine", "ray", "--resume", *words)
        status, _, err = finish(start(python, *batch(graph, data, out, *words)))
        assert status == 1
        assert err.strip().splitlines()[-1].startswith("error: ")
        assert what in err
