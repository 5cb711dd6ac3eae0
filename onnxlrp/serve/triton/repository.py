"""Lays an explanation graph out as a model repository of Triton."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from onnxlrp.serve.artefact import Artefact, Pictures
from onnxlrp.serve.folder import add_models, copy_files
from onnxlrp.serve.triton.config import LABELS, model_config
from onnxlrp.serve.triton.ensemble import add_ensemble, add_model
from onnxlrp.serve.triton.layout import Layout

_PROGRAM: Final = {
    "triton/programs/model.py": "model.py",
    "programs/graph_session.py": "graph_session.py",
}


def write_triton(
    artefact: Artefact,
    save: Callable[[Path], None],
    repository: Path,
    layout: Layout,
    pictures: Pictures | None = None,
) -> tuple[str, ...]:
    """Write a model repository, or add models to one; whole or not at all.

    Args:
        artefact: What is served.
        save: Writes the model with its external data to a path.
        repository: The folder of the repository.
        layout: Backend, device, batching.
        pictures: Adds an ensemble that takes a picture and draws a heatmap.

    Returns:
        Names of the models.

    Raises:
        DataError: A folder of one of these names exists already.
        InputError: The server has no type for an input or output.
    """
    config = model_config(artefact, layout)
    name = artefact.name
    names = (name,) if pictures is None else (f"{name}_picture", name, f"{name}_draw")
    last = () if pictures is None else (f"{name}_image",)

    def write(folder: Path) -> None:
        version = add_model(folder / name, config, layout.version)
        save(version / "model.onnx")
        if layout.backend == "python":
            copy_files(_PROGRAM, version)
        if artefact.labels:
            lines = [" ".join(label.split()) for label in artefact.labels]
            (folder / name / LABELS).write_text("\n".join(lines) + "\n")
        if pictures is not None:
            add_ensemble(folder, artefact, layout, pictures)

    add_models(repository, (*names, *last), write)
    return (*names, *last)
