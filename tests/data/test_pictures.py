import io

import numpy as np
import pytest
from PIL import Image

from onnxlrp.data import load_labels, load_picture, pictures
from onnxlrp.errors import DataError


def saved(path, mode="RGB", size=(6, 4), **options):
    colour = {"RGBA": (200, 0, 0, 0), "LA": (200, 255), "RGB": (200, 100, 50), "I;16": 65535}.get(
        mode, 200
    )
    Image.new(mode, size, colour).save(path, **options)
    return path


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_formats(tmp_path, name):
    picture = load_picture(saved(tmp_path / name))
    assert (picture.mode, picture.size) == ("RGB", (6, 4))
    assert np.abs(np.asarray(picture).astype(int) - (200, 100, 50)).max() < 12


@pytest.mark.parametrize(
    ("mode", "pixel"),
    [("L", (200,) * 3), ("RGBA", (255,) * 3), ("LA", (200,) * 3), ("I;16", (255,) * 3)],
)
def test_modes(tmp_path, mode, pixel):
    picture = load_picture(saved(tmp_path / "a.png", mode))
    assert picture.getpixel((0, 0)) == pixel


def test_exif_orientation(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path / "a.jpg", exif=exif)
    assert load_picture(path).size == (4, 6)


def test_bytes():
    buffer = io.BytesIO()
    Image.new("RGB", (3, 2)).save(buffer, "PNG")
    assert load_picture(buffer.getvalue()).size == (3, 2)


def good_png():
    buffer = io.BytesIO()
    Image.effect_noise((64, 64), 50).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"not a picture at all", "not a png, jpg or webp file"),
        (good_png()[:200], "cannot read the picture"),
        (good_png()[:40], "cannot read the picture"),
        (b"GIF89a" + b"\0" * 100, "not a png, jpg or webp file"),
    ],
)
def test_unreadable_pictures_are_one_line_errors(tmp_path, content, message):
    path = tmp_path / "bad.png"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_picture(path)
    assert "bad.png" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_missing_and_too_large(tmp_path, monkeypatch):
    with pytest.raises(DataError, match=r"none\.png.*No such file"):
        load_picture(tmp_path / "none.png")
    path = saved(tmp_path / "a.png")
    monkeypatch.setattr(pictures, "MAX_PIXELS", 23)
    with pytest.raises(DataError, match="6 x 4 pixels, more than 23"):
        load_picture(path)


def test_labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("\ufeffcat\n dog \n\n\n", encoding="utf-8")
    assert load_labels(path) == ("cat", "dog")
    path.write_text('["a", "b"]')
    assert load_labels(path) == ("a", "b")
    for content, message in [(b"\xff\xfe\x00", "UTF-8"), (b"\n", "no labels"), (b"[1,", "JSON")]:
        path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_labels(path)
