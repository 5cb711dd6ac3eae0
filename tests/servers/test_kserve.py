"""KServe's own server runs the predictor: v2 over HTTP and gRPC, v1 `:predict` and `:explain`."""

import base64
import io
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onnxlrp.cli import main
from onnxlrp.render.heat import normalise
from onnxlrp.render.picture import overlay
from onnxlrp.runtime import Explainer
from tools.server_env import MissingError, python_of
from tools.triton_server import free_ports

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "shapes_resnet.onnx"
PICTURE = ROOT / "models" / "pictures" / "shapes_star.png"

SECONDS = float(os.environ.get("ONNXLRP_LOAD_SECONDS", "3"))
CLIENTS = 16
SIZE = 3 * 64 * 64
MOST = 4 * SIZE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("kserve") / "service"
    options = ["--name", "shapes", "--preprocess", "unit", "--max-elements", str(MOST)]
    limits = ["--max-bytes", "100000", "--max-pixels", "1000000"]
    assert main(["serve", "kserve", str(MODEL), "-o", str(out), *options, *limits]) == 0
    return out


@pytest.fixture(scope="module")
def server(folder, tmp_path_factory):
    """The ports of a running predictor."""
    try:
        python = python_of("kserve")
    except MissingError as error:
        pytest.skip(f"SKIPPED: {error}")
    http, grpc = free_ports(2)
    log = tmp_path_factory.mktemp("log") / "log.txt"
    ports = ["--http_port", str(http), "--grpc_port", str(grpc)]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [python, "predictor.py", *ports], cwd=folder, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        wait(http, process, log)
        yield {"http": http, "grpc": grpc, "pid": process.pid}
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait(port, process, log):
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/health/ready", timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    pytest.fail(log.read_text()[-2000:])


@pytest.fixture
def ask(server, folder, pictures, ask_client):
    """Ask with KServe's client, in its own environment."""

    def ask(what, **more):
        job = {
            **server,
            "model": "shapes",
            "model_file": str(folder / "model.onnx"),
            "input": "image",
            "samples": str(pictures),
            **more,
        }
        return ask_client("kserve", what, job)

    return ask


def post(server, path, body):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    url = f"http://127.0.0.1:{server['http']}{path}"
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_values_are_those_of_a_plain_session(ask):
    found = ask("values")
    assert len(found) == 2 * 3 * 2
    assert found == dict.fromkeys(found, 0.0)


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_many_clients_at_once(ask, server, kind):
    found = ask("load", kind=kind, clients=CLIENTS, seconds=SECONDS)
    resident = Path(f"/proc/{server['pid']}/statm").read_text().split()[1]
    memory = int(resident) * os.sysconf("SC_PAGE_SIZE") / 2**20
    sys.stdout.write(f"\nkserve {kind}: {json.dumps(found)}, {memory:.0f} MiB\n")
    assert found["wrong"] == {}
    assert found["answers"] > CLIENTS


def test_v1_explains_arrays(server, folder, pictures):
    x = np.load(pictures)[:2]
    explain = Explainer(folder / "model.onnx", ["CPUExecutionProvider"])
    result = explain({"image": x})
    status, answer = post(server, "/v1/models/shapes:predict", {"instances": x.tolist()})
    assert status == 200
    np.testing.assert_allclose(answer["predictions"], result.outputs["logits"], rtol=1e-6)
    instances = [{"image": each.tolist()} for each in x]
    status, answer = post(server, "/v1/models/shapes:explain", {"instances": instances})
    assert status == 200
    maps = [each["relevance/image"] for each in answer["explanations"]]
    np.testing.assert_allclose(maps, result.relevance["image"], rtol=1e-6)


def test_v1_explains_pictures(server, folder, small_picture):
    text = base64.b64encode(PICTURE.read_bytes()).decode()
    status, answer = post(server, "/v1/models/shapes:explain", {"instances": [{"b64": text}] * 2})
    assert status == 200
    pixels = np.asarray(small_picture, np.float64).transpose(2, 0, 1) / 255
    explain = Explainer(folder / "model.onnx", ["CPUExecutionProvider"])
    result = explain({"image": pixels[None].astype(np.float32)})
    heat, _ = normalise(result.relevance["image"][0].astype(np.float64).sum(axis=0), 99.5)
    expected = np.asarray(overlay(heat, small_picture)).astype(int)
    assert len(answer["explanations"]) == 2
    for row, entry in zip(answer["predictions"], answer["explanations"], strict=True):
        np.testing.assert_allclose(row, result.outputs["logits"][0], rtol=1e-5, atol=1e-5)
        png = base64.b64decode(entry["heatmap"]["b64"])
        assert np.abs(np.asarray(Image.open(io.BytesIO(png))).astype(int) - expected).max() <= 1


REFUSALS = {
    "wrong shape": "takes [-1, 3, 64, 64], not [1, 3, 32, 64]",
    "wrong rank": "takes [-1, 3, 64, 64], not [3, 64, 64]",
    "wrong type": "input 'image' is FP32, not FP64",
    "wrong name": "no input 'picture'; there is image",
    "nan": "input 'image' has values that are not finite",
    "many values": f"has {5 * SIZE} values, more than {MOST}",
}


