"""Pictures in the graph: equal to pillow, numpy and `render` outside of it."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from PIL import Image

import onnxlrp
from onnxlrp.cli import main
from onnxlrp.compile import ExplanationGraph
from onnxlrp.data.fit import Fitted, fit
from onnxlrp.data.preprocess import PRESETS, Preprocessing
from onnxlrp.errors import InputError, ModelError
from onnxlrp.pictures import with_pictures
from onnxlrp.pictures.over import SEISMIC
from onnxlrp.render.colors import COLORS
from onnxlrp.render.heat import heatmap, normalise
from onnxlrp.render.picture import overlay
from onnxlrp.runtime.signature import Port
from tests.engine import STANDARD, Session, domains, model_of

MODELS = Path(__file__).parents[1] / "models"
AXES = np.array([1])

COLOUR = 1
"""Levels of 255: float32 and float64 next to a half, of a colour's step and of the mix."""

SIZES = ((64, 64), (300, 400), (50, 37), (97, 33), (20, 19), (1, 1), (3, 200))
KINDS = ("noise", "smooth", "black", "white")


def draw(kind: str, height: int, width: int, rng: np.random.Generator) -> Image.Image:
    if kind == "noise":
        return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
    if kind == "smooth":
        small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
        return small.resize((width, height), Image.Resampling.BICUBIC)
    return Image.new("RGB", (width, height), kind)


def identity(shape: tuple[int | str, ...]) -> onnx.ModelProto:
    """A model whose relevance is its input, so that the graph shows what it was given."""
    body = "h = Flatten(x) y = ReduceSum<keepdims=1>(h, axes)"
    return model_of(body, {"x": shape}, {"axes": AXES})


def fitted(steps: Preprocessing, shape: tuple[int | str, ...]) -> Fitted:
    port = Port(name="x", dtype=np.dtype(np.float32), kind="float", shape=shape)
    return fit(steps, port)


def of_pictures(
    shape: tuple[int | str, ...], steps: Preprocessing, **options: object
) -> ExplanationGraph:
    graph = onnxlrp.compile(identity(shape), composite="gradient-x-input", **options)
    return with_pictures(graph, steps)


