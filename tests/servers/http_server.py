"""Starts `onnxlrp serve http` as a process of its own and asks it over sockets."""

import functools
import json
import subprocess
import sys
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

import onnxlrp

for _package in ("starlette", "uvicorn", "prometheus_client"):
    pytest.importorskip(_package, reason="the extra `serve` is not installed")

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models" / "shapes_resnet.onnx"

CLIENTS = 16
INFER = "/v2/models/shapes/infer"
HEADER = "Inference-Header-Content-Length"

# The same graph in other batches: float32 sums in another order.
TOLERANCE = 1e-5


@dataclass
class Server:
    process: subprocess.Popen
    port: int

    def ask(self, path, body=None, headers=None):
        """Status and body of one request."""
        address = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(address, body, headers or {})
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read(), error.headers

    def infer(self, body, headers=None):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, answer, said = self.ask(INFER, content, headers)
        return status, answer if HEADER in said else json.loads(answer)

    def value(self, name):
        """A number of /metrics."""
        lines = self.ask("/metrics")[1].decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


@contextmanager
def running(graph, *arguments):
    words = ["serve", "http", str(graph), "--port", "0", "--name", "shapes", *arguments]
    command = [sys.executable, "-m", "onnxlrp.cli", *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if "http://" in line:
                port = int(line.split("http://", maxsplit=1)[1].split("/")[0].rsplit(":", 1)[1])
                break
        else:
            raise AssertionError("the server did not start")
        yield Server(process, port)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def tensors(x, target):
    image = {"name": "image", "datatype": "FP32", "shape": list(x.shape)}
    chosen = {"name": "target", "datatype": "INT64", "shape": [len(target)]}
    return {
        "inputs": [
            {**image, "data": x.reshape(-1).tolist()},
            {**chosen, "data": target.tolist()},
        ]
    }


def binary(x, target):
    entries, raw = tensors(x, target), b""
    for entry, array in zip(entries["inputs"], (x, target), strict=True):
        del entry["data"]
        part = array.astype({"f": "<f4", "i": "<i8"}[array.dtype.kind]).tobytes()
        entry["parameters"] = {"binary_data_size": len(part)}
        raw += part
    entries["parameters"] = {"binary_data_output": True}
    text = json.dumps(entries).encode()
    return text + raw, {HEADER: str(len(text))}


def read_binary(content, length):
    answer, at = json.loads(content[:length]), length
    found = []
    for output in answer["outputs"]:
        size = output["parameters"]["binary_data_size"]
        part = np.frombuffer(content[at : at + size], "<f4").reshape(output["shape"])
        found.append(part)
        at += size
    assert at == len(content)
    return found


def close(found, expected):
    pairs = zip(found, expected, strict=True)
    return all(np.abs(a - b).max() <= TOLERANCE * np.abs(b).max() for a, b in pairs)


def lives(server, samples):
    x, target, expected = samples
    content, headers = binary(x[:1], target[:1])
    status, answer, said = server.ask(INFER, content, headers)
    assert status == 200
    assert close(read_binary(answer, int(said[HEADER])), expected[0])


def head(*lines):
    return "\r\n".join([f"POST {INFER} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


@functools.cache
def compiled():
    return onnxlrp.compile(MODEL, target="input").to_bytes()


@functools.cache
def sixteen():
    """Sixteen samples, a class for each, and what a plain session gives for each alone."""
    rng = np.random.default_rng(3)
    x = rng.random((CLIENTS, 3, 64, 64), np.float32)
    target = rng.integers(0, 6, CLIENTS)
    session = ort.InferenceSession(compiled(), providers=["CPUExecutionProvider"])
    expected = [
        session.run(None, {"image": x[k : k + 1], "target": target[k : k + 1]})
        for k in range(CLIENTS)
    ]
    return x, target, expected
