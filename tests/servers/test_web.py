import base64
import hashlib
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from onnxlrp.cli import main
from onnxlrp.data import Preprocessing
from onnxlrp.data.fit import fit
from onnxlrp.errors import DataError
from onnxlrp.render import colorize
from onnxlrp.render.heat import normalise
from onnxlrp.runtime import Explainer
from onnxlrp.serve.web.runtime import WASM, WEBGPU, download, from_folder
from tests.servers.browser import needs_chromium, visit, web_runtime
from tools.browser import SOFTWARE_GPU

MODELS = Path(__file__).resolve().parents[2] / "models"
HERE = Path(__file__).resolve().parent

# Both sum the same float32 products in another order; the operators' table of the browser was
# seen to differ by up to 1.5e-5 of the largest value.
WASM_TOLERANCE = 2e-5
GPU_TOLERANCE = 1e-4

DRIVE = '<!doctype html><meta charset="utf-8"><body><script src="drive.js"></script>'


@pytest.fixture
def page(tmp_path, capfd):
    """Make a page with the command line; what it prints comes along."""

    def make(*arguments, model="shapes_resnet.onnx"):
        out = tmp_path / "page"
        words = ["serve", "web", str(MODELS / model), "-o", str(out), "--preprocess", "unit"]
        status = main([*words, *map(str, arguments)])
        said = capfd.readouterr()
        assert status == 0, said.err
        return out, said.out

    return make


def drop(folder, picture, query=""):
    picture.save(folder / "dropped.png")
    shutil.copy(HERE / "drive.js", folder)
    (folder / "drive.html").write_text(DRIVE)
    return f"drive.html?{query}"


def noise(height, width):
    pixels = np.random.default_rng(5).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def plain(folder, picture, target):
    """What ONNX Runtime gives for the file that the page loads."""
    explain = Explainer(str(folder / "model.onnx"))
    steps = fit(Preprocessing.parse("unit"), explain.signature.inputs["image"])
    array, shown = steps.apply(picture)
    session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    feeds = {"image": array, "target": np.array([target])}
    scores, relevance = session.run(["logits", "relevance/image"], feeds)
    return scores[0], relevance[0], shown


def check(found, folder, picture, tolerance):
    assert "error" not in found, found["error"]
    predicted, chosen = found["predicted"], found["chosen"]
    for answer in (predicted, chosen):
        scores, relevance, shown = plain(folder, picture, answer["target"])
        assert np.abs(scores - answer["scores"]).max() <= tolerance * np.abs(scores).max()
        wrong = np.abs(relevance.reshape(-1) - answer["relevance"]).max()
        assert wrong <= tolerance * np.abs(relevance).max()
    assert predicted["target"] == int(np.argmax(predicted["scores"]))
    sizes = (shown.height, shown.width, 4)
    seen = np.array(found["shown"]["data"], np.uint8).reshape(sizes)
    assert np.array_equal(seen[:, :, :3], np.asarray(shown))
    drawn = np.array(found["heatmap"]["data"], np.uint8).reshape(sizes)
    heat, _ = normalise(relevance.astype(np.float64).sum(axis=0), 99.5)
    colours = colorize(heat).astype(np.int64)
    # A rounding of the relevance may move a pixel by one step of 513.
    assert np.abs(drawn[:, :, :3] - colours).max() <= 3
    assert colours.std() > 10


@pytest.mark.slow
@pytest.mark.parametrize("size", [(256, 256), (77, 101), (40, 200), (128, 129)])
def test_picture_and_class_in_the_browser(page, tmp_path, size):
    needs_chromium()
    folder, _ = page("--runtime", web_runtime(), "--labels", MODELS / "shapes_labels.txt")
    picture = noise(*size)
    if size == (256, 256):
        picture = Image.open(MODELS / "pictures" / "shapes_star.png").convert("RGB")
    found = visit(folder, drop(folder, picture, "target=1&backend=wasm"), tmp_path / "profile")
    check(found, folder, picture, WASM_TOLERANCE)
    assert found["chosen"]["target"] == 1
    assert found["rows"] == 5
    assert found["isolated"]
    assert found["chosen"]["backend"] == "WebAssembly"
    assert {name.split("/")[2].split(":")[0] for name in found["loaded"]} == {"127.0.0.1"}


