"""The operator and rule tables as explanation graphs, with inputs and what ONNX Runtime gives."""

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

import onnxlrp
from onnxlrp.pictures import with_pictures
from tests.engine import Session
from tests.ops.case import Case
from tests.ops.cases import CASES
from tests.rules.composite import write
from tests.rules.test_rules import MAPS, POOLED, RULES
from tools import runtime_folder

Arrays = Mapping[str, NDArray[np.generic]]

SMALLEST = 0.1
"""Relevance starts only where |y| is larger: the error of a quotient grows as 1/|y|."""

MAPS_PER_RULE = 2


@dataclass(frozen=True)
class Entry:
    """One explanation graph: `ops/<case>` or `rules/<rule>/<case>`."""

    name: str
    model: onnx.ModelProto
    feeds: Arrays
    wanted: Arrays

    def stored(self) -> runtime_folder.Entry:
        """As other runtimes get it."""
        outputs = [info.name for info in self.model.graph.output]
        data = self.model.SerializeToString()
        return runtime_folder.Entry(self.name, data, self.feeds, outputs)


BATCH, STATIC = "batch", "static"
TURNS = (STATIC, BATCH)
"""Sizes are fixed, or all but the batch, as in models that are deployed."""


def entries(form: str | None = None) -> Iterator[Entry]:
    """All entries; `form`: `static` or `batch`, None: by turns."""
    for index, case in enumerate(CASES):
        if not case.reference:
            yield of_case(case, form or TURNS[index % 2])
    for place, rule in enumerate(RULES):
        for case in maps_of(place):
            if not (rule.startswith(POOLED) and re.search("AveragePool", case.body)):
                yield of_rule(case, rule, form or TURNS[place % 2])
    yield of_pictures()


def source(case: Case, form: str) -> onnx.ModelProto:
    """The model of a case, with static sizes or a free batch."""
    if form == STATIC or not case.batch:
        return case.model("static")
    inner = {
        f"{name}{axis}" for name, shape in case.inputs.items() for axis in range(1, len(shape))
    }
    others = {f"{name}0" for name in case.inputs if name != "x"} if not case.samplewise else set()
    return replace(case, fixed=(*case.fixed, *sorted(inner | others))).model("symbolic")


def maps_of(place: int) -> list[Case]:
    """Some of the linear maps for the rule at this place; together the rules see all of them."""
    step = len(MAPS) // MAPS_PER_RULE
    return [MAPS[(place + step * turn) % len(MAPS)] for turn in range(MAPS_PER_RULE)]


def of_case(case: Case, form: str) -> Entry:
    """The gradient of an operator, and its prediction."""
    return _entry(f"ops/{case.name}", case, form, "gradient")


def of_rule(case: Case, rule: str, form: str) -> Entry:
    """A rule on a linear map, with its ledger where samples are independent."""
    with tempfile.TemporaryDirectory() as folder:
        composite = write(Path(folder), {"kind": "LinearMap", **RULES[rule][1]}, bn="epsilon")
        name = f"rules/{rule}/{case.name}"
        return _entry(name, case, form, composite, ledger=case.samplewise)


def of_pictures() -> Entry:
    """Pictures in and out: resize, table, percentile, colours."""
    folder = Path(__file__).parents[2] / "models"
    graph = with_pictures(onnxlrp.compile(folder / "shapes_vgg.onnx"), {"scale": 1 / 255})
    pictures = np.random.default_rng(0).integers(0, 256, (2, 90, 70, 3), np.uint8)
    feeds = {"picture": pictures}
    return Entry("pictures", graph.model, feeds, Session(graph.model)(feeds))


def _entry(name: str, case: Case, form: str, composite: str, **options: object) -> Entry:
    model = onnxlrp.compile(
        source(case, form), composite=composite, target="seed", keep_softmax=True, **options
    ).model
    x = case.feeds()
    y = Session(source(case, form))(x)["y"]
    drawn = case.rng().uniform(0.5, 1.5, y.shape)
    feeds = {**x, "seed": np.asarray(drawn * (np.abs(y) > SMALLEST), np.float32)}
    return Entry(name, model, feeds, Session(model)(feeds))


def distance(found: Arrays, wanted: Arrays) -> float:
    """The largest difference of a float output, as a share of its largest value."""
    worst = 0.0
    for name, array in wanted.items():
        other = np.asarray(found[name])
        if other.shape != array.shape:
            return float("inf")
        if np.issubdtype(array.dtype, np.number) and array.size:
            away = np.abs(array.astype(np.float64) - other.astype(np.float64)).max()
            worst = max(worst, float(away / max(np.abs(array).max(), 1e-3)))
            worst = worst if np.isfinite(away) else float("inf")
    return worst
