"""The client programs of the docs, as their users run them."""

import re
import shutil
import subprocess
import sys
import urllib.request

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

import onnxlrp
from onnxlrp.serve.web.runtime import from_folder
from tests.servers.browser import needs_chromium, visit, web_runtime
from tests.servers.http_server import MODEL, ROOT, TOLERANCE, close, compiled, running, sixteen

CLIENTS = ROOT / "docs" / "clients"
STAR = ROOT / "models" / "pictures" / "shapes_star.png"

FRAME = """<!doctype html><iframe src="browser.html"></iframe><script src="wait.js"></script>"""
WAIT = """
const frame = document.querySelector("iframe");
const timer = setInterval(() => {
  const text = frame.contentDocument?.getElementById("said")?.textContent ?? "running ...";
  if (text === "running ...") return;
  clearInterval(timer);
  fetch("result", { method: "POST", body: JSON.stringify(text) });
}, 50);
"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    path = tmp_path_factory.mktemp("clients") / "shapes.lrp.onnx"
    path.write_bytes(compiled())
    labels = str(ROOT / "models" / "shapes_labels.txt")
    with running(path, "--preprocess", "unit", "--labels", labels) as server:
        yield f"http://127.0.0.1:{server.port}"


def test_python(address, tmp_path):
    x, target, expected = sixteen()
    np.save(tmp_path / "x.npy", x[:1])
    words = [str(CLIENTS / "http_client.py"), address, "shapes", "x.npy", f"--target={target[0]}"]
    subprocess.run([sys.executable, *words], cwd=tmp_path, check=True, timeout=60)
    with np.load(tmp_path / "relevance.npz") as found:
        assert close((found["logits"], found["relevance|image"]), expected[0])


def node():
    path = shutil.which("node")
    if path is None:
        pytest.skip("Node is not installed")
    return path


def test_javascript_with_a_picture(address, tmp_path):
    words = [node(), str(CLIENTS / "http_client.mjs"), address, str(STAR), "1"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert re.search(r"%  star\n", done.stdout)
    assert "wrote heatmap.png for square" in done.stdout
    assert Image.open(tmp_path / "heatmap.png").size == (64, 64)


def test_javascript_with_numbers(address, tmp_path):
    x, target, expected = sixteen()
    x[:1].tofile(tmp_path / "x.bin")
    (tmp_path / "own.mjs").write_text(f"""
import {{ readFileSync, writeFileSync }} from "node:fs";
import {{ infer }} from "{(CLIENTS / "http_client.mjs").as_uri()}";
const data = new Float32Array(new Uint8Array(readFileSync("x.bin")).buffer);
const found = await infer("{address}", "shapes", {{
  image: {{ datatype: "FP32", shape: [1, 3, 64, 64], data }},
  target: {{ datatype: "INT64", shape: [1], data: BigInt64Array.of({target[0]}n) }},
}});
writeFileSync("logits.bin", found.logits.data);
writeFileSync("relevance.bin", found["relevance/image"].data);
""")
    subprocess.run([node(), "own.mjs"], cwd=tmp_path, check=True, timeout=60)
    found = [np.fromfile(tmp_path / name, np.float32) for name in ("logits.bin", "relevance.bin")]
    assert close(found, [array.reshape(-1) for array in expected[0]])


@pytest.mark.slow
def test_browser_without_anything_of_ours(tmp_path):
    needs_chromium()
    folder = tmp_path / "site"
    (folder / "ort").mkdir(parents=True)
    for name, content in from_folder(web_runtime(), webgpu=False).items():
        (folder / "ort" / name).write_bytes(content)
    shutil.copy(CLIENTS / "browser.html", folder)
    onnxlrp.compile(MODEL, composite="auto:maxpool=mask").save(folder / "model.onnx")
    (folder / "frame.html").write_text(FRAME)
    (folder / "wait.js").write_text(WAIT)
    said = visit(folder, "frame.html", tmp_path / "profile")
    data = (np.arange(3 * 64 * 64, dtype=np.float64) % 251 / 251).astype(np.float32)
    session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    arrays = session.run(names, {"image": data.reshape(1, 3, 64, 64)})
    lines = said.splitlines()
    assert len(lines) == len(names), said
    for line, name, array in zip(lines, names, arrays, strict=True):
        assert line.startswith(f"{name} [{','.join(map(str, array.shape))}] sum ")
        size = np.abs(array).sum()
        assert abs(float(line.split()[-1]) - float(array.sum(dtype=np.float64))) <= TOLERANCE * size


@pytest.mark.slow
def test_page_in_a_browser(address, tmp_path):
    needs_chromium()
    folder = tmp_path / "site"
    folder.mkdir()
    for name in ("", "page.js", "style.css", "about"):
        with urllib.request.urlopen(f"{address}/{name}") as answer:
            (folder / (name or "index.html")).write_bytes(answer.read())
    shutil.copy(STAR, folder / "dropped.png")
    shutil.copy(ROOT / "tests" / "servers" / "drive_http.js", folder / "drive.js")
    (folder / "drive.html").write_text("<body><script src='drive.js'></script>")
    found = visit(folder, "drive.html", tmp_path / "profile", backend=address)
    assert "error" not in found, found
    assert found["about"].startswith("composite auto")
    first, second = found["first"], found["second"]
    assert (first["rows"][0], first["chosen"]) == ("star", "star")
    assert second["chosen"] == first["rows"][1]
    assert first["size"] == second["size"] == [64, 64]
