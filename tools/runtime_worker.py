"""Runs the models of a folder in OpenVINO or tract: `runtime_worker.py openvino|tract FOLDER`.

Needs numpy and the runtime, nothing else. `run` starts it as often as the runtime ends the process.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))

import runtime_folder as files

Array = NDArray[np.generic]
One = Callable[[bytes, files.Arrays], list[Array]]

SECONDS = 600
LONGEST = 200
"""Characters of an error that are kept."""


def run(runtime: str, folder: Path, python: str = sys.executable) -> dict[str, files.Outcome]:
    """Run all models of a folder and return what came out, by name."""
    count = len(json.loads((folder / files.MODELS).read_text()))
    while len(files.results(folder)) < count:
        before = len(files.results(folder))
        done = subprocess.run(
            [python, __file__, runtime, str(folder)],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode == 0:
            break
        after = len(files.results(folder))
        if after == before and not (folder / "current").exists():
            raise RuntimeError(done.stderr[-LONGEST:])
        index = int((folder / "current").read_text())
        said = [line for line in done.stderr.splitlines() if "panicked" in line]
        reason = said[-1] if said else f"status {done.returncode}"
        files.record(folder, index, f"ended the process ({reason})"[:LONGEST])
        (folder / "current").unlink()
    return files.results(folder)


def openvino() -> One:
    """OpenVINO on the CPU, in float32."""
    import openvino as ov

    core = ov.Core()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}

    def one(model: bytes, x: files.Arrays) -> list[Array]:
        made = core.compile_model(core.read_model(model), "CPU", settings)
        found = made(dict(x))
        return [np.asarray(found[port]) for port in made.outputs]

    return one


def tract() -> One:
    """Tract, on models of fixed sizes."""
    import tract as library

    def one(model: bytes, x: files.Arrays) -> list[Array]:
        path = Path(sys.argv[2]) / "tract.onnx"
        path.write_bytes(model)
        network = library.onnx().load(str(path))
        names = [network.input_name(i) for i in range(network.input_count())]
        for place, name in enumerate(names):
            sizes = ",".join(map(str, x[name].shape))
            kind = {"float32": "f32", "int64": "i64", "uint8": "u8"}[str(x[name].dtype)]
            network.set_input_fact(place, f"{sizes},{kind}".lstrip(","))
        network.analyse()
        made = network.into_model().into_runnable()
        found = made.run([library.Tensor.from_numpy(np.array(x[name])) for name in names])
        return [array.to_numpy() for array in found]

    return one


def main() -> None:
    """Run what has no result yet."""
    made = {"openvino": openvino, "tract": tract}[sys.argv[1]]()
    folder = Path(sys.argv[2])
    listed = json.loads((folder / files.MODELS).read_text())
    known = files.results(folder)
    for index, item in enumerate(listed):
        if item["name"] in known:
            continue
        (folder / "current").write_text(str(index))
        x = {entry["name"]: files.load(folder, entry) for entry in item["inputs"]}
        try:
            found = made((folder / item["model"]).read_bytes(), x)
            files.record(folder, index, dict(zip(item["outputs"], found, strict=True)))
        except Exception as error:  # noqa: BLE001 - whatever a foreign runtime raises is the result
            text = " ".join(str(error).split()) or type(error).__name__
            short = text if len(text) < LONGEST else f"{text[:LONGEST]} ... {text[-LONGEST:]}"
            files.record(folder, index, short)
    (folder / "current").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
