"""A small graph and a folder of small pictures, one of them damaged."""

import numpy as np
import pytest
from PIL import Image

import onnxlrp
from models import shapes
from onnxlrp.data import Preprocessing
from onnxlrp.distribute import Job
from onnxlrp.distribute.items import Source
from tests.nets import VGG

COUNT = 20


@pytest.fixture(scope="session")
def graph(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "vgg.lrp.onnx"
    onnxlrp.compile(VGG, composite="epsilon-plus").save(path)
    return path


@pytest.fixture(scope="session")
def pixels():
    """uint8 `[N, H, W, 3]`."""
    return np.rint(shapes.make(COUNT, seed=5)[0].transpose(0, 2, 3, 1) * 255).astype(np.uint8)


@pytest.fixture
def pictures(tmp_path, pixels):
    folder = tmp_path / "pictures"
    (folder / "b").mkdir(parents=True)
    for k, each in enumerate(pixels):
        Image.fromarray(each).save(folder / ("b" if k % 2 else "") / f"{k:03d}.png")
    (folder / "004.png").write_bytes(b"no picture")
    return folder


@pytest.fixture
def make_job(graph, tmp_path):
    """Make a job for data; other choices as keywords."""

    def make(data, column="", **choices):
        steps = Preprocessing.parse("unit").to_json()
        standard = {
            "model": str(graph),
            "out": str(tmp_path / "out"),
            "format": "npz",
            "preprocessing": steps,
            "threads": 1,
        }
        return Job(source=Source.of(str(data), column), **{**standard, **choices})

    return make
