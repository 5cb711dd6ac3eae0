"""Draws the pictures of docs/audit.md: audits of own nets, and of two geophysical models.

python tools/audit_figures.py [--cases FOLDER] [--out docs]

FOLDER holds the models of ECMWF infero (geo_tropical_cyclone_unet, geo_orographic_drag_mlp), each
as model.onnx and inputs.npz; without it only the own nets are drawn.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from onnxlrp.audit import Audit, Options, Samples, audit, open_subject
from onnxlrp.audit.pictures import Panel, draw_sheet, heat_panel, panels
from onnxlrp.audit.selftest import CASES, run_case
from onnxlrp.audit.structure import composite_file, flat_composite, with_average_pools
from onnxlrp.cli.audit.files import format_audit
from onnxlrp.compile import compile as compile_model
from onnxlrp.graph.read import read
from onnxlrp.render.save import save
from onnxlrp.runtime import Explainer

OWN = {"esn": "esn", "mlp": "mlp", "unpadded cnn": "cnn", "clean cnn": "clean"}
CYCLONE, DRAG = "geo_tropical_cyclone_unet", "geo_orographic_drag_mlp"
METHOD = "epsilon-plus:bias=none"
AROUND = 24


def draw(found: Audit, title: str, path: Path, *, own: bool = True) -> None:
    """Print an audit and draw its sheet; the mean input only of data of our own."""
    print(f"\n{title}\n{format_audit(found)}")
    flagged = ", ".join(f.name for f in found.findings if f.verdict == "flagged")
    name = str(found.evidence.composite.get("name"))
    shown = panels(found) if own else panels(found)[1:]
    save(draw_sheet(shown, title, f"{name}; flagged: {flagged or 'nothing'}"), path)


def load(folder: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """The one array of the inputs, without the batch axis of 1 of every sample."""
    with np.load(folder / "inputs.npz") as arrays:
        (name,) = arrays.files
        found: np.ndarray[tuple[int, ...], np.dtype[np.float32]] = arrays[name][:, 0]
    return found


def geo(folder: Path, composite: str, target: str) -> Audit:
    """Audit one of the two models on its own fields."""
    options = Options(composite=composite, target=target)
    subject = open_subject(folder / "model.onnx", options)
    x = np.stack([subject.frame.to_case(sample) for sample in load(folder)])
    return audit(subject, Samples(x=x))


def cyclone(folder: Path) -> Image.Image:
    """Explain all places at once where the net sees a cyclone, p > 0.5."""
    x = load(folder)
    model, _ = read(folder / "model.onnx")
    explain = Explainer(compile_model(model, composite=METHOD, target="seed"))
    shape = (len(x), 200, 200, 1)
    chance = explain({"input_1": x}, seed=np.zeros(shape, np.float32)).outputs["conv2d_17"]
    p = np.clip(np.asarray(chance, np.float64), 1e-6, 1 - 1e-6)
    logits = np.log(p / (1 - p)) * (p > 0.5)
    relevance = explain({"input_1": x}, seed=logits.astype(np.float32)).relevance["input_1"]
    with composite_file(flat_composite()) as path:
        flat = Explainer(compile_model(with_average_pools(model), composite=path, target="seed"))
    even = flat({"input_1": x}, seed=(p > 0.5).astype(np.float32)).relevance["input_1"]
    return draw_cyclone(p[0, :, :, 0], np.asarray(relevance, float)[0], np.asarray(even, float)[0])


def draw_cyclone(p: "Map", relevance: "Map", even: "Map") -> Image.Image:
    """Output, and a part of relevance, structure, and the four channels with most relevance."""
    share = np.abs(relevance).sum(axis=(0, 1))
    share /= share.sum()
    near = tuple(slice(max(k.min() - AROUND, 0), k.max() + AROUND) for k in np.nonzero(p > 0.5))
    relevance, even = relevance[near], even[near]
    heat, flat = relevance.sum(axis=-1), even.sum(axis=-1)
    gain = heat / heat.sum() - flat / flat.sum()
    shown: list[Panel] = [
        heat_panel("output", p, "probability of a cyclone"),
        heat_panel("relevance", heat, f"{(p > 0.5).sum()} places with p > 0.5"),
        heat_panel("structure map", flat, "flat rule, same places"),
        heat_panel("relevance - structure", gain, "both with sum 1"),
    ]
    for k in np.argsort(-share)[:4].tolist():
        shown.append(heat_panel(f"channel {k}", relevance[:, :, k], f"{share[k]:.1%} of |R|"))
    rows, columns = near
    part = f"rows {rows.start}-{rows.stop - 1}, columns {columns.start}-{columns.stop - 1}"
    subtitle = f"{METHOD}, from the logits wherever p > 0.5; all but the output: {part}"
    return draw_sheet(tuple(shown), "Tropical cyclone U-Net (ECMWF infero), one field", subtitle)


Map = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def main() -> None:
    """Draw everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=Path)
    parser.add_argument("--out", type=Path, default=Path("docs"))
    arguments = parser.parse_args()
    for case in CASES:
        if case.name in OWN:
            path = arguments.out / f"audit_{OWN[case.name]}.png"
            draw(run_case(case, seed=0, draws=8), f"Synthetic task, {case.name}", path)
    if arguments.cases is not None:
        folder = arguments.cases / CYCLONE
        save(cyclone(folder), arguments.out / "cyclone.png")
        found = geo(folder, METHOD, "argmax")
        draw(
            found,
            "Tropical cyclone U-Net, place of the maximum",
            arguments.out / "audit_cyclone.png",
            own=False,
        )
        found = geo(arguments.cases / DRAG, "landt-hayen", "60")
        path = arguments.out / "audit_drag.png"
        draw(found, "Orographic drag MLP, output 60", path, own=False)


if __name__ == "__main__":
    main()
