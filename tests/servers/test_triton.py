"""A real Triton serves an explanation graph: right answers, clear refusals, many clients."""

import http.client
import io
import json
import os
import struct
import subprocess
import sys
import urllib.error
import urllib.request
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxlrp.cli import main
from onnxlrp.data import Preprocessing, load_picture
from onnxlrp.render.heat import normalise
from onnxlrp.render.picture import overlay
from onnxlrp.runtime import Explainer
from tools.server_env import MissingError, python_of
from tools.triton_server import ONNXRUNTIME, triton

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "shapes_resnet.onnx"
PICTURE = ROOT / "models" / "pictures" / "shapes_star.png"
LABELS = ROOT / "models" / "shapes_labels.txt"

SECONDS = float(os.environ.get("ONNXLRP_LOAD_SECONDS", "3"))
CLIENTS = 16
BATCHED = 1e-5
"""Of max|y|: a run of several samples may add up in another order than a run of one."""

MOST = 64 * 64 * 3 * 4


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("triton") / "repository"
    options = ["--backend", "python", "--device", "cpu", "--ensemble", "--preprocess", "unit"]
    limits = ["--max-elements", str(MOST), "--max-pixels", "1000000", "--max-bytes", "1000000"]
    arguments = [*options, *limits, "--labels", str(LABELS), "--name", "shapes"]
    assert main(["serve", "triton", str(MODEL), "-o", str(folder), *arguments]) == 0
    plain = ["--backend", "python", "--name", "plain", "--max-batch", "0", "--target", "input"]
    assert main(["serve", "triton", str(MODEL), "-o", str(folder), *plain]) == 0
    if ONNXRUNTIME in os.environ:
        add_native(folder)
    return folder


def add_native(folder):
    """The models of Triton's own ONNX Runtime backend: with and without batching, picture in."""
    for name, *options in (
        ("native", "--device", "cpu", "--ensemble", "--preprocess", "unit"),
        ("unbatched", "--max-batch", "0", "--threads", "1", "--labels", str(LABELS)),
    ):
        arguments = ["--name", name, *options]
        assert main(["serve", "triton", str(MODEL), "-o", str(folder), *arguments]) == 0


@pytest.fixture(scope="module")
def server(repository):
    try:
        with triton(repository) as running:
            yield running
    except MissingError as error:
        pytest.skip(f"SKIPPED: {error}")


@pytest.fixture
def ask(server, repository, pictures, ask_client):
    """Ask with NVIDIA's client, in its own environment."""

    def ask(what, **more):
        job = {
            "http": f"127.0.0.1:{server.ports['http']}",
            "grpc": f"127.0.0.1:{server.ports['grpc']}",
            "model": "shapes",
            "model_file": str(repository / "shapes" / "1" / "model.onnx"),
            "input": "image",
            "samples": str(pictures),
            "picture": str(PICTURE),
            **more,
        }
        return ask_client("triton", what, job)

    return ask


native = pytest.mark.skipif(
    ONNXRUNTIME not in os.environ,
    reason=f"SKIPPED: {ONNXRUNTIME} names no folder with Triton's ONNX Runtime backend",
)
MODELS = ("shapes", pytest.param("native", marks=native), pytest.param("unbatched", marks=native))


@pytest.mark.parametrize("model", MODELS)
def test_values_are_those_of_a_plain_session(ask, model):
    found = ask("values", model=model)
    assert len(found) == 2 * 3 * 2
    assert found == dict.fromkeys(found, 0.0)


@pytest.mark.parametrize("model", MODELS[:2])
def test_the_ensemble_takes_a_picture(ask, small_picture, tmp_path, model):
    graph = tmp_path / "graph.onnx"
    assert main(["compile", str(MODEL), "-o", str(graph)]) == 0
    pixels = np.asarray(small_picture, np.float64).transpose(2, 0, 1) / 255
    result = Explainer(graph, ["CPUExecutionProvider"])({"image": pixels[None].astype(np.float32)})
    heat, _ = normalise(result.relevance["image"][0].astype(np.float64).sum(axis=0), 99.5)
    expected = overlay(heat, small_picture)
    for answer in ask("picture", model=model).values():
        np.testing.assert_allclose(answer["logits"], result.outputs["logits"], atol=1e-6)
        shown = np.asarray(Image.open(io.BytesIO(bytes.fromhex(answer["png"]))))
        assert np.abs(shown.astype(int) - np.asarray(expected).astype(int)).max() <= 1


