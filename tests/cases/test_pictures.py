"""The maps of the ImageNet networks lie on the object, those of shuffled weights less so.

A network with random weights still answers to edges, and edges lie on the object: its share is high
too, but below that of the trained network on every picture.
"""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from onnxlrp import compile  # noqa: A004
from tests.cases import zoo

NETWORKS = ("imagenet_squeezenet_fp32", "imagenet_mobilenetv2_fp32")
BOXES = {
    "chelsea": (0.17, 0.25, 0.92, 0.92),
    "coffee": (0.17, 0.03, 0.80, 0.85),
    "kitten": (0.15, 0.05, 0.92, 0.95),
    "dog": (0.12, 0.14, 0.88, 0.88),
    "zebra": (0.10, 0.13, 0.93, 0.99),
    "cat": (0.28, 0.06, 0.90, 0.94),
}
"""The object (of the animals that fill the picture the face), as shares of width and height."""

TOP, INSIDE = 0.05, 0.60

pytestmark = pytest.mark.skipif(
    not set(NETWORKS) <= set(zoo.names()), reason="no folder of cases beside the repository"
)


def share_inside(heatmap, box):
    """Share of the top 5 % of the pixels, by positive relevance, that lie in the box."""
    height, width = heatmap.shape
    count = int(TOP * height * width)
    places = np.argsort(-heatmap, axis=None, kind="stable")[:count]
    assert heatmap.reshape(-1)[places].min() > 0
    y, x = np.divmod(places, width)
    left, top, right, bottom = box
    held = (left * width <= x) & (x < right * width) & (top * height <= y) & (y < bottom * height)
    return float(held.mean())


def shares(model, case):
    graph = compile(model, heatmap=True)
    made = zoo.session(graph.model)
    names = [item.name for item in made.get_outputs()]
    found = {}
    for index, (name, box) in enumerate(BOXES.items()):
        outputs = dict(zip(names, made.run(None, case.sample(index)), strict=True))
        (heatmap,) = (outputs[key] for key in names if key.startswith("heatmap/"))
        found[name] = share_inside(heatmap[0], box)
    return found


def shuffled(path):
    """The network with the weights of every convolution and dense layer in random order."""
    model, rng = onnx.load(path), np.random.default_rng(0)
    for tensor in model.graph.initializer:
        array = numpy_helper.to_array(tensor)
        if array.ndim >= 2 and array.dtype == np.float32:
            mixed = rng.permutation(array.reshape(-1)).reshape(array.shape)
            tensor.CopyFrom(numpy_helper.from_array(mixed, tensor.name))
    return model


@pytest.mark.parametrize("name", NETWORKS)
def test_maps_lie_on_the_object(name):
    case = zoo.case(name)
    trained = shares(case.path, case)
    control = shares(shuffled(case.path), case)
    assert min(trained.values()) >= INSIDE, trained
    assert all(control[picture] < trained[picture] for picture in BOXES), control
