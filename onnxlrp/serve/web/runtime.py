"""The files of ONNX Runtime Web that a page needs: from a folder, or fetched by npm."""

import base64
import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from onnxlrp.errors import DataError

VERSION: Final = "1.30.0"

PACKAGE: Final = f"onnxruntime-web@{VERSION}"
SHA512: Final = (
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
)

WASM: Final = (
    "ort.wasm.min.js",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
WEBGPU: Final = (
    "ort.webgpu.min.js",
    "ort-wasm-simd-threaded.asyncify.mjs",
    "ort-wasm-simd-threaded.asyncify.wasm",
)

_TIMEOUT: Final = 300.0
_MOST_BYTES: Final = 64 * 2**20


def from_folder(folder: str | os.PathLike[str], *, webgpu: bool) -> dict[str, bytes]:
    """Return the files by name, from the npm package or its folder `dist`.

    Raises:
        DataError: A file is not there.
    """
    root = Path(folder)
    package = Path("node_modules") / "onnxruntime-web" / "dist"
    places = (root, root / "dist", root / package.relative_to("node_modules"), root / package)
    found = next((place for place in places if (place / WASM[0]).is_file()), None)
    if found is None:
        raise DataError(
            f"'{root}' has no {WASM[0]}: name the folder of the npm package onnxruntime-web "
            f"{VERSION} (npm install onnxruntime-web@{VERSION})"
        )
    return {name: _read(found / name) for name in wanted(webgpu=webgpu)}


def wanted(*, webgpu: bool) -> tuple[str, ...]:
    """Return the names of the files."""
    return WASM + WEBGPU if webgpu else WASM


def download(*, webgpu: bool, package: str = PACKAGE, sha512: str = SHA512) -> dict[str, bytes]:
    """Return the files by name, from the package that npm fetches, whose checksum is known.

    Raises:
        DataError: It cannot be had, or is not what it should be.
    """
    with tempfile.TemporaryDirectory() as folder:
        content = _fetch(package, Path(folder))
    if base64.b64encode(hashlib.sha512(content).digest()).decode() != sha512:
        raise DataError(f"what npm fetched does not have the checksum of {PACKAGE}")
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:gz") as archive:
        return {name: _member(archive, name) for name in wanted(webgpu=webgpu)}


def _fetch(package: str, folder: Path) -> bytes:
    npm = shutil.which("npm")
    if npm is None:
        raise DataError("--download needs npm, which comes with Node.js; or use --runtime FOLDER")
    words = ("pack", "--silent", "--ignore-scripts", "--pack-destination", str(folder), package)
    try:
        subprocess.run([npm, *words], check=True, capture_output=True, timeout=_TIMEOUT)
        return next(folder.glob("*.tgz")).read_bytes()
    except (OSError, subprocess.SubprocessError, StopIteration) as error:
        raise DataError(f"npm cannot fetch {package}; use --runtime FOLDER") from error


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    try:
        file = archive.extractfile(f"package/dist/{name}")
    except KeyError:
        file = None
    if file is None:
        raise DataError(f"the npm package has no file dist/{name}")
    return file.read(_MOST_BYTES)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read '{path}': {error.strerror}") from error
