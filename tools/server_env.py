"""Makes the virtual environment of a server, where there is none, and prints its Python.

    python tools/server_env.py triton

Each server, and pip-audit, has an environment of its own, as some pin what others need newer. It is
made once, in `build/servers` or the folder that `ONNXLRP_SERVERS` names, and made anew when its
requirements change. Where it cannot be made within five minutes, or `ONNXLRP_SKIP_SERVERS` names
it, the status is 1 and one line says why.
"""

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

LIMIT: Final = 300.0
"""Seconds that an installation may take."""

REQUIREMENTS: Final[dict[str, tuple[str, ...]]] = {
    "triton": (
        "nvidia-pytriton==0.7.0",
        "tritonclient[http,grpc]==2.73.0",
        "onnxruntime==1.31.1",
        "pillow>=10.3",
    ),
    "kserve": ("kserve==0.21.0", "onnxruntime==1.31.1", "pillow>=10.3"),
    "batch": (
        "ray[data]==2.60.0",
        "pyarrow>=17",
        "onnxruntime==1.31.1",
        "onnx>=1.19",
        "networkx>=3.2",
        "pillow>=10.3",
    ),
    "pip-audit": ("pip-audit>=2.7",),
}


class MissingError(Exception):
    """The environment cannot be made; the text is one line that says why."""


def python_of(name: str, limit: float = LIMIT) -> Path:
    """Return the Python of a server's environment, which is made where there is none.

    Raises:
        MissingError: It cannot be made in time, or is left out.
    """
    if name not in REQUIREMENTS:
        raise MissingError(f"unknown server '{name}'; known: {', '.join(REQUIREMENTS)}")
    if name in os.environ.get("ONNXLRP_SKIP_SERVERS", "").split():
        raise MissingError(f"ONNXLRP_SKIP_SERVERS leaves out '{name}'")
    folder = root() / name
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.with_suffix(".lock")):
        wanted, made = "\n".join(REQUIREMENTS[name]), folder / "made.txt"
        if not made.exists() or made.read_text() != wanted:
            _make(folder, REQUIREMENTS[name], limit)
            made.write_text(wanted)
    return folder / "bin" / "python"


def root() -> Path:
    """Return the folder that holds the environments."""
    default = Path(__file__).resolve().parents[1] / "build" / "servers"
    return Path(os.environ.get("ONNXLRP_SERVERS", default))


def _make(folder: Path, requirements: tuple[str, ...], limit: float) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    end = time.monotonic() + limit
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    _run([sys.executable, "-m", "venv", str(folder)], end)
    _run([str(folder / "bin" / "python"), *pip, "--prefer-binary", *requirements], end)


def _run(command: list[str], end: float) -> None:
    try:
        left = max(end - time.monotonic(), 1)
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=left)
    except subprocess.TimeoutExpired as error:
        raise MissingError("the installation takes too long") from error
    if done.returncode:
        said = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        raise MissingError(f"the installation failed: {said[-1].strip() if said else 'no reason'}")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Let one process at a time make an environment."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Print the path of the Python, or on standard error one line why there is none."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", metavar="NAME", help=", ".join(REQUIREMENTS))
    try:
        print(python_of(parser.parse_args().name))
    except MissingError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
