"""An explanation graph in Triton's Python backend: an ONNX Runtime session, requests batched."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import graph_session  # type: ignore[import-not-found]
import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]

Feeds = dict[str, Any]


class TritonPythonModel:
    """What Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the session."""
        config = json.loads(args["model_config"])
        settings = {key: value["string_value"] for key, value in config["parameters"].items()}
        self.batching = int(config.get("max_batch_size", 0)) > 0
        self.max_elements = int(settings["max_elements"])
        self.inputs = [port["name"] for port in config["input"]]
        path = Path(args["model_repository"]) / args["model_version"] / "model.onnx"
        providers: list[tuple[str, Feeds]] = [("CPUExecutionProvider", {})]
        if args["model_instance_kind"] == "GPU":
            device = {"device_id": args["model_instance_device_id"]}
            providers = [(name, own | device) for name, own in json.loads(settings["providers"])]
        threads = int(settings["intra_op_thread_count"])
        self.session = graph_session.open_session(path, providers, threads)

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer all requests; those of equal shapes run as one batch."""
        answers: list[Any] = [None] * len(requests)
        groups: dict[tuple[object, ...], list[tuple[int, Feeds]]] = defaultdict(list)
        for index, request in enumerate(requests):
            try:
                feeds = self._feeds(request)
            except ValueError as error:
                answers[index] = _refusal(error)
                continue
            alone = () if self.batching else (index,)
            shapes = tuple((name, array.shape[1:]) for name, array in feeds.items())
            groups[(*alone, shapes)].append((index, feeds))
        for group in groups.values():
            for index, answer in self._run(group, requests):
                answers[index] = answer
        return answers

    def _feeds(self, request: Any) -> Feeds:
        feeds = {}
        for name in self.inputs:
            given = pb_utils.get_input_tensor_by_name(request, name)
            if given is not None:
                array = given.as_numpy()
                graph_session.check_input(name, array, self.max_elements)
                feeds[name] = _texts(array) if array.dtype.kind == "O" else array
        return feeds

    def _run(self, group: list[tuple[int, Feeds]], requests: list[Any]) -> list[tuple[int, Any]]:
        """Run a group as one batch; where that fails, each request alone."""
        names = sorted({n for index, _ in group for n in requests[index].requested_output_names()})
        feeds = group[0][1]
        try:
            if len(group) > 1:
                feeds = {name: np.concatenate([each[name] for _, each in group]) for name in feeds}
            outputs = graph_session.run(self.session, names, feeds)
        except (ValueError, MemoryError) as error:
            if len(group) > 1:
                return [done for each in group for done in self._run([each], requests)]
            return [(group[0][0], _refusal(error))]
        if len(group) == 1:
            return [(group[0][0], _answer(outputs, requests[group[0][0]]))]
        answers, start = [], 0
        for index, each in group:
            stop = start + len(next(iter(each.values())))
            part = {name: array[start:stop] for name, array in outputs.items()}
            answers.append((index, _answer(part, requests[index])))
            start = stop
        return answers


def _texts(array: Any) -> Any:
    return np.array([text.decode() for text in array.reshape(-1)], object).reshape(array.shape)


def _answer(outputs: dict[str, Any], request: Any) -> Any:
    if pb_utils.get_input_tensor_by_name(request, "target") is not None:
        try:
            graph_session.check_target(outputs)
        except ValueError as error:
            return _refusal(error)
    tensors = [pb_utils.Tensor(name, outputs[name]) for name in request.requested_output_names()]
    return pb_utils.InferenceResponse(output_tensors=tensors)


def _refusal(error: Exception) -> Any:
    text = " ".join(str(error).split()) or type(error).__name__
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(text))
