"""An explanation graph in KServe: Open Inference Protocol v2, and v1 `:predict` and `:explain`."""

import argparse
import asyncio
import base64
import binascii
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kserve  # type: ignore[import-not-found]
import numpy as np
from graph_session import (  # type: ignore[import-not-found]
    check_input,
    check_target,
    open_session,
    run,
)
from heat_drawing import draw  # type: ignore[import-not-found]
from kserve.errors import InvalidInput  # type: ignore[import-not-found]
from kserve.utils.numpy_codec import from_np_dtype, to_np_dtype  # type: ignore[import-not-found]
from loopback import Server  # type: ignore[import-not-found]
from picture_steps import prepare  # type: ignore[import-not-found]

FOLDER = Path(__file__).resolve().parent


class Predictor(kserve.Model):  # type: ignore[misc]
    """The model that KServe asks."""

    def __init__(self, name: str, settings: dict[str, Any]) -> None:
        super().__init__(name)
        self.settings = settings
        self.inputs = {port["name"]: port for port in settings["inputs"]}
        self.outputs = [port["name"] for port in settings["outputs"]]
        self.load()

    def load(self) -> bool:
        """Open the session."""
        self.session = open_session(FOLDER / "model.onnx", self.settings["providers"])
        self.ready = True
        return True

    def get_input_types(self) -> list[dict[str, Any]]:
        """Return the inputs for the metadata of the model."""
        return [{key: port[key] for key in _PORT} for port in self.inputs.values()]

    def get_output_types(self) -> list[dict[str, Any]]:
        """Return the outputs for the metadata of the model."""
        return [{key: port[key] for key in _PORT} for port in self.settings["outputs"]]

    async def predict(self, payload: Any, headers: Any = None) -> Any:  # noqa: ARG002
        """Answer v2, or v1 `:predict`."""
        if isinstance(payload, kserve.InferRequest):
            return await asyncio.to_thread(self._infer, payload)
        outputs, _ = await asyncio.to_thread(self._instances, payload, False)
        names = self.settings["predictions"]
        return {"predictions": _rows({name: outputs[name] for name in names})}

    async def explain(self, payload: Any, headers: Any = None) -> Any:  # noqa: ARG002
        """Answer v1 `:explain`: predictions and relevance, or heatmaps where pictures came."""
        if not isinstance(payload, dict):
            raise InvalidInput("`:explain` takes JSON with `instances`; v2 gives relevance itself")
        outputs, maps = await asyncio.to_thread(self._instances, payload, True)
        names = self.settings["predictions"]
        rows = _rows({name: outputs[name] for name in names})
        if maps is not None:
            return {"predictions": rows, "explanations": maps}
        rest = {name: outputs[name] for name in self.outputs if name not in names}
        return {"predictions": rows, "explanations": _rows(rest, single=False)}

    def _infer(self, request: Any) -> Any:
        given = {each.name: each for each in request.inputs}
        feeds = {name: self._read(each) for name, each in given.items()}
        asked = [each.name for each in request.request_outputs or ()] or self.outputs
        for name in asked:
            if name not in self.outputs:
                raise InvalidInput(f"no output '{name}'; there is {', '.join(self.outputs)}")
        outputs = self._run(feeds)
        answers = [_output(name, outputs[name], raw=request.from_grpc) for name in asked]
        return kserve.InferResponse(
            response_id=request.id,
            model_name=self.name,
            infer_outputs=answers,
            from_grpc=request.from_grpc,
            use_binary_outputs=request.use_binary_outputs,
            requested_outputs=request.request_outputs,
        )

    def _read(self, given: Any) -> Any:
        """Return the array of a v2 input."""
        port = self._port(given.name)
        if given.datatype != port["datatype"]:
            raise InvalidInput(f"input '{given.name}' is {port['datatype']}, not {given.datatype}")
        self._check_shape(port, list(given.shape))
        try:
            array: np.ndarray[Any, Any] = given.as_numpy()
        except (ValueError, TypeError, OverflowError) as error:
            shape = list(given.shape)
            raise InvalidInput(f"input '{given.name}' of shape {shape}: {error}") from error
        return array

    def _port(self, name: str) -> dict[str, Any]:
        if name not in self.inputs:
            raise InvalidInput(f"no input '{name}'; there is {', '.join(self.inputs)}")
        port: dict[str, Any] = self.inputs[name]
        return port

    def _check_shape(self, port: dict[str, Any], shape: list[int]) -> None:
        pairs = list(zip(shape, port["shape"], strict=False))
        fits = len(shape) == len(port["shape"]) and all(b in (-1, a) and a >= 0 for a, b in pairs)
        if not fits:
            raise InvalidInput(f"input '{port['name']}' takes {port['shape']}, not {shape}")
        count, most = int(np.prod(shape, dtype=object)), self.settings["limits"]["max_elements"]
        if count > most:
            raise InvalidInput(f"input '{port['name']}' has {count} values, more than {most}")

    def _run(self, feeds: dict[str, Any]) -> dict[str, Any]:
        for name, port in self.inputs.items():
            if name not in feeds and not port["optional"]:
                raise InvalidInput(f"input '{name}' is missing")
        try:
            for name, array in feeds.items():
                check_input(name, array, self.settings["limits"]["max_elements"])
            outputs: dict[str, Any] = run(self.session, self.outputs, feeds)
            if "target" in feeds:
                check_target(outputs)
        except ValueError as error:
            raise InvalidInput(str(error)) from error
        return outputs

    def _instances(self, payload: dict[str, Any], drawn: bool) -> tuple[dict[str, Any], Any]:
        """Return outputs, and heatmaps where the instances are pictures."""
        instances = payload.get("instances") if isinstance(payload, dict) else None
        if not isinstance(instances, list) or not instances:
            raise InvalidInput("v1 takes JSON with a list `instances` of at least one sample")
        if isinstance(instances[0], dict) and "b64" in instances[0]:
            return self._pictures(instances, drawn)
        return self._run(self._stacked(instances)), None

    def _stacked(self, instances: list[Any]) -> dict[str, Any]:
        """Return one array per input: samples are arrays, or objects of arrays by input."""
        first = next(iter(self.inputs))
        rows = [each if isinstance(each, dict) else {first: each} for each in instances]
        if any(row.keys() != rows[0].keys() for row in rows):
            raise InvalidInput("all `instances` must give the same inputs")
        feeds = {}
        for name in rows[0]:
            port = self._port(name)
            try:
                array = np.array([row[name] for row in rows], to_np_dtype(port["datatype"]))
            except (ValueError, TypeError, OverflowError) as error:
                raise InvalidInput(f"input '{name}': {error}") from error
            self._check_shape(port, list(array.shape))
            feeds[name] = array
        return feeds

    def _pictures(self, instances: list[Any], drawn: bool) -> tuple[dict[str, Any], Any]:
        steps, drawing = self.settings["picture"], self.settings["drawing"]
        if steps is None:
            raise InvalidInput("this model was written without pictures: send arrays")
        if not drawing["batch"]:
            raise InvalidInput("this model takes one sample without a batch axis: use v2")
        prepared = list(self._prepared(instances, steps))
        try:
            values = np.concatenate([value for value, _ in prepared])
        except ValueError as error:
            raise InvalidInput("pictures of one request must have one size") from error
        self._check_shape(self._port(steps["input"]), list(values.shape))
        outputs = self._run({steps["input"]: values})
        if not drawn:
            return outputs, None
        maps = []
        for relevance, (_, shown) in zip(outputs[drawing["relevance"]], prepared, strict=True):
            try:
                png = draw(relevance, shown, drawing)
            except ValueError as error:
                raise InvalidInput(str(error)) from error
            maps.append({"heatmap": {"b64": base64.b64encode(png).decode()}})
        return outputs, maps

    def _prepared(self, instances: list[Any], steps: dict[str, Any]) -> Iterator[Any]:
        most = self.settings["limits"]["max_elements"]
        for each in instances:
            values, shown = _prepared(each, steps)
            if values.size * len(instances) > most:
                raise InvalidInput(f"{len(instances)} pictures have more than {most} values")
            yield values, shown


