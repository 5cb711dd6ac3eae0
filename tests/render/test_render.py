import numpy as np
import pytest
from PIL import Image

from onnxlrp.errors import DataError, InputError
from onnxlrp.render import COLORS, Caption, Style, colorize, heatmap, limit, render
from onnxlrp.render.page import fit_text, text_width

RNG = np.random.default_rng(0)
PHOTO = Image.effect_noise((40, 30), 60).convert("RGB")
MAP = RNG.normal(size=(1, 3, 30, 40))
CAPTION = Caption(
    title="cat",
    subtitle="epsilon",
    top=(("cat", "90 %", 0.9), ("dog", "10 %", 0.1)),
    numbers=(("score", "1.0"),),
)


@pytest.mark.parametrize("colors", [name for name in COLORS if name not in ("viridis", "gray")])
def test_diverging_colours_are_neutral_at_zero_and_signed(colors):
    low, middle, high = colorize(np.array([-0.5, 0, 0.5]), colors).astype(int)
    assert middle.max() - middle.min() < 4
    assert high[0] > high[2]
    assert low[2] > low[0]


def test_colours_clip_and_are_monotone():
    np.testing.assert_array_equal(
        colorize(np.array([-9.0, 9.0, np.nan]), "gray")[:, 0], [0, 255, 128]
    )
    ramp = colorize(np.linspace(-1, 1, 99), "viridis").astype(int).sum(axis=1)
    assert (np.diff(ramp) >= -2).all()


def test_limit_is_the_percentile_of_absolute_values():
    values = np.arange(-100, 101) / 100
    assert limit(values, 100) == 1
    assert abs(limit(values, 98) - 0.98) < 0.01
    assert limit(np.array([0.0] * 999 + [5.0]), 98) == 5
    assert limit(np.zeros(3)) == 0


def test_heatmap_sums_channels():
    np.testing.assert_array_equal(heatmap(MAP), MAP.sum(1))
    np.testing.assert_array_equal(heatmap(MAP, "NHWC"), MAP.sum(-1))


@pytest.mark.parametrize(
    "relevance",
    [MAP, MAP[0], MAP.transpose(0, 2, 3, 1), MAP[0].transpose(1, 2, 0), MAP.sum(1)[0], MAP.sum(1)],
)
def test_plain_picture_has_one_pixel_per_value(relevance):
    plain = render(relevance, PHOTO, style=Style(plain=True))
    assert plain.size == (40, 30)
    np.testing.assert_array_equal(
        np.asarray(plain), np.asarray(render(MAP, style=Style(plain=True)))
    )


@pytest.mark.parametrize("colors", COLORS)
def test_page_of_a_picture(colors):
    page = render(MAP, PHOTO, style=Style(colors=colors), caption=CAPTION)
    alone = render(MAP, style=Style(colors=colors))
    assert page.width > 3 * 400
    assert alone.width < page.width / 2
    assert np.asarray(page).std() > 10


def test_sign_decides_the_colour_and_zero_stays_white():
    relevance = np.zeros((1, 1, 9, 9))
    relevance[..., 0, 0], relevance[..., 8, 8] = 1, -1
    pixels = np.asarray(render(relevance, style=Style(plain=True, colors="bwr")))
    assert pixels[0, 0].tolist() == [255, 0, 0]
    assert pixels[8, 8].tolist() == [0, 0, 255]
    assert (pixels[1:8] == 255).all()
    assert (np.asarray(render(relevance * 0, style=Style(plain=True))) == 255).all()


def test_several_samples_stand_below_each_other():
    many = np.concatenate([MAP] * 3)
    one = render(MAP, np.asarray(PHOTO))
    assert render(many, [PHOTO] * 3).height == 3 * one.height
    assert render(many, np.stack([np.asarray(PHOTO)] * 3)).size == (one.width, 3 * one.height)


@pytest.mark.parametrize(
    "image",
    [
        np.asarray(PHOTO),
        np.asarray(PHOTO) / 255,
        RNG.normal(size=(1, 3, 30, 40)),
        np.ones((30, 40)),
    ],
)
def test_pictures_given_as_arrays(image):
    assert render(MAP, image).width > 1000


def test_curves_and_bars():
    signal = np.sin(np.arange(200))
    assert render(signal[None, None], signal).width > 700
    assert render(signal).width > 700
    assert render(RNG.normal(size=(2, 90, 4)), style=Style(kind="curve")).height > 300
    names = [f"a rather long name of column {k}" for k in range(30)]
    row = RNG.normal(size=(1, 30))
    assert render(row, row, features=names, caption=CAPTION).width > 700
    two = render(RNG.normal(size=(2, 5)))
    assert two.height > render(RNG.normal(size=5)).height
    assert render(np.float64(1.5)).height > 0


def test_saved_whole_or_not_at_all(tmp_path):
    path = tmp_path / "heatmap.png"
    page = render(MAP, PHOTO, path=path)
    np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(page))
    assert [file.name for file in tmp_path.iterdir()] == ["heatmap.png"]
    with pytest.raises(DataError, match=r"should end in \.png"):
        render(MAP, path=tmp_path / "heatmap.xyz")
    with pytest.raises(OSError, match="nowhere"):
        render(MAP, path=tmp_path / "nowhere" / "a.png")
    assert [file.name for file in tmp_path.iterdir()] == ["heatmap.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"relevance": MAP * np.nan}, "not finite"),
        ({"relevance": MAP[:0]}, "1 to 64 samples, got 0"),
        ({"relevance": np.zeros((65, 1, 9, 9))}, "got 65: pass some"),
        ({"relevance": np.zeros((2, 2, 2, 9, 9))}, "is no picture"),
        ({"relevance": MAP, "image": np.ones((5, 30, 40))}, "no picture of 1 or 3 channels"),
        ({"relevance": np.concatenate([MAP] * 2), "image": PHOTO}, "pass as many images"),
        ({"relevance": np.ones((1, 5)), "image": np.ones(4)}, "what was explained"),
    ],
)
def test_bad_arguments_are_one_line_errors(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        render(**arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colors": "jet"}, "unknown colours 'jet'; known: seismic"),
        ({"percentile": 0}, "percentile must be"),
        ({"layout": "CHW"}, "layout 'CHW'"),
        ({"panel": 1}, "panel must be"),
    ],
)
def test_bad_styles(options, message):
    with pytest.raises(InputError, match=message):
        Style(**options)


def test_long_text_is_cut():
    text = fit_text("a very long label indeed, with many words", 15, 120)
    assert text.endswith("...")
    assert text_width(text, 15) <= 120
