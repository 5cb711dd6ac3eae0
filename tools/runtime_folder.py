"""A folder of models with inputs, for runtimes that run in a process of their own.

`models.json` lists the models, each with a name, a file and its inputs; arrays lie beside it as raw
bytes. A runner writes one line of `results.jsonl` per model: outputs, or an error.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[np.generic]]
Outcome = Arrays | str
"""The outputs of a model, or why there are none."""

MODELS = "models.json"
RESULTS = "results.jsonl"


@dataclass(frozen=True)
class Entry:
    """One model with its inputs; outputs by name, in the order of the graph."""

    name: str
    model: bytes
    inputs: Arrays
    outputs: Sequence[str]


def write(folder: Path, entries: Iterable[Entry]) -> None:
    """Write models and inputs, then the list of them."""
    listed = []
    for index, entry in enumerate(entries):
        (folder / f"{index}.onnx").write_bytes(entry.model)
        given = enumerate(entry.inputs.items())
        inputs = [_store(folder, f"{index}.in{i}", *item) for i, item in given]
        file, outputs = f"{index}.onnx", list(entry.outputs)
        listed.append({"name": entry.name, "model": file, "inputs": inputs, "outputs": outputs})
    (folder / MODELS).write_text(json.dumps(listed))


def record(folder: Path, index: int, outcome: Outcome) -> None:
    """Append the result of one model."""
    line: dict[str, object] = {"index": index}
    if isinstance(outcome, str):
        line["error"] = outcome
    else:
        stored = enumerate(outcome.items())
        line["outputs"] = [_store(folder, f"{index}.out{i}", *item) for i, item in stored]
    with (folder / RESULTS).open("a") as file:
        file.write(json.dumps(line) + "\n")


def results(folder: Path) -> dict[str, Outcome]:
    """Read what the runner found, by the names of the models."""
    names = [item["name"] for item in json.loads((folder / MODELS).read_text())]
    path = folder / RESULTS
    lines = path.read_text().splitlines() if path.exists() else []
    found: dict[str, Outcome] = {}
    for line in map(json.loads, lines):
        outputs = line.get("outputs")
        found[names[line["index"]]] = (
            str(line.get("error"))
            if outputs is None
            else {item["name"]: load(folder, item) for item in outputs}
        )
    return found


def load(folder: Path, item: Mapping[str, object]) -> NDArray[np.generic]:
    """Read one array."""
    data = (folder / str(item["file"])).read_bytes()
    shape: list[int] = item["shape"]  # type: ignore[assignment]
    return np.frombuffer(data, str(item["dtype"])).reshape(shape).copy()


def _store(folder: Path, file: str, name: str, given: NDArray[np.generic]) -> dict[str, object]:
    array = np.asarray(given, order="C")
    (folder / file).write_bytes(array.tobytes())
    return {"name": name, "file": file, "dtype": str(array.dtype), "shape": list(array.shape)}