@pytest.mark.slow
def test_names_of_classes_are_text(page, tmp_path):
    needs_chromium()
    name = '<img src=x onerror="document.title=1"><b>x</b>'
    labels = tmp_path / "labels.txt"
    labels.write_text("\n".join([name] * 6))
    folder, _ = page("--runtime", web_runtime(), "--labels", labels)
    opened = drop(folder, noise(64, 64), "target=1&backend=wasm")
    found = visit(folder, opened, tmp_path / "profile")
    assert (found["names"], found["foreign"]) == ([name] * 5, 0)
    assert found["title"] == "shapes_resnet"


@pytest.mark.slow
def test_web_gpu(page, tmp_path):
    needs_chromium()
    folder, said = page("--runtime", web_runtime(), "--labels", MODELS / "shapes_labels.txt")
    assert "no WebGPU" not in said
    picture = Image.open(MODELS / "pictures" / "shapes_cross.png").convert("RGB")
    opened = drop(folder, picture, "target=2")
    found = visit(folder, opened, tmp_path / "profile", *SOFTWARE_GPU)
    if found.get("predicted", {}).get("backend") != "WebGPU":
        pytest.skip(f"no WebGPU adapter in this Chromium: {found.get('error', found.get('about'))}")
    check(found, folder, picture, GPU_TOLERANCE)


@pytest.mark.slow
def test_page_without_the_runtime_names_what_is_missing(page, tmp_path):
    needs_chromium()
    folder, said = page()
    assert "still lacks ort.wasm.min.js" in said
    found = visit(folder, drop(folder, noise(64, 64), "backend=wasm"), tmp_path / "profile")
    assert "lacks ort/ort.wasm.min.js" in found["error"]
    assert "--runtime" in found["error"]


def test_max_pooling_is_compiled_with_masks(page):
    folder, said = page()
    assert "values that are not float32 or int32" in said
    metadata = Explainer(str(folder / "model.onnx")).metadata
    assert "mask" in json.dumps(metadata.composite)


def test_winners_by_index_bar_the_gpu(page):
    folder, said = page("--composite", "epsilon-plus:maxpool=winner")
    config = json.loads((folder / "config.json").read_text())
    named = "MaxPool with Indices" in said
    assert config["webgpu"] is not named


def test_outputs_that_are_no_classes_are_refused(tmp_path, capfd):
    from onnx import parser

    text = '<ir_version: 10, opset_import: ["" : 21]>'
    text += "g (float[N,3,16,16] x) => (float[N,3,16,16] y) { y = Relu(x) }"
    path = tmp_path / "maps.onnx"
    path.write_bytes(parser.parse_model(text).SerializeToString())
    assert main(["serve", "web", str(path), "-o", str(tmp_path / "page")]) == 1
    assert "error: the page shows classes" in capfd.readouterr().err


@pytest.fixture
def packed(tmp_path):
    """A package as npm has it, and its checksum."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    path = tmp_path / "package.tgz"
    files = {f"dist/{name}": name for name in WASM + WEBGPU}
    files["package.json"] = '{"name": "small", "version": "1.0.0"}'
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content.encode()))
    return str(path), base64.b64encode(hashlib.sha512(path.read_bytes()).digest()).decode()


def test_download_takes_the_files_of_the_page(packed):
    package, digest = packed
    found = download(webgpu=True, package=package, sha512=digest)
    assert found == {name: name.encode() for name in WASM + WEBGPU}


def test_download_refuses_what_it_does_not_know(packed):
    with pytest.raises(DataError, match="does not have the checksum"):
        download(webgpu=False, package=packed[0])
    with pytest.raises(DataError, match="npm cannot fetch"):
        download(webgpu=False, package=packed[0] + ".gone")


def test_folder_without_the_runtime(tmp_path):
    with pytest.raises(DataError, match=r"has no ort\.wasm\.min\.js"):
        from_folder(tmp_path, webgpu=False)
