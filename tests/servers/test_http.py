"""The server runs as its users run it: as a process of its own, asked over sockets."""

import json
import os
import re
import socket
import subprocess
import sys
import urllib.request
from io import BytesIO

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from onnxlrp.render import colorize
from onnxlrp.render.heat import normalise
from tests.servers.hammer import hammer
from tests.servers.http_server import (
    CLIENTS,
    HEADER,
    INFER,
    MODEL,
    ROOT,
    TOLERANCE,
    binary,
    close,
    head,
    lives,
    read_binary,
    running,
    tensors,
)

STAR = ROOT / "models" / "pictures" / "shapes_star.png"
SECONDS = float(os.environ.get("ONNXLRP_LOAD_SECONDS", "3"))


@pytest.fixture(scope="module")
def server(graph):
    limits = ("--max-bytes", "2000000", "--max-pixels", "100000", "--timeout", "30")
    labels = ("--labels", str(ROOT / "models" / "shapes_labels.txt"))
    with running(graph, "--preprocess", "unit", *labels, *limits) as found:
        yield found


def test_protocol_addresses(server):
    assert server.ask("/v2/health/live")[0] == 200
    assert server.ask("/v2/health/ready")[0] == 200
    assert server.ask("/v2/models/shapes/versions/1/ready")[0] == 200
    assert "binary_tensor_data" in json.loads(server.ask("/v2")[1])["extensions"]
    metadata = json.loads(server.ask("/v2/models/shapes")[1])
    shape = {"name": "image", "datatype": "FP32", "shape": [-1, 3, 64, 64]}
    assert metadata["inputs"] == [shape, {"name": "target", "datatype": "INT64", "shape": [-1]}]
    assert [output["name"] for output in metadata["outputs"]] == ["logits", "relevance/image"]


@pytest.mark.parametrize("count", [1, 3])
def test_json_equals_a_plain_session(server, samples, count):
    x, target, expected = samples
    status, answer = server.infer(tensors(x[:count], target[:count]) | {"id": "seven"})
    assert (status, answer["id"]) == (200, "seven")
    logits, relevance = (np.reshape(o["data"], o["shape"]) for o in answer["outputs"])
    for k in range(count):
        assert close((logits[k : k + 1], relevance[k : k + 1]), expected[k])


def test_binary_equals_a_plain_session(server, samples):
    x, target, expected = samples
    content, headers = binary(x[:2], target[:2])
    status, answer, said = server.ask(INFER, content, headers)
    assert status == 200, answer
    logits, relevance = read_binary(answer, int(said[HEADER]))
    for k in range(2):
        assert close((logits[k : k + 1], relevance[k : k + 1]), expected[k])


def test_wanted_outputs_only(server, samples):
    x, target, expected = samples
    body = tensors(x[:1], target[:1]) | {"outputs": [{"name": "logits"}]}
    _, answer = server.infer(body)
    assert [output["name"] for output in answer["outputs"]] == ["logits"]
    assert close([np.array([answer["outputs"][0]["data"]])], expected[0][:1])


def changed(body, index, **entries):
    inputs = [dict(entry) for entry in body["inputs"]]
    inputs[index].update(entries)
    return {**body, "inputs": inputs}


ONE = tensors(np.zeros((1, 3, 64, 64), np.float32), np.array([2]))
SMALL = {"data": [0.0] * 12, "shape": [1, 3, 2, 2]}
DEEP = b'{"inputs":' + b"[" * 100_000 + b"]" * 100_000 + b"}"

