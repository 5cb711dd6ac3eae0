"""An ensemble in Triton: bytes of a picture in, prediction and a PNG of the heatmap out."""

import json
from collections.abc import Mapping
from pathlib import Path

from onnxlrp.serve.artefact import Artefact, Pictures
from onnxlrp.serve.folder import copy_files
from onnxlrp.serve.settings import drawing_settings, picture_settings
from onnxlrp.serve.triton.config import model_port
from onnxlrp.serve.triton.layout import Layout
from onnxlrp.serve.triton.pbtxt import Field, Word, to_text


def add_model(folder: Path, config: Mapping[str, Field], version: int) -> Path:
    """Make the folder of a model with its configuration; return that of its version."""
    inner = folder / str(version)
    inner.mkdir(parents=True)
    (folder / "config.pbtxt").write_text(to_text(config))
    return inner


def add_ensemble(folder: Path, artefact: Artefact, layout: Layout, pictures: Pictures) -> None:
    """Add the models around the graph: the first reads a picture, the last draws."""
    name = artefact.name
    port, shown = pictures.port, [-1, -1, 3]
    drawn = artefact.signature.outputs[pictures.relevance]
    picture, heatmap = _text_port("picture"), _text_port("heatmap")
    values = {**model_port(port), "name": "values"}
    seen: Field = {"name": "shown", "data_type": Word("TYPE_UINT8"), "dims": shown}
    relevance: Field = {**model_port(drawn), "name": "relevance"}
    first = _program_config(f"{name}_picture", [picture], [values, seen])
    program = add_model(folder / f"{name}_picture", first, layout.version)
    _add_program(program, "picture", "picture_steps", picture_settings(pictures, layout.limits))
    second = _program_config(f"{name}_draw", [relevance, seen], [heatmap])
    program = add_model(folder / f"{name}_draw", second, layout.version)
    _add_program(program, "draw", "heat_drawing", drawing_settings(pictures))
    add_model(folder / f"{name}_image", _ensemble_config(artefact, pictures), layout.version)


def _add_program(folder: Path, name: str, library: str, settings: Mapping[str, object]) -> None:
    program = {f"triton/programs/{name}.py": "model.py", f"programs/{library}.py": f"{library}.py"}
    copy_files(program, folder)
    (folder / "settings.json").write_text(json.dumps(settings, indent=1) + "\n")


def _text_port(name: str) -> dict[str, Field]:
    return {"name": name, "data_type": Word("TYPE_STRING"), "dims": [1]}


def _program_config(name: str, inputs: list[Field], outputs: list[Field]) -> dict[str, Field]:
    return {
        "name": name,
        "backend": "python",
        "max_batch_size": 0,
        "input": inputs,
        "output": outputs,
        "instance_group": [{"count": 1, "kind": Word("KIND_CPU")}],
    }


def _ensemble_config(artefact: Artefact, pictures: Pictures) -> dict[str, Field]:
    name = artefact.name
    outputs = [artefact.signature.outputs[each] for each in artefact.predictions]
    through = {port.name: port.name for port in outputs} | {pictures.relevance: "_relevance"}
    steps: list[Field] = [
        _step(f"{name}_picture", {"picture": "picture"}, {"values": "_values", "shown": "_shown"}),
        _step(name, {pictures.port.name: "_values"}, through),
        _step(
            f"{name}_draw", {"relevance": "_relevance", "shown": "_shown"}, {"heatmap": "heatmap"}
        ),
    ]
    return {
        "name": f"{name}_image",
        "platform": "ensemble",
        "max_batch_size": 0,
        "input": [_text_port("picture")],
        "output": [*(model_port(port) for port in outputs), _text_port("heatmap")],
        "ensemble_scheduling": {"step": steps},
    }


def _step(name: str, inputs: Mapping[str, str], outputs: Mapping[str, str]) -> dict[str, Field]:
    def entries(mapping: Mapping[str, str]) -> list[Field]:
        return [{"key": key, "value": value} for key, value in mapping.items()]

    return {
        "model_name": name,
        "model_version": -1,
        "input_map": entries(inputs),
        "output_map": entries(outputs),
    }
