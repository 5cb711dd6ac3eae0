"""Headless Chromium, opened and ended; ONNX Runtime Web for its pages, fetched by npm."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from onnxlrp.serve.web.runtime import VERSION, WASM

__all__ = ["NO_GPU", "SOFTWARE_GPU", "MissingError", "find", "opened", "web_runtime"]

NAMES: Final = ("chromium", "chromium-browser", "google-chrome")
FLAGS: Final = (
    "--headless=new",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--mute-audio",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing but our own server
)
"""`--no-sandbox`: in containers Chromium cannot start otherwise; it only loads our own pages."""

NO_GPU: Final = ("--disable-gpu",)
SOFTWARE_GPU: Final = (
    "--enable-unsafe-webgpu",
    "--use-webgpu-adapter=swiftshader",
    "--enable-features=Vulkan",
)
SECONDS: Final = 300
"""How long an installation may take."""


class MissingError(Exception):
    """There is no browser, or no ONNX Runtime Web; the text is one line that says why."""


def find() -> str:
    """Return the path of Chromium.

    Raises:
        MissingError: None is installed.
    """
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    if found is None:
        raise MissingError("Chromium is not installed")
    return found


def web_runtime() -> Path:
    """Return the folder of ONNX Runtime Web's files, which npm fetches once.

    It is the one that `ONNXLRP_ORT_WEB` names, or `build/servers/ort-web-VERSION`.

    Raises:
        MissingError: It cannot be fetched in time.
    """
    default = Path(__file__).resolve().parents[1] / "build" / "servers" / f"ort-web-{VERSION}"
    folder = Path(os.environ.get("ONNXLRP_ORT_WEB", default))
    files = folder / "node_modules" / "onnxruntime-web" / "dist"
    if not (files / WASM[0]).is_file():
        _install(folder)
    return files


def _install(folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise MissingError("npm is not installed, and ONNXLRP_ORT_WEB names no folder")
    folder.mkdir(parents=True, exist_ok=True)
    words = ("install", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder))
    command = [npm, *words, f"onnxruntime-web@{VERSION}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
    except subprocess.TimeoutExpired as error:
        raise MissingError("ONNX Runtime Web: the installation takes too long") from error
    if done.returncode:
        said = " ".join(done.stderr.split())[-200:]
        raise MissingError(f"ONNX Runtime Web cannot be installed: {said}")


@contextmanager
def opened(address: str, profile: Path, *flags: str) -> Iterator[None]:
    """Open an address in a browser of its own, which is ended behind the block.

    Args:
        address: Of the page.
        profile: Folder of the browser's own files; its log lies beside it, `chromium.log`.
        flags: `NO_GPU` (where none is given) or `SOFTWARE_GPU`.
    """
    command = [find(), *FLAGS, *(flags or NO_GPU), f"--user-data-dir={profile}", address]
    with (profile.parent / "chromium.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its own group: the browser and its helpers
        process.wait()
