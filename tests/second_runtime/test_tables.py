"""The operator and rule tables in OpenVINO and in ONNX Runtime Web (wasm, headless Chromium)."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.second_runtime.battery import Entry, distance, entries
from tests.second_runtime.limits import GRAPHS, MODELS, MOST, limit
from tools import browser, ort_web, runtime_folder, runtime_worker

AGREES = 1e-4
"""Of max|value|: other kernels, other order of summation."""


@pytest.fixture(scope="module")
def table() -> list[Entry]:
    return list(entries())


def written(folder: Path, runtime: str, table: list[Entry]) -> list[Entry]:
    """Write what the runtime must run; what it cannot is left out, for it may end the process."""
    own = {entry.name for entry in table if limit(GRAPHS[runtime], entry.name)}
    left = [e for e in table if e.name in own or limit(MODELS[runtime], e.name) is None]
    listed = [entry for entry in left if entry.name not in own]
    assert len(left) - len(listed) <= MOST * len(left)
    runtime_folder.write(folder, [entry.stored() for entry in listed])
    return listed


def check(listed: list[Entry], found: Mapping[str, runtime_folder.Outcome]) -> None:
    wrong = {}
    for entry in listed:
        outcome = found.get(entry.name, "no result")
        away = outcome if isinstance(outcome, str) else distance(outcome, entry.wanted)
        if isinstance(away, str) or not away <= AGREES:
            wrong[entry.name] = away
    assert not wrong


def test_openvino(table: list[Entry], tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    listed = written(tmp_path, "openvino", table)
    check(listed, runtime_worker.run("openvino", tmp_path))


def test_browser(table: list[Entry], tmp_path: Path) -> None:
    try:
        browser.find()
        dist = browser.web_runtime()
    except browser.MissingError as error:
        pytest.skip(f"SKIPPED: {error}")
    listed = written(tmp_path, "ort-web", table)
    check(listed, ort_web.run(tmp_path, dist))


def test_a_wrong_result_is_seen(table: list[Entry]) -> None:
    entry = table[0]
    found = {name: array.copy() for name, array in entry.wanted.items()}
    check([entry], {entry.name: found})
    found["relevance/x"].reshape(-1)[0] += 1e-2
    with pytest.raises(AssertionError):
        check([entry], {entry.name: found})
    with pytest.raises(AssertionError):
        check([entry], {})
