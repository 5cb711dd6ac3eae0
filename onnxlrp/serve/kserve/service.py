"""Lays an explanation graph out for KServe: a manifest, an image and the program inside it."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Final

from onnxlrp.errors import InputError
from onnxlrp.runtime.settings import CPU, CUDA, Settings, with_options
from onnxlrp.runtime.signature import Port
from onnxlrp.serve.artefact import Artefact, Pictures
from onnxlrp.serve.datatypes import DATATYPES
from onnxlrp.serve.folder import copy_files, new_folder
from onnxlrp.serve.kserve.manifest import DOCKERFILE, Service, manifest
from onnxlrp.serve.settings import Limits, drawing_settings, picture_settings

_FILES: Final = {
    "kserve/programs/predictor.py": "predictor.py",
    "kserve/programs/loopback.py": "loopback.py",
    "programs/graph_session.py": "graph_session.py",
    "programs/picture_steps.py": "picture_steps.py",
    "programs/heat_drawing.py": "heat_drawing.py",
}
_REQUIREMENTS: Final = ("kserve==0.21.0", "numpy", "pillow>=10.3")


def write_kserve(
    artefact: Artefact,
    save: Callable[[Path], None],
    out: Path,
    service: Service,
    pictures: Pictures | None = None,
) -> None:
    """Write a folder from which an image is built and an InferenceService is applied.

    Args:
        artefact: What is served.
        save: Writes the model with its external data to a path.
        out: The folder; whole or not at all.
        service: Image, device, resources.
        pictures: The predictor also takes pictures and draws heatmaps.

    Raises:
        DataError: The folder exists already.
        InputError: KServe has no type for an input or output.
    """
    settings = predictor_settings(artefact, service, pictures)
    with new_folder(out) as folder:
        save(folder / "model.onnx")
        copy_files(_FILES, folder)
        (folder / "settings.json").write_text(json.dumps(settings, indent=1) + "\n")
        runtime = "onnxruntime-gpu[cuda,cudnn]" if service.device == "cuda" else "onnxruntime"
        (folder / "requirements.txt").write_text("\n".join([*_REQUIREMENTS, runtime]) + "\n")
        (folder / "Dockerfile").write_text(DOCKERFILE)
        (folder / "inferenceservice.yaml").write_text(manifest(artefact, service))


def predictor_settings(
    artefact: Artefact, service: Service, pictures: Pictures | None
) -> dict[str, object]:
    """Return what the predictor reads from `settings.json`."""
    names = [CUDA, CPU] if service.device == "cuda" else [CPU]
    given = with_options(names, Settings())
    optional = artefact.signature.optional
    ports = (artefact.signature.inputs | artefact.signature.extra).values()
    return {
        "name": artefact.name,
        "inputs": [_port(port) | {"optional": port.name in optional} for port in ports],
        "outputs": [_port(port) for port in artefact.outputs],
        "predictions": artefact.predictions,
        "explained": artefact.metadata.output,
        "labels": artefact.labels,
        "providers": [(each, {}) if isinstance(each, str) else each for each in given],
        "limits": asdict(service.limits),
        "max_body": 4 * max(service.limits.max_bytes, 4 * service.limits.max_elements),
        "picture": _picture(pictures, service.limits),
        "drawing": drawing_settings(pictures) if pictures else None,
    }


def _port(port: Port) -> dict[str, object]:
    if port.kind not in DATATYPES or port.dtype is None:
        raise InputError(f"'{port.name}' ({port}): KServe has no such type")
    shape = [dim if isinstance(dim, int) else -1 for dim in port.shape]
    return {"name": port.name, "datatype": DATATYPES[port.kind], "shape": shape}


def _picture(pictures: Pictures | None, limits: Limits) -> dict[str, object] | None:
    if pictures is None:
        return None
    settings = picture_settings(pictures, limits)
    return settings | {"input": pictures.port.name}
