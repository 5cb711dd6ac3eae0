"""Waits for what a run writes, and reads it."""

import json
import time
from pathlib import Path

import numpy as np

PATIENCE = 150.0


def wait_for(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def is_running(pid):
    """Whether a process lives; one that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def done(out):
    """How many shards are done."""
    folder = out / "done"
    return len(list(folder.glob("*.json"))) if folder.is_dir() else 0


def read_npz(out):
    """Index -> arrays by name, over all shards; fails where an index comes twice."""
    found = {}
    for path in sorted((out / "data").glob("*.npz")):
        with np.load(path, allow_pickle=False) as arrays:
            for k, index in enumerate(arrays["index"].tolist()):
                assert index not in found
                found[index] = {name: arrays[name][k] for name in arrays.files}
    return found


def contents(out):
    """Name -> bytes of all results."""
    files = sorted(path for path in (out / "data").rglob("*") if path.is_file())
    return {str(path.relative_to(out)): path.read_bytes() for path in files}


def failures(out):
    return [json.loads(line) for line in (out / "failures.jsonl").read_text().splitlines()]