@pytest.mark.parametrize("model", MODELS[:2])
@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_many_clients_at_once(ask, server, kind, model):
    found = ask("load", model=model, kind=kind, clients=CLIENTS, seconds=SECONDS, tolerance=BATCHED)
    sys.stdout.write(f"\ntriton {model} {kind}: {json.dumps(found)}, {server.rss():.0f} MiB\n")
    assert found["wrong"] == {}
    assert found["answers"] > CLIENTS


def test_bad_requests_are_refused(ask, tmp_path):
    found = ask("refused", bad=bad_requests(tmp_path))
    expected = {f"{kind} {name}": REFUSALS[name] for kind in ("http", "grpc") for name in REFUSALS}
    assert set(found) == set(expected)
    assert {name: said for name, said in found.items() if expected[name] not in said} == {}
    assert ask("values") == dict.fromkeys(ask("values"), 0.0)


REFUSALS = {
    "wrong shape": "unexpected shape for input 'image'",
    "wrong type": "expects 'FP32'",
    "wrong name": "unexpected inference input 'picture'",
    "nan": "input 'image' has values that are not finite",
    "infinite": "input 'image' has values that are not finite",
    "many samples": "batch-size must be <= 8",
    "many values": f"input 'image' has {5 * 3 * 64 * 64} values, more than {MOST}",
    "target alone": "expected 2 inputs but got 1 inputs for model 'plain'",
    "no picture": "not a png, jpg or webp file",
    "half a picture": "cannot read the picture",
    "many pixels": "it has 2000 x 2000 pixels, more than 1000000",
    "many bytes": "the picture has 1000001 bytes, more than 1000000",
    "empty": "not a png, jpg or webp file",
}


