"""Starts NVIDIA Triton Inference Server from the wheel `nvidia-pytriton`, without a container.

    python tools/triton_server.py REPO [--http 8000] [--grpc 8001] [--metrics 8002]

The server listens on 127.0.0.1 and ends with this program. The wheel has the Python backend only:
the repository must be one written with `--backend python`. Where `TRITON_ONNXRUNTIME` names a
folder with `libtriton_onnxruntime.so` and its `libonnxruntime.so.1`, it has that backend too.
"""

import argparse
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

if __package__ in (None, ""):
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tools.server_env import MissingError, python_of

HOST: Final = "127.0.0.1"
ONNXRUNTIME: Final = "TRITON_ONNXRUNTIME"
_PORTS: Final = ("http", "grpc", "metrics")

_FACTS: Final = (
    "import sys, sysconfig; print(sysconfig.get_config_var('LIBDIR')); "
    "print(sysconfig.get_path('purelib')); print('%d.%d' % sys.version_info[:2])"
)


class StartError(Exception):
    """The server does not become ready; the text holds what it said."""


@dataclass(frozen=True, kw_only=True)
class Triton:
    """A running server.

    Attributes:
        pid: Its process.
        ports: `http`, `grpc`, `metrics`.
        log: What it printed.
    """

    pid: int
    ports: Mapping[str, int]
    log: Path

    def url(self, path: str) -> str:
        """Return the address of a path over HTTP."""
        return f"http://{HOST}:{self.ports['http']}{path}"

    def rss(self) -> float:
        """Return the resident memory of the server and its backends in MiB."""
        return sum(map(_rss, [self.pid, *_children(self.pid)]))


@contextlib.contextmanager
def triton(
    repository: Path, ports: Mapping[str, int] | None = None, wait: float = 60.0
) -> Iterator[Triton]:
    """Run a server until the block ends.

    Raises:
        MissingError: Its environment cannot be made.
        StartError: It does not become ready.
    """
    python = python_of("triton")
    ports = ports or dict(zip(_PORTS, free_ports(3), strict=True))
    with tempfile.TemporaryDirectory(prefix="triton-") as folder:
        libraries, packages, version = _facts(python)
        home = packages / "pytriton" / "tritonserver"
        backends = _backends(home, version, Path(folder))
        command = [
            str(home / "bin" / "tritonserver"),
            f"--model-repository={repository}",
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={Path(folder).name}",
            *(f"--{kind}-address={HOST}" for kind in ("http", "grpc")),
            *(f"--{kind}-port={ports[kind]}" for kind in _PORTS),
        ]
        # The Python that runs must come before others: the backend loads its library.
        environment = {
            "PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}",
            "LD_LIBRARY_PATH": f"{libraries}{os.pathsep}{packages / 'nvidia_pytriton.libs'}",
            "HOME": folder,
        }
        log = Path(folder) / "log.txt"
        with log.open("wb") as file, _process(command, environment, file) as process:
            server = Triton(pid=process.pid, ports=ports, log=log)
            _await(server, process, wait)
            yield server


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in sockets]


def _facts(python: Path) -> tuple[Path, Path, str]:
    """Folder of libpython, folder of packages and version of a Python."""
    said = subprocess.run([python, "-c", _FACTS], capture_output=True, text=True, check=True)
    libraries, packages, version = said.stdout.split("\n")[:3]
    return Path(libraries), Path(packages), version


def _backends(home: Path, version: str, folder: Path) -> Path:
    stub = home / "python_backend_stubs" / version / "triton_python_backend_stub"
    if not stub.exists():
        raise MissingError(f"nvidia-pytriton has no Python backend for Python {version}")
    shutil.copytree(home / "backends", folder / "backends")
    shutil.copy(stub, folder / "backends" / "python")
    if ONNXRUNTIME in os.environ:
        shutil.copytree(os.environ[ONNXRUNTIME], folder / "backends" / "onnxruntime")
    return folder / "backends"


@contextlib.contextmanager
def _process(
    command: list[str], environment: dict[str, str], log: IO[bytes]
) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=40)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _await(server: Triton, process: subprocess.Popen[bytes], wait: float) -> None:
    end = time.monotonic() + wait
    while time.monotonic() < end and process.poll() is None:
        if _ready(server):
            return
        time.sleep(0.1)
    said = [line for line in server.log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in said if line.startswith("E") and "Cuda" not in line]
    errors += [line for line in said if "| UNAVAILABLE" in line] or said[-1:]
    state = "ended" if process.poll() is not None else f"is not ready after {wait:.0f} s"
    raise StartError(f"tritonserver {state}: " + " ".join(" ".join(errors).split())[:2000])


def _ready(server: Triton) -> bool:
    try:
        with urllib.request.urlopen(server.url("/v2/health/ready"), timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _children(pid: int) -> list[int]:
    path = Path(f"/proc/{pid}/task/{pid}/children")
    found = [int(each) for each in path.read_text().split()] if path.exists() else []
    return [*found, *(below for child in found for below in _children(child))]


def _rss(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def main() -> int:
    """Run a server until it is interrupted."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("repository", metavar="REPO", type=Path)
    for number, kind in enumerate(_PORTS):
        parser.add_argument(f"--{kind}", metavar="PORT", type=int, default=8000 + number)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with triton(options.repository, {kind: getattr(options, kind) for kind in _PORTS}) as run:
            print(f"ready on {run.url('')}, gRPC on {HOST}:{run.ports['grpc']}", flush=True)
            signal.pause()
    except (MissingError, StartError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0


if __name__ == "__main__":
    sys.exit(main())
