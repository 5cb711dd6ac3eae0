"""Runs the models of a folder in headless Chromium with ONNX Runtime Web.

`python tools/ort_web.py FOLDER [--provider wasm|webgpu]`: FOLDER is one of `runtime_folder`. The
page is served on the loopback address and posts its results back; no driver is needed.
"""

import argparse
import base64
import json
import sys
import tempfile
import threading
from functools import partial
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tools import browser
from tools import runtime_folder as files

__all__ = ["run"]

KINDS = {".html": "text/html", ".js": "text/javascript", ".mjs": "text/javascript"}
KINDS[".wasm"] = "application/wasm"
SCRIPTS = {"wasm": "ort.wasm.min.js", "webgpu": "ort.webgpu.min.js"}
MOST = 2**30

PAGE = """<!doctype html><meta charset="utf-8"><title>onnxlrp</title>
<script src="/dist/SCRIPT"></script><script>
const types = {float32: Float32Array, float64: Float64Array, uint8: Uint8Array, int8: Int8Array,
  int32: Int32Array, int64: BigInt64Array, bool: Uint8Array, uint16: Uint16Array,
  int16: Int16Array, uint32: Uint32Array, uint64: BigUint64Array};
const raw = async (file) => new Uint8Array(await (await fetch('/models/' + file)).arrayBuffer());
const text = (bytes) => { let s = '';
  for (let i = 0; i < bytes.length; i += 4096)
    s += String.fromCharCode(...bytes.subarray(i, i + 4096));
  return btoa(s); };
const post = (index, body) =>
  fetch('/result/' + index, {method: 'POST', body: JSON.stringify(body)});
async function one(entry) {
  const session = await ort.InferenceSession.create(await raw(entry.model),
    {executionProviders: ['PROVIDER'], logSeverityLevel: 4});
  const feeds = {};
  for (const x of entry.inputs) {
    const bytes = await raw(x.file);
    feeds[x.name] = new ort.Tensor(x.dtype, new types[x.dtype](bytes.buffer), x.shape);
  }
  const found = await session.run(feeds);
  const outputs = [];
  for (const name of entry.outputs) {
    const y = found[name], data = await y.getData();
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    outputs.push({name, dtype: y.type, shape: y.dims, data: text(bytes)});
  }
  await session.release();
  return {outputs};
}
(async () => {
  ort.env.wasm.wasmPaths = '/dist/';
  ort.env.wasm.numThreads = 1;
  ort.env.logLevel = 'fatal';
  const list = await (await fetch('/models/models.json')).json();
  for (let i = 0; i < list.length; i++) {
    try { await post(i, await one(list[i])); }
    catch (error) { await post(i, {error: String(error && error.message || error)}); }
  }
  await post('done', {});
})().catch((error) => post('done', {error: String(error)}));
</script>"""


class _Handler(BaseHTTPRequestHandler):
    """Serves the page, the library and the models; stores what the page posts."""

    def __init__(self, roots: dict[str, Path], page: str, done: threading.Event, *args: object):
        self.roots, self.page, self.done = roots, page, done
        super().__init__(*args)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        """Answer with the page or a file of the two folders."""
        if self.path == "/":
            self._answer(self.page.encode(), ".html")
            return
        root, _, name = self.path.lstrip("/").partition("/")
        path = self.roots.get(root, Path("/nowhere")) / Path(name).name
        if path.is_file():
            self._answer(path.read_bytes(), path.suffix)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Store the outputs of a model, or its error."""
        length = int(self.headers["Content-Length"])
        said = json.loads(self.rfile.read(min(length, MOST)))
        index = self.path.rpartition("/")[2]
        if index == "done":
            self._answer(b"", ".html")
            self.done.set()
            return
        outcome: files.Outcome = str(said.get("error"))
        if "outputs" in said:
            outcome = {item["name"]: _array(item) for item in said["outputs"]}
        files.record(self.roots["models"], int(index), outcome)
        self._answer(b"", ".html")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self, body: bytes, suffix: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", KINDS.get(suffix, "application/octet-stream"))
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.end_headers()
        self.wfile.write(body)


def _array(item: dict[str, object]) -> "np.ndarray[tuple[int, ...], np.dtype[np.generic]]":
    data = base64.b64decode(str(item["data"]))
    shape: list[int] = item["shape"]  # type: ignore[assignment]
    return np.frombuffer(data, str(item["dtype"])).reshape(shape)


def run(
    folder: Path, dist: Path, provider: str = "wasm", seconds: float = 300
) -> dict[str, files.Outcome]:
    """Run all models of a folder in the browser and return what came out, by name.

    Args:
        folder: A folder as `runtime_folder.write` makes it.
        dist: The files of ONNX Runtime Web.
        provider: `wasm` or `webgpu` (on the CPU, by SwiftShader).
        seconds: After so long the browser is ended; what it had found is returned.

    Raises:
        MissingError: There is no Chromium.
    """
    page = PAGE.replace("SCRIPT", SCRIPTS[provider]).replace("PROVIDER", provider)
    done, roots = threading.Event(), {"models": folder, "dist": dist}
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, roots, page, done))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}/"
    flags = browser.SOFTWARE_GPU if provider == "webgpu" else browser.NO_GPU
    try:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as temporary,
            browser.opened(url, Path(temporary) / "profile", *flags),
        ):
            done.wait(seconds)
    finally:
        server.shutdown()
        server.server_close()
    return files.results(folder)


def main() -> None:
    """Run a folder and print one line per model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--provider", choices=sorted(SCRIPTS), default="wasm")
    options = parser.parse_args()
    found = run(options.folder, browser.web_runtime(), options.provider)
    for name, outcome in found.items():
        print(f"{name}: {outcome if isinstance(outcome, str) else ', '.join(outcome)}")


if __name__ == "__main__":
    main()