BAD = {
    "no json": (b"{", "is not JSON"),
    "not text": (b"\xff\xfe\x00", "is not JSON"),
    "a list": (b"[]", "must be a JSON object"),
    "nested deeply": (DEEP, "nested too deeply"),
    "no inputs": ({}, "inputs must be a JSON list"),
    "an input is missing": ({"inputs": ONE["inputs"][1:]}, "input 'image' is missing"),
    "no target": ({"inputs": ONE["inputs"][:1]}, "takes a target"),
    "unknown input": (changed(ONE, 0, name="pixels"), "has no input 'pixels'"),
    "twice": ({"inputs": [*ONE["inputs"], ONE["inputs"][1]]}, "is given twice"),
    "unknown output": (ONE | {"outputs": [{"name": "y"}]}, "has no output 'y'"),
    "other type": (changed(ONE, 0, datatype="FP64"), "has datatype FP32"),
    "wrong shape": (changed(ONE, 0, **SMALL), r"\[N, 3, 64, 64\]"),
    "too few values": (changed(ONE, 0, data=[1.0]), "comes with 1 values"),
    "ragged": (changed(ONE, 0, data=[[1.0], [1.0, 2.0]]), "unequal length"),
    "huge shape": (changed(ONE, 0, shape=[2**39, 2**39]), "comes with"),
    "negative shape": (changed(ONE, 0, shape=[-1, 3, 64, 64]), "needs a shape"),
    "nan": (json.dumps(changed(ONE, 0, data=[float("nan")] * 12288)).encode(), "NaN is not JSON"),
    "infinite": (json.dumps(ONE).replace("0.0", "1e999", 1).encode(), "not finite"),
    "too large for float32": (changed(ONE, 0, data=[1e300] * 12288), "expects"),
    "text": (changed(ONE, 0, data=["x"] * 12288), "must be numbers"),
    "objects": (changed(ONE, 0, data=[{}] * 12288), "must be numbers"),
    "target out of range": (changed(ONE, 1, data=[6]), "out of range"),
    "huge target": (changed(ONE, 1, data=[10**30]), "must be numbers"),
    "half a target": (changed(ONE, 1, data=[0.5]), "expects"),
    "a flag that is none": (ONE | {"parameters": {"binary_data_output": 1}}, "true or false"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_request_is_told_why_and_the_server_lives_on(server, samples, case):
    body, reason = BAD[case]
    status, answer = server.infer(body)
    assert status == 400, answer
    assert answer.keys() == {"error"}
    assert len(answer["error"]) < 500
    assert re.search(reason, answer["error"]), answer
    lives(server, samples)


def test_broken_binary_requests(server, samples):
    x, target, _ = samples
    content, headers = binary(x[:1], target[:1])
    x[0, 0, 0, 0], kept = np.nan, x[0, 0, 0, 0].copy()
    holes, _ = binary(x[:1], target[:1])
    x[0, 0, 0, 0] = kept
    cases = [
        (content[:-4], headers, "binary_data_size"),
        (content + b"1234", headers, "4 bytes are left"),
        (content, {HEADER: "9" * 12}, "must be a length"),
        (content, {HEADER: "-1"}, "must be a length"),
        (content, {HEADER: "x"}, "must be a length"),
        (holes, headers, "not finite"),
    ]
    for body, said, reason in cases:
        status, answer = server.infer(body, said)
        assert (status, reason in answer["error"]) == (400, True), answer
    lives(server, samples)


def test_too_large_bodies(server, samples):
    for size in (2_000_001, 7_999_999):
        status, answer = server.infer(b"x" * size)
        assert (status, answer["error"]) == (413, "the body has more than 2000000 bytes")
    lives(server, samples)


def test_huge_bodies_are_not_read_to_their_end(server, samples):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(head("Content-Length: 1000000000000"))
        assert b" 413 " in line.recv(200)
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(head("Transfer-Encoding: chunked"))
        for _ in range(16):
            line.sendall(b"7a120\r\n" + b"x" * 500_000 + b"\r\n")
        line.sendall(b"1\r\nx\r\n")
        assert b" 413 " in line.recv(200)
    lives(server, samples)


def test_what_is_no_http(server, samples):
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as line:
        line.sendall(b"\x16\x03\x01garbage\r\n\r\n")
        assert b" 400 " in line.recv(200)
    with socket.create_connection(("127.0.0.1", server.port)) as line:
        line.sendall(head("Content-Length: 1000") + b"half")  # and goes away
    lives(server, samples)


def test_other_refusals(server):
    assert server.ask("/v2", headers={"Host": "evil.example"})[0] == 400
    assert server.ask(INFER, b"{}", {"Content-Encoding": "gzip"})[0] == 415
    assert server.ask("/nothing")[0] == 404
    assert server.ask(INFER)[0] == 405
    assert server.ask("/v2/models/other/infer", b"{}")[0] == 404
    assert server.ask("/../../etc/passwd")[0] == 404


def picture(answer, name):
    with urllib.request.urlopen(answer[name]) as content:  # a data: address
        return Image.open(BytesIO(content.read())).convert("RGB")


@pytest.mark.parametrize(("query", "target"), [("", 5), ("?target=1", 1), ("?target=-1", 5)])
def test_page_explains_a_picture(server, graph, query, target):
    status, content, _ = server.ask(f"/explain{query}", STAR.read_bytes())
    answer = json.loads(content)
    assert (status, answer["target"]) == (200, [target])
    assert answer["top"][0]["label"] == "star"
    shown = np.asarray(picture(answer, "picture"), np.float32)
    x = (shown / 255).transpose(2, 0, 1)[None]
    session = ort.InferenceSession(graph, providers=["CPUExecutionProvider"])
    logits, relevance = session.run(None, {"image": x, "target": np.array([target])})
    assert abs(answer["score"] - logits[0, target]) <= TOLERANCE * np.abs(logits).max()
    heat, _ = normalise(relevance[0].astype(np.float64).sum(axis=0), 99.5)
    drawn = np.asarray(picture(answer, "heatmap"), np.int64)
    assert np.abs(drawn - colorize(heat).astype(np.int64)).max() <= 3  # one step of the colours
    assert drawn.std() > 10


def test_page_as_one_png(server):
    status, content, said = server.ask("/explain.png", STAR.read_bytes())
    assert (status, said["Content-Type"]) == (200, "image/png")
    assert Image.open(BytesIO(content)).width > 600


def bomb():
    """A PNG of 50,000 x 50,000 pixels in a few bytes."""
    content = BytesIO()
    Image.new("1", (50_000, 4)).save(content, "PNG")
    return content.getvalue().replace((4).to_bytes(4), (50_000).to_bytes(4), 1)


def large():
    content = BytesIO()
    Image.new("RGB", (400, 400)).save(content, "PNG")
    return content.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot read the picture"),
        (b"GIF89a", "not a png, jpg or webp file"),
        (STAR.read_bytes()[:5000], "cannot read the picture"),
        (bomb(), "cannot read the picture|pixels"),
        (large(), "160000|400 x 400 pixels, more than 100000"),
    ],
)
def test_bad_pictures(server, content, reason):
    status, answer, _ = server.ask("/explain", content)
    assert status == 400
    assert re.search(reason, json.loads(answer)["error"])
    assert server.ask("/explain", STAR.read_bytes())[0] == 200


