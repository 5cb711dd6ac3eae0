"""Ten thousand random and damaged models: each compiles and is right, or is refused in one line."""

import json
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
COUNT, WORKERS = 10_000, 2
WANTED = {"parsed": 5_000, "checked": 2_000, "compiled": 2_000, "agrees": 1_500}
BAD = {"crash", "hang", "unclear", "differs", "abort"}


def judged(first: int, last: int) -> tuple[Counter[str], list[dict]]:
    """Counts over a range of seeds and what went wrong; goes on behind a model that aborts."""
    counts: Counter[str] = Counter()
    faults: list[dict] = []
    while first < last:
        command = [sys.executable, "-m", "tests.fuzz.judge", str(first), str(last)]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        faults += [line for line in lines if "error" in line]
        counts += sum((Counter(line["counts"]) for line in lines if "counts" in line), Counter())
        if done.returncode == 0:
            return counts, faults
        seed = max((line["at"] for line in lines if "at" in line), default=last)
        faults.append({"seed": seed, "error": "abort", "where": done.stderr[-300:]})
        counts["abort"] += 1
        first = seed + 1
    return counts, faults


def test_no_model_is_too_strange(capsys) -> None:
    step = COUNT // 20
    starts = range(0, COUNT, step)
    with ThreadPoolExecutor(WORKERS) as pool:
        found = list(pool.map(lambda start: judged(start, start + step), starts))
    counts = sum((part for part, _ in found), Counter())
    faults = [fault for _, part in found for fault in part]
    with capsys.disabled():
        sys.stdout.write(f"\n{COUNT} models: {dict(sorted(counts.items()))}\n")
    assert not faults
    assert not BAD & set(counts)
    assert {name: counts[name] for name in WANTED if counts[name] < WANTED[name]} == {}
