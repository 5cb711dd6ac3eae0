"""What `onnxlrp paths` found about one sample."""

import glob
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from PIL import Image

from onnxlrp.data import Sample
from onnxlrp.neurons.best import Best, best_samples
from onnxlrp.neurons.deconvolution import deconv_graph
from onnxlrp.neurons.explore import Explorer, Found
from onnxlrp.neurons.maps import Rebuilt, rebuild
from onnxlrp.neurons.network import OUTPUT, Network, Path
from onnxlrp.neurons.search import Choice
from onnxlrp.neurons.session import Run
from onnxlrp.render.picture import as_picture
from onnxlrp.runtime.result import Array

MOST_BEST = 9


@dataclass(kw_only=True)
class Answer:
    """What was found about one sample.

    Attributes:
        sample: The sample.
        explorer: The model.
        found: Layers, nodes, messages.
        graph: The same as a graph.
        paths: The best paths.
        widest: The path with the largest smallest message.
        label: Name of the explained class, or empty.
        choice: What the search found, where it was asked for.
        deconv: Whether the best path is rebuilt.
        data: Further samples, in which the nodes of the best path are looked for.
    """

    sample: Sample
    explorer: Explorer
    found: Found
    graph: Network
    paths: list[Path]
    widest: Path | None
    label: str
    choice: Choice | None
    deconv: bool
    data: tuple[Sample, ...] = ()

    @property
    def target(self) -> str:
        """The explained index, with its name."""
        index = ",".join(map(str, self.found.target))
        return f"{index} {self.label}".strip()

    @cached_property
    def picture(self) -> Image.Image | None:
        """The picture as the model sees it, or what an array of that form looks like."""
        if self.sample.picture is not None:
            return self.sample.picture
        for array in self.sample.inputs.values():
            if array.ndim == 4 and {array.shape[1], array.shape[3]} & {1, 3}:
                return as_picture(array[0])
        return None

    @cached_property
    def through(self) -> list[dict[str, Array]]:
        """The relevance of the inputs through each of the best paths alone."""
        return [
            self.explorer.through(self.sample.inputs, self.nodes_of(path)) for path in self.paths
        ]

    def nodes_of(self, path: Path) -> dict[str, list[int]]:
        """The nodes of a path by layer."""
        data = [self.graph.nodes[node] for node in path.nodes if node != OUTPUT]
        return {item["layer"]: [item["channel"]] for item in data}

    @cached_property
    def rebuilt(self) -> list[Rebuilt]:
        """What the nodes of the best path saw, the first layer first."""
        if not self.deconv or not self.paths:
            return []
        graph = deconv_graph(self.explorer.model, self.explorer.question)
        run = Run(graph.graph, self.explorer.providers)
        nodes = [(name, own[0]) for name, own in self.nodes_of(self.paths[0]).items()]
        return rebuild(graph, run, self.sample.inputs, nodes[::-1])

    def best(self, of: str) -> list[tuple[str, list[Image.Image]]]:
        """What the nodes of the best path saw of the samples that they like best."""
        known = {str(k): sample for k, sample in enumerate(self.data)}
        nodes = self.nodes_of(self.paths[0]) if self.paths else {}
        spatial = [layer.name for layer in self.explorer.selection.layers if layer.spatial]
        layers = [glob.escape(name) for name in nodes if name in spatial]
        if not known or not layers:
            return []
        question = replace(self.explorer.question, layers=layers, target="argmax", position=None)

        def samples() -> list[tuple[str, Mapping[str, Array]]]:
            return [(name, sample.inputs) for name, sample in known.items()]

        found = best_samples(self.explorer.model, question, samples, MOST_BEST, of=of)
        return [
            (f"{one.layer} #{channel}", _seen(one, channel, known))
            for one in found
            for channel in nodes[one.layer]
        ]


def _seen(best: Best, channel: int, known: Mapping[str, Sample]) -> list[Image.Image]:
    """The parts of the best samples of a channel that it sees."""
    parts = []
    for rank, name in enumerate(best.top.names[channel]):
        picture = known[name].picture if name else None
        if picture is not None:
            rows, columns = best.box(channel, rank, (picture.height, picture.width))
            box = (columns.start, rows.start, columns.stop, rows.stop)
            parts.append(picture.convert("RGB").crop(box))
    return parts
