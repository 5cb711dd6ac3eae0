"""Opens pages in headless Chromium; a page sends its result back to the server it came from."""

import functools
import http.server
import json
import queue
import threading
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

from tools import browser

LIMIT = 120.0


def needs_chromium():
    try:
        browser.find()
    except browser.MissingError as error:
        pytest.skip(f"SKIPPED: {error}")


def web_runtime() -> Path:
    """The folder of ONNX Runtime Web; the test is skipped where it cannot be had."""
    try:
        return browser.web_runtime()
    except browser.MissingError as error:
        pytest.skip(f"SKIPPED: {error}")


class _Handler(http.server.SimpleHTTPRequestHandler):
    extensions_map = {  # noqa: RUF012
        **http.server.SimpleHTTPRequestHandler.extensions_map,
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self):
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        super().end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path != "/result":
            return self.pass_on(body)
        self.server.results.put(json.loads(body))
        self.send_response(204)
        self.end_headers()
        return None

    def pass_on(self, body):
        with urllib.request.urlopen(self.server.backend + self.path, body) as answer:
            self.send_response(answer.status)
            self.end_headers()
            self.wfile.write(answer.read())

    def log_message(self, *args):
        pass


@contextmanager
def site(folder: Path, backend=""):
    """Serve a folder; yields its address and the queue of what pages post to /result.

    Other posts go to the backend.
    """
    handler = functools.partial(_Handler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.results, server.backend = queue.Queue(), backend
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/", server.results
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def visit(folder: Path, page: str, profile: Path, *flags: str, backend=""):
    """Open a page of a folder and return what it posts."""
    with site(folder, backend) as (home, results), browser.opened(home + page, profile, *flags):
        try:
            return results.get(timeout=LIMIT)
        except queue.Empty:
            log = (profile.parent / "chromium.log").read_text()[-2000:]
            raise AssertionError(f"the page said nothing in {LIMIT:g} s: {log}") from None
