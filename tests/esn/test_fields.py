"""From gridded fields to a network and its map on the grid."""

import numpy as np

from onnxlrp.compile import compile as compile_
from onnxlrp.data.grids.climate import anomalies, label, region_index
from onnxlrp.data.grids.grid import NINO34
from onnxlrp.data.grids.samples import samples
from onnxlrp.esn import Settings, fit, make_reservoir, to_onnx
from onnxlrp.render.grid import Globe, draw_grid
from onnxlrp.runtime import Explainer
from onnxlrp.runtime.means import class_maps
from tests.data.fields import make, sea, tongue


def test_fields_to_maps(tmp_path) -> None:
    fields = anomalies(make(1950, 1964)[0], (1950, 1964))
    index = region_index(fields, NINO34)
    classes = label(index, 0.5)
    given = samples(fields)
    train = int(0.8 * len(index))
    net = make_reservoir(Settings(size=60, alpha=0.05), given.grid.shape)
    net = fit(net, given.x[:train], index[:train], ridge=1e-6)
    strong = np.flatnonzero(classes != 0)
    held_out = strong[strong >= train]
    hit = np.sign(net.predict(given.x[held_out])[:, 0]) == classes[held_out]
    assert hit.mean() >= 0.95

    result = Explainer(compile_(to_onnx(net), composite="landt-hayen"))(
        {"field": given.x[held_out, 0]}
    )
    maps = class_maps(result.relevance["field"], result.outputs["score"], classes[held_out])
    for kind in (1, -1):
        mean = maps[kind].mean
        assert abs(mean.sum() - 1) <= 1e-4
        assert not mean[~sea()].any()
        inside = (tongue() > 0.3) & sea()
        beside = ~inside & sea() & inside.any(axis=0)
        assert mean[inside].mean() >= 3 * mean[beside].mean()  # the same columns: one memory
    globe = Globe(
        lats=given.grid.lats,
        lons=given.grid.lons,
        valid=given.grid.valid,
        regions=((NINO34.south, NINO34.north, NINO34.west, NINO34.east),),
    )
    draw_grid(maps[1].mean, globe, tmp_path / "nino.png")
    assert (tmp_path / "nino.png").stat().st_size > 1000
