"""The real models beside the repository; tests that use them skip where they are absent."""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from onnxlrp.graph.load import load

FOLDER = Path(__file__).resolve().parents[2].parent / "shared" / "cases"
FAMILIES = ("cnn", "mlp", "resnet", "segmentation", "timeseries")
HALF = "imagenet_squeezenet_fp16"


@dataclass(frozen=True)
class Case:
    """One model with its inputs and expected outputs; axis 0 of each array is the sample."""

    name: str
    path: Path
    output: str
    inputs: dict[str, np.ndarray]
    expected: dict[str, np.ndarray]
    meta: dict

    def sample(self, index: int = 0) -> dict[str, np.ndarray]:
        return {name: array[index] for name, array in self.inputs.items()}


def manifest() -> list[dict]:
    path = FOLDER / "manifest.json"
    return json.loads(path.read_text())["cases"] if path.exists() else []


def names(families=FAMILIES) -> list[str]:
    """Names of the cases of this issue's families; one placeholder where there are none."""
    return [c["id"] for c in manifest() if c["family"] in families and c["id"] != HALF]


def every() -> list[str]:
    """Names of all cases."""
    return [c["id"] for c in manifest()]


@cache
def case(name: str) -> Case:
    meta = next(item for item in manifest() if item["id"] == name)
    folder = FOLDER / name
    return Case(
        name,
        folder / "model.onnx",
        meta["explain_output"],
        _arrays(folder / "inputs.npz"),
        _arrays(folder / "expected.npz"),
        meta,
    )


def _arrays(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as data:
        return {name.replace("|", "/"): data[name] for name in data.files}


@cache
def lifted(name: str) -> bytes:
    """The source as it is deployed inside the explanation graph."""
    return load(case(name).path).source.SerializeToString()


def session(model: bytes | onnx.ModelProto, *, optimise: bool = True) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = model if isinstance(model, bytes) else model.SerializeToString()
    return ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def run(model, feeds, *, optimise: bool = True) -> dict[str, np.ndarray]:
    made = session(model, optimise=optimise)
    names_ = [item.name for item in made.get_outputs()]
    return dict(zip(names_, made.run(None, feeds), strict=True))


@cache
def predictions(name: str, *, optimise: bool) -> dict[str, np.ndarray]:
    """What the lifted source gives for the first sample."""
    return run(lifted(name), case(name).sample(), optimise=optimise)