def drawn(relevance: NDArray[np.float32], shown: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(overlay(normalise(heatmap(relevance), 99.5)[0], shown))


STEPS = {
    **PRESETS,
    "center": Preprocessing(size=80, crop=64, scale=1 / 255),
    "crop only": Preprocessing(crop=64),
    "stretched": Preprocessing(size=(64, 64)),
    "stretched wide": Preprocessing(size=(70, 101), crop=(64, 64)),
}
SHAPES = {"NCHW": ("N", 3, 64, 64), "NHWC": ("N", 64, 64, 3), "gray": ("N", 1, 64, 64)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", STEPS)
def test_input_equals_data(name: str, shape: str) -> None:
    """The relevance of this model is its input: compared value by value with `data`."""
    rng = np.random.default_rng(3)
    steps, port = STEPS[name], SHAPES[shape]
    if shape == "gray" and steps.channels == "bgr":
        steps = Preprocessing(mean=steps.mean)
    fit_ = fitted(steps, port)
    explain = onnxlrp.Explainer(of_pictures(port, steps))
    for height, width in SIZES:
        picture = draw("noise", height, width, rng)
        wanted, _ = fit_.apply(picture)
        found = explain({"picture": np.asarray(picture)[None]}).relevance["x"]
        if steps.size and not isinstance(steps.size, int) and reversed_order(steps.size, picture):
            scale = np.max(fit_.preprocessing.scale / np.array(fit_.preprocessing.std))
            np.testing.assert_allclose(found, wanted, rtol=0, atol=scale * 1.001)
        else:
            np.testing.assert_array_equal(found, wanted)


def reversed_order(size: tuple[int, int], picture: Image.Image) -> bool:
    """Whether pillow resizes columns first, so that rounding between the passes differs."""
    return size[0] < picture.height and size[1] > picture.width


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", ["shapes_vgg", "shapes_resnet"])
def test_overlay_equals_render(name: str, count: int) -> None:
    """What is drawn equals `render` on the relevance and the picture as the model sees it."""
    rng = np.random.default_rng(4)
    graph = onnxlrp.compile(MODELS / f"{name}.onnx")
    steps = Preprocessing(scale=1 / 255)
    both, plain = onnxlrp.Explainer(with_pictures(graph, steps)), onnxlrp.Explainer(graph)
    fit_ = fit(steps, plain.signature.inputs["image"])
    for kind in KINDS:
        pictures = [draw(kind, 64, 90, rng) for _ in range(count)]
        pairs = [fit_.apply(picture) for picture in pictures]
        outside = plain({"image": np.concatenate([x for x, _ in pairs])})
        inside = both({"picture": np.stack([np.asarray(picture) for picture in pictures])})
        for output, value in outside.outputs.items():
            np.testing.assert_array_equal(inside.outputs[output], value)
        np.testing.assert_array_equal(inside.relevance["image"], outside.relevance["image"])
        found = inside.outputs["overlay/image"]
        assert found.dtype == np.uint8
        assert found.shape == (count, 64, 64, 3)
        wanted = [
            drawn(r, shown) for r, (_, shown) in zip(outside.relevance["image"], pairs, strict=True)
        ]
        assert np.abs(found.astype(int) - np.stack(wanted)).max() <= COLOUR


@pytest.mark.parametrize("size", SIZES)
def test_sizes_and_extremes(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    steps = Preprocessing(scale=1 / 255)
    graph = with_pictures(onnxlrp.compile(MODELS / "shapes_vgg.onnx"), steps)
    explain = onnxlrp.Explainer(graph)
    fit_ = fitted(steps, SHAPES["NCHW"])
    for kind in KINDS:
        picture = draw(kind, *size, rng)
        result = explain({"picture": np.asarray(picture)[None]})
        _, shown = fit_.apply(picture)
        wanted = drawn(result.relevance["image"][0], shown).astype(int)
        away = np.abs(result.outputs["overlay/image"][0] - wanted)
        assert away.max() <= COLOUR


def test_no_relevance_is_a_gray_picture() -> None:
    explain = onnxlrp.Explainer(of_pictures(SHAPES["NCHW"], PRESETS["unit"]))
    black = explain({"picture": np.zeros((1, 64, 64, 3), np.uint8)})
    np.testing.assert_array_equal(black.outputs["overlay/x"], 115)


def test_relevance_that_is_no_number_gets_no_colour() -> None:
    graph = onnxlrp.compile(MODELS / "shapes_vgg.onnx", target="input")
    run = Session(with_pictures(graph, PRESETS["unit"]).model)
    picture = np.full((1, 64, 64, 3), 255, np.uint8)
    found = run({"picture": picture, "target": np.array([99])})
    assert np.isnan(found["relevance/image"]).all()
    np.testing.assert_array_equal(found["overlay/image"], 255)


def test_pictures_that_pillow_resizes_by_columns_first() -> None:
    """Rounding between the passes: at most one level."""
    explain = onnxlrp.Explainer(of_pictures(SHAPES["NCHW"], PRESETS["raw"]))
    picture = draw("noise", 600, 100, np.random.default_rng(11))
    wanted, _ = fitted(PRESETS["raw"], SHAPES["NCHW"]).apply(picture)
    found = explain({"picture": np.asarray(picture)[None]}).relevance["x"]
    assert np.abs(found - wanted).max() <= 1


@pytest.mark.parametrize("least", [64, 224, 384])
def test_sides_are_those_of_data(least: int) -> None:
    """Integers here, floats in `data`: seen to differ for 2 of 100,000 sizes at 224 (a half)."""
    fit_ = fitted(Preprocessing(), ("N", 3, least, least))
    sizes = [(height, width) for height in range(20, 700, 13) for width in range(20, 700, 11)]
    wrong = [size for size in sizes if fit_.place(size).resized != exact(*size, least)]
    assert len(wrong) <= 1e-3 * len(sizes)


def exact(height: int, width: int, least: int) -> tuple[int, int]:
    """Fractions rounded to the even side."""
    factor = Fraction(least, min(height, width))
    return max(round(height * factor), least), max(round(width * factor), least)


def test_halves_go_to_the_even_side() -> None:
    """3 x 4 to 2 x 2.67, 4 x 5 to 2 x 2.5: the resized picture is cut to 2 x 2."""
    explain = onnxlrp.Explainer(of_pictures(("N", 3, 2, 2), PRESETS["raw"]))
    rng = np.random.default_rng(6)
    for height, width in ((3, 4), (4, 5), (4, 7), (5, 4), (9, 6)):
        picture = draw("noise", height, width, rng)
        wanted, _ = fitted(PRESETS["raw"], ("N", 3, 2, 2)).apply(picture)
        found = explain({"picture": np.asarray(picture)[None]}).relevance["x"]
        np.testing.assert_array_equal(found, wanted)


def test_several_targets() -> None:
    model = MODELS / "shapes_vgg.onnx"
    steps = Preprocessing(scale=1 / 255)
    several = onnxlrp.Explainer(with_pictures(onnxlrp.compile(model, target="input:2"), steps))
    single = onnxlrp.Explainer(with_pictures(onnxlrp.compile(model, target="input"), steps))
    rng = np.random.default_rng(7)
    pictures = np.stack([np.asarray(draw("smooth", 70, 80, rng)) for _ in range(2)])
    found = several({"picture": pictures}, target=np.array([[0, 1], [1, 0]])).outputs
    assert found["overlay/image"].shape == (2, 2, 64, 64, 3)
    for column in range(2):
        target = np.array([column, 1 - column])
        alone = single({"picture": pictures}, target=target).outputs["overlay/image"]
        away = np.abs(found["overlay/image"][:, column].astype(int) - alone)
        assert away.max() <= COLOUR


def test_methods_of_one_channel_draw_their_own_map() -> None:
    graph = onnxlrp.compile(MODELS / "shapes_vgg.onnx", composite="grad-cam")
    explain = onnxlrp.Explainer(with_pictures(graph, PRESETS["unit"]))
    picture = draw("smooth", 64, 64, np.random.default_rng(8))
    result = explain({"picture": np.asarray(picture)[None]})
    wanted = overlay(normalise(result.heatmap["image"][0].astype(float), 99.5)[0], picture)
    away = np.abs(result.outputs["overlay/image"][0].astype(int) - np.asarray(wanted))
    assert away.max() <= COLOUR


def test_a_model_of_free_size_sees_the_whole_picture() -> None:
    explain = onnxlrp.Explainer(of_pictures(("N", 3, "h", "w"), PRESETS["tf"]))
    picture = draw("noise", 23, 31, np.random.default_rng(9))
    wanted, _ = fitted(PRESETS["tf"], ("N", 3, "h", "w")).apply(picture)
    result = explain({"picture": np.asarray(picture)[None]})
    np.testing.assert_array_equal(result.relevance["x"], wanted)
    assert result.outputs["overlay/x"].shape == (1, 23, 31, 3)


def test_the_graph_is_standard_and_says_what_it_does() -> None:
    plain = onnxlrp.compile(MODELS / "shapes_resnet.onnx", preprocessing=PRESETS["unit"].to_json())
    graph = with_pictures(plain)
    onnx.checker.check_model(graph.model, full_check=True)
    assert domains(graph.model) <= STANDARD
    assert graph.to_bytes() == with_pictures(plain).to_bytes()
    first = graph.model.graph.input[0]
    assert (first.name, first.type.tensor_type.elem_type) == ("picture", onnx.TensorProto.UINT8)
    assert graph.metadata.inputs == ("picture",)
    said = onnxlrp.Explainer(graph).metadata
    assert said.composite["picture"]["input"] == "image"
    assert Preprocessing.from_json(said.preprocessing).dtype == "uint8"
    added = len(graph.to_bytes()) - len(plain.to_bytes())
    assert added < 40_000


def test_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, picture = MODELS / "shapes_resnet.onnx", MODELS / "pictures" / "shapes_star.png"
    out, said = tmp_path / "p.onnx", {}
    assert main(["compile", str(source), "-o", str(out), "--picture", "--preprocess", "unit"]) == 0
    for model, options in ((source, ["--preprocess", "unit"]), (out, [])):
        drawn = tmp_path / f"{model.stem}.png"
        capsys.readouterr()
        assert main(["explain", str(model), str(picture), "-o", str(drawn), *options]) == 0
        said[model] = capsys.readouterr().out.replace(str(drawn), "")
        assert Image.open(drawn).width > 1000
    assert said[source] == said[out]
    Image.open(picture).resize((64, 64)).save(tmp_path / "small.png")
    np.save(tmp_path / "rows.npy", np.asarray(Image.open(tmp_path / "small.png"))[None])
    assert main(["explain", str(out), str(tmp_path / "rows.npy"), "-o", str(drawn)]) == 0
    assert main(["compile", str(source), "-o", str(tmp_path / "q.onnx"), "--picture"]) == 1
    assert "need a preprocessing" in capsys.readouterr().err
    assert main(["serve", "web", str(out), "-o", str(tmp_path / "page")]) == 1
    assert "compile the graph without --picture" in capsys.readouterr().err


def test_colours_are_those_of_the_drawings() -> None:
    assert [bytes.fromhex(colour) for colour in COLORS["seismic"]] == [bytes(c) for c in SEISMIC]


def test_what_does_not_fit_is_refused() -> None:
    graph = onnxlrp.compile(MODELS / "shapes_vgg.onnx")
    unit = PRESETS["unit"]
    with pytest.raises(InputError, match="need a preprocessing"):
        with_pictures(graph)
    with pytest.raises(InputError, match=r"crops to .32, 32., the model takes .64, 64."):
        with_pictures(graph, Preprocessing(crop=32))
    with pytest.raises(InputError, match=r"cannot crop .64, 64. from size 50"):
        with_pictures(graph, Preprocessing(size=50))
    with pytest.raises(InputError, match="makes gray pictures, input 'image' takes 3"):
        with_pictures(graph, Preprocessing(channels="gray"))
    with pytest.raises(ModelError, match="none of the explained inputs picture is a picture"):
        with_pictures(with_pictures(graph, unit), {"layout": "NCHW"})
    with pytest.raises(ModelError, match=r"already has a value 'lrp/overlay/\w+'"):
        with_pictures(with_pictures(graph, unit))
    rows = onnxlrp.compile(model_of("y = ReduceSum(x, axes)", {"x": ("N", 5)}, {"axes": AXES}))
    with pytest.raises(ModelError, match="none of the explained inputs x is a picture"):
        with_pictures(rows, unit)


def test_in_a_second_runtime() -> None:
    openvino = pytest.importorskip("openvino")
    graph = with_pictures(onnxlrp.compile(MODELS / "shapes_vgg.onnx"), PRESETS["unit"])
    core = openvino.Core()
    made = core.compile_model(
        core.read_model(graph.to_bytes()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    place = [info.name for info in graph.model.graph.output].index("overlay/image")
    explain, rng = onnxlrp.Explainer(graph), np.random.default_rng(10)
    for size in ((64, 64), (300, 400), (50, 37)):
        pictures = np.stack([np.asarray(draw(kind, *size, rng)) for kind in KINDS])
        first = explain({"picture": pictures}).outputs["overlay/image"]
        second = np.asarray(made({"picture": pictures})[made.output(place)])
        away = np.abs(first.astype(int) - second)
        assert away.max() <= 2 * COLOUR