_PORT = ("name", "datatype", "shape")


def _prepared(instance: Any, steps: dict[str, Any]) -> Any:
    text = instance.get("b64") if isinstance(instance, dict) else None
    if not isinstance(text, str):
        raise InvalidInput('a picture is given as {"b64": "..."}')
    if len(text) > 2 * steps["max_bytes"]:
        raise InvalidInput(f"the picture has more than {steps['max_bytes']} bytes")
    try:
        return prepare(base64.b64decode(text, validate=True), steps)
    except (ValueError, binascii.Error) as error:
        raise InvalidInput(str(error)) from error


def _output(name: str, array: Any, raw: bool) -> Any:
    kind = from_np_dtype(array.dtype)
    answer = kserve.InferOutput(name=name, shape=list(array.shape), datatype=kind)
    if raw:
        answer.set_data_from_numpy(array, binary_data=True)
    else:
        answer.data = array
    return answer


def _rows(outputs: dict[str, Any], single: bool = True) -> list[Any]:
    """Return one entry per sample: the values of the one output, or an object of all."""
    if single and len(outputs) == 1:
        rows: list[Any] = next(iter(outputs.values())).tolist()
        return rows
    names, arrays = list(outputs), [array.tolist() for array in outputs.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*arrays, strict=True)]


def main() -> None:
    """Serve until a signal comes."""
    settings = json.loads((FOLDER / "settings.json").read_text())
    parser = argparse.ArgumentParser(
        parents=[kserve.model_server.parser], conflict_handler="resolve"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (127.0.0.1)")
    parser.add_argument("--model_name", default=settings["name"])
    options = parser.parse_args()
    server = Server(
        options.host,
        settings["max_body"],
        http_port=options.http_port,
        grpc_port=options.grpc_port,
        enable_latency_logging=False,
    )
    server.start([Predictor(options.model_name, settings)])


if __name__ == "__main__":
    main()
