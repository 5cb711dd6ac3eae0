"""The numbers of `onnxlrp paths` as JSON."""

import math
from collections.abc import Mapping

from onnxlrp.cli.paths.answer import Answer
from onnxlrp.neurons.explore import Found, FoundLayer
from onnxlrp.neurons.network import Path
from onnxlrp.neurons.policy import Policy
from onnxlrp.neurons.search import Choice, Point

Json = Mapping[str, object]


def summary_of(answer: Answer) -> Json:
    """All numbers: layers with scores, F1 to F3, paths, and the curve of the search."""
    found = answer.found
    return {
        "sample": answer.sample.name,
        "output": found.output,
        "target": list(found.target),
        "label": answer.label,
        "relevance": found.start,
        "composite": answer.explorer.selection.graph.metadata.composite["name"],
        "policy": _policy(answer.explorer.question.policy),
        "fidelity": _fidelity(found),
        "layers": [_layer(layer, found) for layer in found.layers],
        "links": [
            {"from": part.link.upper, "to": part.link.lower, "input": part.link.leaf}
            for part in found.messages
        ],
        "paths": [_path(path) for path in answer.paths],
        "widest_path": None if answer.widest is None else _path(answer.widest),
        "search": None if answer.choice is None else _choice(answer.choice),
        "notes": list(answer.sample.notes),
    }


def _policy(policy: Policy) -> Json:
    return {
        "k": policy.k,
        "m": policy.m,
        "theta": policy.theta,
        "ranking": policy.ranking,
        "conserve": policy.conserve,
        "flow": policy.flow,
    }


def _fidelity(found: Found) -> Json:
    """F1: activation and relevance of the nodes; F2: the output; F3: the map."""
    names = {"F1": "nodes", "F2": "output", "F3": "map"}
    numbers: dict[str, dict[str, object]] = {
        key: {"compared": what, "mse": found.mse[what], "smape": found.smape[what]}
        for key, what in names.items()
    }
    numbers["F2"]["same_class"] = found.same
    return numbers


def _layer(layer: FoundLayer, found: Found) -> Json:
    mse, smape = found.nodes[layer.name]
    return {
        "name": layer.name,
        "size": len(layer.scores),
        "kept": [int(node) for node in layer.kept.nonzero()[0]],
        "share": float(abs(layer.shares[layer.kept]).sum()),
        "mse": mse,
        "smape": smape,
        "scores": layer.scores.tolist(),
        "activation": layer.forward.tolist(),
    }


def _path(path: Path) -> Json:
    return {
        "nodes": list(path.nodes),
        "share": path.share,
        "mass": path.mass,
        "least": path.least,
    }


def _choice(choice: Choice) -> Json:
    return {
        "m": choice.m,
        "kept": {name: [int(i) for i in mask.nonzero()[0]] for name, mask in choice.kept.items()},
        "nodes": sum(int(mask.sum()) for mask in choice.kept.values()),
        "curve": [_point(point) for point in choice.curve],
    }


def _point(point: Point) -> Json:
    return {
        "m": None if math.isnan(point.m) else point.m,
        "nodes": point.kept,
        "mse": point.mse,
        "smape": point.smape,
        "same_class": point.same,
    }