@pytest.mark.parametrize("target", ["6", "x", "1,2", "9" * 30])
def test_bad_classes(server, target):
    status, answer, _ = server.ask(f"/explain?target={target}", STAR.read_bytes())
    assert (status, "target" in json.loads(answer)["error"]) == (400, True)


def test_page_and_metrics(server):
    status, content, said = server.ask("/")
    assert (status, said["Content-Security-Policy"][:18]) == (200, "default-src 'self'")
    assert b'src="page.js"' in content
    assert server.ask("/page.js")[0] == server.ask("/style.css")[0] == 200
    before = server.value('onnxlrp_requests_total{route="infer",status="400"}')
    server.infer(b"{")
    assert server.value('onnxlrp_requests_total{route="infer",status="400"}') == before + 1


def test_sixteen_clients(server, samples):
    x, target, expected = samples
    bodies = [binary(x[k : k + 1], target[k : k + 1]) for k in range(CLIENTS)]
    runs, seen = server.value("onnxlrp_run_samples_count"), server.value("onnxlrp_run_samples_sum")

    def make():
        def ask(turn):
            k = turn % CLIENTS
            status, answer, said = server.ask(INFER, *bodies[k])
            if status != 200:
                return f"{status}: {answer[:100]}"
            right = close(read_binary(answer, int(said[HEADER])), expected[k])
            return "right" if right else "wrong"

        return ask

    found = hammer(make, CLIENTS, SECONDS)
    runs = server.value("onnxlrp_run_samples_count") - runs
    seen = server.value("onnxlrp_run_samples_sum") - seen
    text = f"\n{CLIENTS} clients, {SECONDS:g} s: {found}, {seen / runs:.1f} samples per run"
    print(text)  # noqa: T201 - latencies are for people, no test asserts a time
    assert not found["wrong"]
    assert found["answers"] >= CLIENTS
    assert seen / runs > 1  # what came during a run shared the next one


def test_a_model_is_compiled_first_and_the_port_may_be_taken(server):
    words = ["serve", "http", str(MODEL), "--port", str(server.port)]
    command = [sys.executable, "-m", "onnxlrp.cli", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: cannot listen on 127.0.0.1 port {server.port}")
