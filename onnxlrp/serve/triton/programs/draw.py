"""Last step of the ensemble in Triton: relevance and the picture to a PNG."""

import json
from pathlib import Path
from typing import Any

import heat_drawing  # type: ignore[import-not-found]
import numpy as np
import triton_python_backend_utils as pb_utils  # type: ignore[import-not-found]


class TritonPythonModel:
    """What Triton loads."""

    def initialize(self, args: dict[str, str]) -> None:
        """Read how relevance is drawn."""
        folder = Path(args["model_repository"]) / args["model_version"]
        self.drawing = json.loads((folder / "settings.json").read_text())

    def execute(self, requests: list[Any]) -> list[Any]:
        """Answer all requests."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        relevance = pb_utils.get_input_tensor_by_name(request, "relevance").as_numpy()
        shown = pb_utils.get_input_tensor_by_name(request, "shown").as_numpy()
        relevance = relevance[0] if self.drawing["batch"] else relevance
        try:
            png = heat_drawing.draw(relevance, shown, self.drawing)
        except (ValueError, MemoryError) as error:
            return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error)))
        return pb_utils.InferenceResponse([pb_utils.Tensor("heatmap", np.array([png], object))])