def bad_requests(folder):
    one = np.zeros((1, 3, 64, 64), np.float32)
    nan, infinite = one.copy(), one.copy()
    nan[0, 1, 2, 3], infinite[0, 0, 0, 0] = np.nan, np.inf
    arrays = {
        "wrong shape": ("shapes", "image", one[:, :, :32], "FP32"),
        "wrong type": ("shapes", "image", one.astype(np.float64), "FP64"),
        "wrong name": ("shapes", "picture", one, "FP32"),
        "nan": ("shapes", "image", nan, "FP32"),
        "infinite": ("shapes", "image", infinite, "FP32"),
        "many samples": ("shapes", "image", np.repeat(one, 9, axis=0), "FP32"),
        "many values": ("shapes", "image", np.repeat(one, 5, axis=0), "FP32"),
        "target alone": ("plain", "target", np.zeros(1, np.int64), "INT64"),
    }
    files = {
        "no picture": b"GIF89a no picture at all",
        "half a picture": PICTURE.read_bytes()[: PICTURE.stat().st_size // 2],
        "many pixels": black_png(2000, 2000),
        "many bytes": b"\x89PNG".ljust(1_000_001, b"0"),
        "empty": b"",
    }
    bad = {}
    for name, (model, port, array, dtype) in arrays.items():
        np.save(folder / f"{name}.npy", array)
        bad[name] = (model, port, str(folder / f"{name}.npy"), dtype)
    for name, content in files.items():
        (folder / f"{name}.bin").write_bytes(content)
        bad[name] = ("shapes_image", "picture", str(folder / f"{name}.bin"), "BYTES")
    return bad


def black_png(width, height):
    def chunk(kind, content):
        end = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", end)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(height * (width + 1)))
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def post(server, path, body):
    request = urllib.request.Request(server.url(path), data=body)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


IMAGE = '{"inputs": [{"name": "image", "shape": [%s, 3, 64, 64], "datatype": "FP32"%s}]}'
BODIES = (
    "",
    "{",
    "[1, 2]",
    '{"inputs": []}',
    IMAGE % (1, ""),
    IMAGE % (1, ', "data": [1, 2]'),
    IMAGE % (1, ', "data": ["a"]'),
    IMAGE % (-1, ', "data": [1, 2]'),
    IMAGE % (2**62, ', "data": [1, 2]'),
    IMAGE % (1, ', "parameters": {"binary_data_size": 99}'),
    "[" * 100_000,
)


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_malformed_bodies_are_refused(server, body):
    status, said = post(server, "/v2/models/shapes/infer", body.encode())
    assert status >= 400
    assert json.loads(said)["error"]
    assert post(server, "/v2/models/absent/infer", b"{}")[0] in (400, 404)
    connection = http.client.HTTPConnection("127.0.0.1", server.ports["http"], timeout=10)
    connection.request("GET", "/v2/health/ready")
    assert connection.getresponse().status == 200


def test_a_target_is_asked_for(server):
    """A target out of range is refused; one in range explains that class."""

    def explain(target):
        zeros = [0.5] * (3 * 64 * 64)
        image = {"name": "image", "shape": [1, 3, 64, 64], "datatype": "FP32", "data": zeros}
        index = {"name": "target", "shape": [1], "datatype": "INT64", "data": [target]}
        body = json.dumps({"inputs": [image, index]}).encode()
        status, said = post(server, "/v2/models/plain/infer", body)
        return status, json.loads(said)

    status, answer = explain(3)
    assert status == 200
    assert {output["name"] for output in answer["outputs"]} == {"logits", "relevance/image"}
    status, answer = explain(17)
    assert status >= 400
    assert "'target' is out of range" in answer["error"]


def test_classes_are_named(server):
    zeros = [0.5] * (3 * 64 * 64)
    image = {"name": "image", "shape": [1, 3, 64, 64], "datatype": "FP32", "data": zeros}
    best = {"name": "logits", "parameters": {"classification": 2}}
    body = json.dumps({"inputs": [image], "outputs": [best]}).encode()
    status, said = post(server, "/v2/models/shapes/infer", body)
    assert status == 200
    named = {text.rsplit(":", 1)[-1] for text in json.loads(said)["outputs"][0]["data"]}
    assert named <= set(LABELS.read_text().split())


def test_pictures_are_prepared_as_the_package_does(tmp_path):
    """The standalone program and `onnxlrp.data` give the same input, bit for bit."""
    from onnxlrp.data.fit import fit
    from onnxlrp.runtime.signature import Port
    from onnxlrp.serve.artefact import Pictures
    from onnxlrp.serve.programs.picture_steps import prepare
    from onnxlrp.serve.settings import Limits, picture_settings

    rng = np.random.default_rng(1)
    for name, shape in (
        ("imagenet", (1, 3, 24, 32)),
        ("caffe", (1, 24, 24, 3)),
        ("unit", (1, 1, 20, 20)),
    ):
        for size in ((40, 30), (17, 90), (24, 32)):
            port = Port(name="x", dtype=np.dtype(np.float32), kind="float", shape=shape)
            fitted = fit(Preprocessing.parse(name), port)
            pictures = Pictures(port=port, fitted=fitted, relevance="relevance/x", sum_axis=0)
            settings = json.loads(json.dumps(picture_settings(pictures, Limits())))
            picture = Image.fromarray(rng.integers(0, 256, (*size, 3), np.uint8))
            stream = io.BytesIO()
            picture.save(stream, "PNG")
            values, shown = prepare(stream.getvalue(), settings)
            expected, seen = fitted.apply(load_picture(stream.getvalue()))
            np.testing.assert_array_equal(values, expected)
            np.testing.assert_array_equal(shown, np.asarray(seen))


CLIENT_PROGRAMS = ROOT / "docs" / "clients"


def test_the_programs_of_the_docs_work(server, pictures, tmp_path):
    """HTTP with a picture, gRPC with a tensor, HTTP without any client."""

    def program(name, source, out, port):
        command = [python_of("triton"), CLIENT_PROGRAMS / name, "shapes", source, tmp_path / out]
        address = f"127.0.0.1:{server.ports[port]}"
        done = subprocess.run([*command, address], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert "logits" in program("triton_http.py", PICTURE, "heatmap.png", "http")
    with Image.open(tmp_path / "heatmap.png") as heatmap:
        assert heatmap.size == (64, 64)
    assert "relevance [1, 3, 64, 64]" in program("triton_grpc.py", PICTURE, "one.npy", "grpc")
    np.save(tmp_path / "two.npy", np.load(pictures)[:2])
    said = program("kserve_v2.py", tmp_path / "two.npy", "maps.npy", "http")
    assert "relevance/image [2, 3, 64, 64]" in said
    assert np.load(tmp_path / "maps.npy").shape == (2, 3, 64, 64)
