import json

import numpy as np
import pytest
from PIL import Image

from onnxlrp.data.fit import fit
from onnxlrp.data.layout import find_layout
from onnxlrp.data.preprocess import PRESETS, Preprocessing
from onnxlrp.errors import DataError
from tests.data.ports import port

RED = Image.new("RGB", (8, 8), (255, 128, 0))


@pytest.mark.parametrize(
    ("shape", "axes", "size", "channels"),
    [
        (("N", 3, 224, 224), "NCHW", (224, 224), 3),
        ((1, 224, 200, 3), "NHWC", (224, 200), 3),
        (("N", 28, 28, 1), "NHWC", (28, 28), 1),
        ((1, 3, "H", "W"), "NCHW", None, 3),
        (("N", 28, 28), "NHW", (28, 28), 1),
        ((3, 32, 32), "CHW", (32, 32), 3),
        ((32, 32, 3), "HWC", (32, 32), 3),
        ((28, 28), "HW", (28, 28), 1),
        ((None, None, None, None), "NCHW", None, 3),
    ],
)
def test_layout_from_shape(shape, axes, size, channels):
    found = find_layout(port(*shape))
    assert (found.axes, found.size, found.channels) == (axes, size, channels)


@pytest.mark.parametrize("shape", [("N", 10), ("N", 17, 8, 8), (4, 3, 8, 8), ("N",), ()])
def test_no_picture_input(shape):
    with pytest.raises(DataError, match=r"does not take a picture.*\.npy or \.npz"):
        find_layout(port(*shape))


def test_layout_said_by_the_user():
    assert find_layout(port("N", None, None, None), "nhwc").axes == "NHWC"
    assert find_layout(port("N", None, None, None), "hwc").axes == "NHWC"
    with pytest.raises(DataError, match="in layout NHWC"):
        find_layout(port("N", 3, 8, 8), "nhwc")


@pytest.mark.parametrize(
    ("name", "pixel"),
    [
        ("unit", (1, 128 / 255, 0)),
        ("raw", (255, 128, 0)),
        ("tf", (1, 128 / 127.5 - 1, -1)),
        ("caffe", (-103.939, 128 - 116.779, 255 - 123.68)),
        ("imagenet", ((1 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, -0.406 / 0.225)),
    ],
)
@pytest.mark.parametrize("shape", [("N", 3, 8, 8), ("N", 8, 8, 3)])
def test_presets(name, pixel, shape):
    array, shown = fit(PRESETS[name], port(*shape)).apply(RED)
    assert array.shape == (1, *shape[1:])
    assert array.dtype == np.float32
    first = array[0, :, 0, 0] if shape[1] == 3 else array[0, 0, 0]
    np.testing.assert_allclose(first, pixel, rtol=1e-6)
    assert shown.size == (8, 8)


def test_geometry_covers_then_crops_the_middle():
    wide = Image.fromarray(np.tile(np.arange(64, dtype=np.uint8)[None, :, None], (32, 1, 3)))
    array, shown = fit(PRESETS["raw"], port("N", 3, 16, 16)).apply(wide)
    assert shown.size == (16, 16)
    assert abs(array.mean() - 31.5) < 1
    steps = Preprocessing(size=(16, 16))
    squeezed, _ = fit(steps, port("N", 3, 16, 16)).apply(wide)
    assert squeezed.max() > 60
    free, _ = fit(PRESETS["raw"], port("N", 3, "H", "W")).apply(wide)
    assert free.shape == (1, 3, 32, 64)
    cropped, _ = fit(Preprocessing(size=20, crop=(10, 12)), port(1, 3, "H", "W")).apply(wide)
    assert cropped.shape == (1, 3, 10, 12)


def test_what_is_missing_is_assumed_and_said():
    assert "'imagenet'" in fit(None, port("N", 3, 8, 8)).notes[0]
    assert "'unit'" in fit(None, port("N", 28, 28)).notes[0]
    integer = fit(None, port("N", 3, 8, 8, kind="uint8"))
    assert "'raw'" in integer.notes[0]
    assert integer.apply(RED)[0].dtype == np.uint8
    assert "layout NCHW" in fit(PRESETS["unit"], port(None, None, None, None)).notes[0]
    gray = fit(PRESETS["imagenet"], port(1, 1, 8, 8))
    assert gray.preprocessing.channels == "gray"
    assert gray.apply(RED)[0].shape == (1, 1, 8, 8)


def test_json_file(tmp_path):
    path = tmp_path / "p.json"
    entries = {"size": 8, "crop": [8, 8], "scale": 1, "mean": [1, 2, 3], "std": 2}
    entries |= {"layout": "NHWC", "channels": "BGR", "dtype": "float32"}
    path.write_text(json.dumps(entries))
    steps = Preprocessing.parse(str(path))
    array, _ = fit(steps, port(1, 8, 8, 3)).apply(RED)
    np.testing.assert_allclose(array[0, 0, 0], [-0.5, 63, 126])
    assert Preprocessing.from_json(json.loads(json.dumps(steps.to_json()))) == steps


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "not a JSON object"),
        ('{"sizes": 3}', "unknown field 'sizes'; known: size, crop"),
        ('{"size": "big"}', "size is a side"),
        ('{"size": -1}', "size -1 is not between 1"),
        ('{"size": [1, 2, 3]}', "size is a side"),
        ('{"std": 0}', "std not zero"),
        ('{"mean": [1, 2]}', "mean needs 1 or 3"),
        ('{"mean": ["a"]}', "mean takes numbers"),
        ('{"scale": true}', "scale takes numbers"),
        ('{"channels": "cmyk"}', "'cmyk' is not rgb"),
        ('{"dtype": "complex64"}', "'complex64' is none of"),
        ('{"layout": 3}', "layout takes text"),
    ],
)
def test_bad_json(tmp_path, content, message):
    path = tmp_path / "p.json"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        Preprocessing.parse(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("steps", "shape", "message"),
    [
        (Preprocessing(size=4), (1, 3, 8, 8), "cannot crop 8x8 from 4x4"),
        (Preprocessing(crop=4), (1, 3, 8, 8), "gives 4x4 pixels, the model takes 8x8"),
        (Preprocessing(channels="gray"), (1, 3, 8, 8), "makes gray pictures"),
        (Preprocessing(channels="bgr"), (1, 1, 8, 8), "makes bgr pictures"),
    ],
)
def test_preprocessing_that_does_not_fit(steps, shape, message):
    with pytest.raises(DataError, match=message):
        fit(steps, port(*shape)).apply(RED)


def test_unknown_preset():
    with pytest.raises(DataError, match="unknown preprocessing 'imagnet'; known: imagenet, unit"):
        Preprocessing.parse("imagnet")


def test_text_input_takes_no_picture():
    with pytest.raises(DataError, match="its type is string"):
        fit(None, port(1, 3, 8, 8, kind="string"))
