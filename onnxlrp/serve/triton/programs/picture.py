"""First step of the ensemble in Triton: bytes of one picture to the input of the model."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import picture_steps  # type: ignore[import-not-found]
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """What Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read how a picture is prepared."""
        folder = Path(args["model_repository"]) / args["model_version"]
        self.steps = json.loads((folder / "settings.json").read_text())

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer all requests."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        content = pb_utils.get_input_tensor_by_name(request, "picture").as_numpy()
        try:
            values, shown = picture_steps.prepare(bytes(content.reshape(-1)[0]), self.steps)
        except (ValueError, MemoryError) as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        tensors = [pb_utils.Tensor("values", values), pb_utils.Tensor("shown", np.array(shown))]
        return pb_utils.InferenceResponse(output_tensors=tensors)
