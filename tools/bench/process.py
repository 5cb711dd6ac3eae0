"""Runs the worker in a process of its own, and says of which commit a measurement is."""

import json
import re
import subprocess
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
WORKER = Path(__file__).with_name("worker.py")

Result = dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What one process said.

    Attributes:
        results: One per batch that it finished.
        raises: The last line of its error; empty where there was none.
    """

    results: tuple[Result, ...]
    raises: str = ""


def run_worker(python: str, job: Mapping[str, Any], timeout: float) -> Outcome:
    """Run one job; an error or a timeout ends the job, not the benchmark."""
    command = [python, str(WORKER), json.dumps(job)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired as late:
        return Outcome(_results(late.stdout or b""), f"not done after {timeout:.0f} s")
    return Outcome(_results(done.stdout), _reason(done.stderr) if done.returncode else "")


def importable(python: str, module: str) -> bool:
    """Tell whether a Python finds a module."""
    code = f"import importlib.util as u, sys; sys.exit(u.find_spec('{module}') is None)"
    command = [python, "-c", code]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def commit() -> str:
    """Return the commit of the working tree, with `+` where it was changed."""
    git = ["git", "-C", str(ROOT)]
    head = subprocess.run(
        [*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    dirty = subprocess.run([*git, "diff", "--quiet", "HEAD"], capture_output=True, check=False)
    return head.stdout.strip() + "+" * (dirty.returncode == 1)


def _results(printed: str | bytes) -> tuple[Result, ...]:
    text = printed.decode() if isinstance(printed, bytes) else printed
    return tuple(json.loads(line) for line in text.splitlines() if line.startswith("{"))


def _reason(said: str) -> str:
    """The last line of a traceback without the module of its error, cut."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    last = lines[-1] if lines else "killed, perhaps for its memory"
    return textwrap.shorten(re.sub(r"^(?:\w+\.)+(\w+:)", r"\1", last), 120)
