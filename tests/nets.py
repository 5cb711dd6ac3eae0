"""What several test files need: the shipped networks, and ONNX Runtime without ceremony."""

from pathlib import Path

import numpy as np
import onnxruntime as ort

from models import shapes

MODELS = Path(__file__).parents[1] / "models"
RESNET, VGG = MODELS / "shapes_resnet.onnx", MODELS / "shapes_vgg.onnx"
DIGITS, MLP = MODELS / "digits_resnet.onnx", MODELS / "digits_mlp.onnx"


def pictures(count: int = 2) -> np.ndarray:
    return shapes.make(count, seed=11)[0]


def run(graph, feeds, *, optimise: bool = True) -> dict[str, np.ndarray]:
    """Run an ExplanationGraph, a ModelProto or bytes."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    data = graph if isinstance(graph, bytes) else getattr(graph, "model", graph).SerializeToString()
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    return dict(zip(names, session.run(None, feeds), strict=True))
