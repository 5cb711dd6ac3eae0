"""Runs explanation graphs in ONNX Runtime: providers, batches of any size, streams, targets."""

from onnxlrp.runtime.batching import BatchChoice, Trial
from onnxlrp.runtime.concepts import TopSamples, concept_maps, top_samples
from onnxlrp.runtime.explainer import Explainer
from onnxlrp.runtime.jobs import Request
from onnxlrp.runtime.result import Result
from onnxlrp.runtime.settings import Settings
from onnxlrp.runtime.shared import Weights

__all__ = [
    "BatchChoice",
    "Explainer",
    "Request",
    "Result",
    "Settings",
    "TopSamples",
    "Trial",
    "Weights",
    "concept_maps",
    "top_samples",
]
