"""What is served, and what the servers are asked."""

import json
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxlrp.data import load_picture
from tests.servers.http_server import compiled, sixteen
from tools.server_env import python_of

PICTURE = Path(__file__).parents[2] / "models" / "pictures" / "shapes_star.png"


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    path = tmp_path_factory.mktemp("http") / "shapes.lrp.onnx"
    path.write_bytes(compiled())
    return path


@pytest.fixture
def samples():
    return sixteen()


@pytest.fixture
def ask_client(tmp_path):
    """Let the client program of a server do a job, in the server's environment."""

    def ask_client(server, what, job):
        path = tmp_path / "job.json"
        path.write_text(json.dumps(job))
        program = Path(__file__).with_name(f"{server}_client.py")
        command = [str(python_of(server)), str(program), what, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return ask_client


@pytest.fixture(scope="session")
def small_picture():
    return load_picture(PICTURE).resize((64, 64), Image.Resampling.BILINEAR)


@pytest.fixture(scope="session")
def pictures(small_picture, tmp_path_factory):
    """A file of 32 samples: the picture under noise of different strength."""
    rng = np.random.default_rng(0)
    pixels = np.asarray(small_picture, np.float32).transpose(2, 0, 1) / 255
    noise = rng.normal(size=(32, *pixels.shape)) * np.linspace(0, 0.5, 32)[:, None, None, None]
    path = tmp_path_factory.mktemp("samples") / "samples.npy"
    np.save(path, (pixels + noise).astype(np.float32))
    return path