def test_bad_requests_are_refused(ask, tmp_path):
    one = np.zeros((1, 3, 64, 64), np.float32)
    nan = one.copy()
    nan[0, 1, 2, 3] = np.nan
    arrays = {
        "wrong shape": ("image", one[:, :, :32], "FP32"),
        "wrong rank": ("image", one[0], "FP32"),
        "wrong type": ("image", one.astype(np.float64), "FP64"),
        "wrong name": ("picture", one, "FP32"),
        "nan": ("image", nan, "FP32"),
        "many values": ("image", np.repeat(one, 5, axis=0), "FP32"),
    }
    bad = {}
    for name, (port, array, datatype) in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        bad[name] = (port, str(tmp_path / f"{name}.npy"), datatype)
    found = ask("refused", bad=bad)
    expected = {f"{kind} {name}": REFUSALS[name] for kind in ("http", "grpc") for name in REFUSALS}
    assert set(found) == set(expected)
    assert {name: said for name, said in found.items() if expected[name] not in said} == {}
    again = ask("values")
    assert again == dict.fromkeys(again, 0.0)


def v2(shape, data):
    tensor = {"name": "image", "shape": shape, "datatype": "FP32", "data": data}
    return {"inputs": [tensor]}


V2, V1, EXPLAIN = (
    "/v2/models/shapes/infer",
    "/v1/models/shapes:predict",
    "/v1/models/shapes:explain",
)
MALFORMED = (
    (V2, b"{"),
    (V2, b"[" * 100_000),
    (V2, {"inputs": []}),
    (V2, v2([1, 3, 64, 64], [1, 2])),
    (V2, v2([-1, 3, 64, 64], [0.0] * SIZE)),
    (V2, v2([1, 3, 64, 64], ["a"] * SIZE)),
    (V2, v2([1, 3, 64, 64], ["x" * 100_000] + ["a"] * 50_000)),
    (V2, v2([1, 3, 64, 64], [[]] * 50_000)),
    (V2, {**v2([1, 3, 64, 64], [0.0] * SIZE), "outputs": [{"name": "absent"}]}),
    ("/v2/models/absent/infer", v2([1, 3, 64, 64], [0.0] * SIZE)),
    (V1, b"{"),
    (V1, {}),
    (V1, []),
    (V1, {"instances": []}),
    (V1, {"instances": {}}),
    (V1, {"instances": [[1, 2], [3]]}),
    (V1, {"instances": ["a"]}),
    (V1, {"instances": ["x" * 100_000] + ["a"] * 50_000}),
    (V1, {"instances": [{"absent": 1}]}),
    (V1, {"instances": [{"image": 1}, {"b64": "AA=="}]}),
    (V1, b'{"instances": [[[[NaN]]]]}'),
    (EXPLAIN, {"instances": [{"b64": "no base 64"}]}),
    (EXPLAIN, {"instances": [{"b64": 5}]}),
    (EXPLAIN, {"instances": [{"b64": base64.b64encode(b"no picture").decode()}]}),
    (EXPLAIN, {"instances": [{"b64": "A" * 400_000}]}),
)


@pytest.mark.parametrize(("path", "body"), MALFORMED, ids=range(len(MALFORMED)))
def test_malformed_bodies_are_refused(server, path, body):
    status, said = post(server, path, body)
    assert 400 <= status < 500, said
    assert said["error"] if "error" in said else said["detail"]
    with urllib.request.urlopen(
        f"http://127.0.0.1:{server['http']}/v2/health/ready", timeout=10
    ) as answer:
        assert answer.status == 200


def test_long_bodies_are_not_read(server, folder):
    """The length alone refuses a request; nothing of its body is sent."""
    import http.client

    most = json.loads((folder / "settings.json").read_text())["max_body"]
    for headers, expected in (
        ({"Content-Length": str(most + 1)}, 413),
        ({"Transfer-Encoding": "chunked"}, 411),
    ):
        connection = http.client.HTTPConnection("127.0.0.1", server["http"], timeout=20)
        connection.putrequest("POST", V2)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())) == (
            expected,
            {"error": "the request is too long"},
        )


def test_the_manifest_has_the_fields_that_kserve_knows(ask, folder):
    found = ask("manifest", manifest=str(folder / "inferenceservice.yaml"))
    args = ["--model_name", "shapes"]
    assert found == {"unknown": [], "image": "shapes:latest", "args": args}


def test_the_programs_of_the_docs_work(server, pictures, tmp_path):
    """v1 with a picture, v2 with binary tensors."""
    address = f"127.0.0.1:{server['http']}"
    np.save(tmp_path / "two.npy", np.load(pictures)[:2])
    for name, source, out, where in (
        ("kserve_explain.py", PICTURE, "heatmap.png", f"http://{address}"),
        ("kserve_v2.py", tmp_path / "two.npy", "maps.npy", address),
    ):
        program = ROOT / "docs" / "clients" / name
        command = [sys.executable, program, "shapes", source, tmp_path / out, where]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "heatmap.png") as heatmap:
        assert heatmap.size == (64, 64)
    assert np.load(tmp_path / "maps.npy").shape == (2, 3, 64, 64)
