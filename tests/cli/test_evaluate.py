"""`onnxlrp evaluate`: tables, report, resumption, what is skipped and refused."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from models import shapes

ROOT = Path(__file__).parents[2]
VGG, RESNET = (str(ROOT / f"models/shapes_{name}.onnx") for name in ("vgg", "resnet"))
LABELS = str(ROOT / "models/shapes_labels.txt")
FEW = ("--composites", "epsilon-plus,gradient", "--metrics", "id:steps=5,sparseness,conservation")
KILL_AFTER = 3
MEMORY_ROOM = 3 * 2**20
"""Peak memory of 200 and of 20 samples may differ by what allocators keep, not by the samples."""


def save(folder, x, y, mask):
    """Pictures, masks and boxes as files with an images.csv."""
    folder.mkdir()
    lines = ["file,label,mask,box"]
    for k, pixels in enumerate(np.rint(x.transpose(0, 2, 3, 1) * 255).astype(np.uint8)):
        Image.fromarray(pixels).save(folder / f"{k}.png")
        Image.fromarray(mask[k]).save(folder / f"{k}-mask.png")
        v, u = np.nonzero(mask[k])
        box = f"{u.min()} {v.min()} {u.max() + 1} {v.max() + 1}"
        lines.append(f"{k}.png,{shapes.LABELS[y[k]]},{k}-mask.png,{box}")
    (folder / "images.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture
def arrays(tmp_path):
    x, y, mask = shapes.make(4, 3)
    np.savez(tmp_path / "d.npz", x=x, y=y, mask=mask)
    return str(tmp_path / "d.npz")


@pytest.fixture
def folder(tmp_path):
    return save(tmp_path / "data", *shapes.make(4, 3))


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_table_and_files(command, arrays, tmp_path):
    out = tmp_path / "out"
    status, said, err = command("evaluate", VGG, arrays, *FEW, "-o", out, "--show", 1)
    assert (status, err) == (0, "")
    assert "insertion \N{UPWARDS ARROW}" in said
    assert "deletion \N{DOWNWARDS ARROW}" in said
    assert "4 samples, 100.0% predicted rightly" in said
    names = {"maps", "report.html", "results.csv", "samples.jsonl", "summary.csv", "summary.json"}
    assert {file.name for file in out.iterdir()} == names
    results, summary = rows(out / "results.csv"), rows(out / "summary.csv")
    assert [row["method"] for row in results] == ["epsilon-plus"] * 4 + ["gradient"] * 4
    for row in summary:
        values = [float(r[row["column"]] or "nan") for r in results if r["method"] == row["method"]]
        known = [value for value in values if np.isfinite(value)]
        assert int(row["n"]) == len(known)
        if known:
            assert float(row["mean"]) == pytest.approx(np.mean(known), rel=1e-12)
            assert float(row["low"]) <= float(row["mean"]) <= float(row["high"])
    best = {row["column"]: row["method"] for row in summary if row["best"]}
    assert best["id"] == "epsilon-plus"
    assert next(r for r in summary if r["column"] == "conservation")["n"] == "4"
    assert next(r for r in summary[::-1] if r["column"] == "conservation")["n"] == "0"


def test_summary_json(command, arrays, tmp_path):
    out = tmp_path / "out"
    status, said, _ = command("evaluate", VGG, arrays, *FEW, "-o", out, "--json")
    assert status == 0
    found = json.loads(said)
    assert found == json.loads((out / "summary.json").read_text())
    assert found["command"].startswith(f"onnxlrp evaluate {VGG} {arrays} --composites")
    assert found["better"]["id"] == "higher"
    assert found["methods"][0]["columns"]["id"].keys() == {"mean", "low", "high", "n"}
    assert len(found["curves"]["insertion"]["gradient"]) == 6
    settings = found["settings"]
    assert settings["methods"] == ["epsilon-plus", "gradient"]
    assert len(settings["model"]) == len(settings["data"]) == 64
    assert (found["samples"], found["skipped"], found["accuracy"]) == (4, 0, 1.0)


def test_report(command, folder, tmp_path):
    out = tmp_path / "out"
    arguments = ("--labels", LABELS, "--preprocess", "unit", "--show", 2, "-o", out)
    metrics = "id:steps=5,pointing-game,relevance-mass"
    more = ("--composites", "epsilon-plus,otsuki:split=ratio,identity=true", "--metrics", metrics)
    status, _, err = command("evaluate", RESNET, folder, *arguments, *more)
    assert (status, err) == (0, "")
    page = (out / "report.html").read_text()
    assert page.count("<svg") == 2
    assert page.count("<polyline") == 4
    assert page.count("data:image/png;base64,") == 2 * 3
    assert page.count("<figcaption") == 6
    assert "otsuki:split=ratio,identity=true" in page
    assert "0.png: predicted circle" in page
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    assert "<script" not in page
    assert len(list((out / "maps").iterdir())) == 6
    mass = {row["method"]: float(row["mean"]) for row in rows(out / "summary.csv")
            if row["column"] == "mass_accuracy"}  # fmt: skip
    assert all(0 < value <= 1 for value in mass.values())


def test_picture_and_arrays_give_the_same(command, tmp_path):
    x, y, mask = shapes.make(3, 5)
    x = np.float32(np.rint(x * 255) / 255)
    folder = save(tmp_path / "data", x, y, mask)
    np.savez(tmp_path / "d.npz", x=x, y=y, mask=mask)
    steps = ("--metrics", "id:steps=4,relevance-mass", "--composites", "epsilon-plus")
    for data, out, more in (
        (folder, "a", ("--labels", LABELS, "--preprocess", "unit")),
        (tmp_path / "d.npz", "b", ()),
    ):
        status, _, err = command("evaluate", VGG, data, *steps, *more, "-o", tmp_path / out)
        assert (status, err) == (0, "")
    one, two = (rows(tmp_path / out / "summary.csv") for out in ("a", "b"))
    for a, b in zip(one, two, strict=True):
        assert float(a["mean"]) == pytest.approx(float(b["mean"]), rel=1e-4)


def start(*arguments):
    words = [sys.executable, "-m", "onnxlrp.cli", "evaluate", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(words, env=environment, **pipes)


def interrupted(how, out, *arguments):
    """Start, wait for a few records, then end it."""
    process = start(*arguments, "-o", out)
    journal = out / "samples.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        if journal.is_file() and journal.read_bytes().count(b"\n") > KILL_AFTER:
            break
        time.sleep(0.01)
    process.send_signal(how)
    said, err = process.communicate(timeout=60)
    return process.returncode, said, err


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_run_goes_on(command, arrays, tmp_path, how):
    many = ("--composites", "epsilon-plus,otsuki,gradient", "--metrics", "id:steps=120,infidelity")
    arguments = (RESNET, arrays, *many, "--show", 2)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert command("evaluate", *arguments, "-o", whole)[0] == 0
    status, _, err = interrupted(how, parts, *arguments)
    assert status == (130 if how == signal.SIGINT else -signal.SIGKILL)
    if how == signal.SIGINT:
        assert "the same command goes on" in err
    done = (parts / "samples.jsonl").read_bytes()
    assert KILL_AFTER < done.count(b"\n") < 13
    assert not (parts / "summary.csv").exists()
    (parts / "samples.jsonl").write_bytes(done + b'{"sample": 2, "na')
    assert command("evaluate", *arguments, "-o", parts)[0] == 0
    assert (parts / "samples.jsonl").read_bytes().startswith(done)
    for name in ("samples.jsonl", "summary.csv", "results.csv", "maps/000001-otsuki.png"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()
    before = (parts / "report.html").stat().st_mtime_ns
    assert command("evaluate", *arguments, "-o", parts)[0] == 0
    assert (parts / "samples.jsonl").read_bytes() == (whole / "samples.jsonl").read_bytes()
    assert (parts / "report.html").stat().st_mtime_ns > before


def test_other_settings_in_the_same_folder(command, arrays, tmp_path):
    out = tmp_path / "out"
    one = ("evaluate", VGG, arrays, "-o", out, "--metrics", "sparseness", "--composites")
    assert command(*one, "epsilon")[0] == 0
    status, _, err = command(*one, "gradient")
    assert status == 1
    assert "holds a run with other settings: methods was epsilon, now it is gradient" in err
    assert err.count("\n") == 1
    status, _, err = command(*one, "epsilon", "--limit", 2)
    assert (status, "other settings: data was" in err) == (1, True)
    assert command(*one, "gradient", "--restart")[0] == 0
    assert {row["method"] for row in rows(out / "summary.csv")} == {"gradient"}
    assert [f.name for f in (out / "maps").iterdir() if "epsilon" in f.name] == []


def test_corrupt_pictures_are_skipped(command, folder, tmp_path):
    (folder / "0.png").write_bytes(b"junk")
    whole = (folder / "2.png").read_bytes()
    (folder / "2.png").write_bytes(whole[: len(whole) // 2])
    (folder / "3-mask.png").unlink()
    out = tmp_path / "out"
    more = ("--labels", LABELS, "--preprocess", "unit", "-o", out)
    for _ in range(2):
        status, said, err = command("evaluate", VGG, folder, *FEW, *more)
        assert status == 0
        assert "1 samples, 100.0% predicted rightly, 3 skipped" in said
        assert err.count("\n") == 3
        assert "skipped '0.png': cannot read the picture" in err
        assert "3-mask.png" in err
    assert (out / "samples.jsonl").read_text().count('"failed": "cannot read') == 3
    assert [row["failed"] != "" for row in rows(out / "results.csv")].count(True) == 3
    assert "Skipped: 3" in (out / "report.html").read_text()


def test_a_method_that_fails(command, arrays, tmp_path):
    (tmp_path / "mine.json").write_text(json.dumps({"name": "mine", "rows": []}))
    out = tmp_path / "out"
    method = str(tmp_path / "mine.json")
    more = ("--metrics", "sparseness", "-o", out)
    status, said, err = command("evaluate", VGG, arrays, "--composites", f"{method},epsilon", *more)
    assert (status, err) == (0, "")
    assert f"failed: {method}: " in said
    failed = [row for row in rows(out / "summary.csv") if row["failed"]]
    assert [row["method"] for row in failed] == [method]
    assert "failed" in (out / "report.html").read_text()
    status, said, err = command("evaluate", VGG, arrays, "--composites", method, *more[:2])
    assert status == 1
    assert err.startswith("error: no method worked; the first: ")
    assert err.count("\n") == 1


def test_quantised_maps(command, arrays, tmp_path):
    out = tmp_path / "out"
    arguments = ("--metrics", "sparseness", "--composites", "otsuki", "--quantize", 4)
    assert command("evaluate", VGG, arrays, *arguments, "-o", out, "--limit", 1)[0] == 0
    levels = np.unique(
        np.asarray(Image.open(out / "maps/000000-otsuki.png")).reshape(-1, 3), axis=0
    )
    assert len(levels) <= 4


def test_a_folder_per_class(command, tmp_path):
    x, y, _ = shapes.make(6, 3)
    for k, pixels in enumerate(np.rint(x.transpose(0, 2, 3, 1) * 255).astype(np.uint8)):
        place = tmp_path / "data" / shapes.LABELS[y[k]]
        place.mkdir(parents=True)
        Image.fromarray(pixels).save(place / f"{k}.png")
    arguments = ("--composites", "epsilon", "--metrics", "sparseness", "--preprocess", "unit")
    status, said, err = command("evaluate", VGG, tmp_path / "data", *arguments, "--labels", LABELS)
    assert (status, err) == (0, "")
    assert "6 samples, 100.0% predicted rightly" in said
    assert "folder names found in the labels file" in said
    status, said, _ = command("evaluate", VGG, tmp_path / "data", *arguments)
    assert "the 6 folders in sorted order, 'circle' is 0" in said
    assert "16.7% predicted rightly" in said


def test_rows_and_a_fixed_batch(command, tmp_path):
    text = """
    <ir_version: 10, opset_import: ["" : 21]>
    mlp (float[1,9] row) => (float[1,3] y) {
      h = MatMul(row, w)
      a = Relu(h)
      z = MatMul(a, v)
      y = Softmax(z)
    }"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name, shape in (("w", (9, 7)), ("v", (7, 3))):
        values = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.save(model, tmp_path / "mlp.onnx")
    np.savez(tmp_path / "d.npz", x=rng.normal(size=(5, 9)).astype(np.float32), y=np.arange(5) % 3)
    arguments = ("--composites", "epsilon,gradient", "--metrics", "id:steps=9,conservation")
    out = tmp_path / "out"
    more = ("-o", out, "--json")
    status, said, err = command(
        "evaluate", tmp_path / "mlp.onnx", tmp_path / "d.npz", *arguments, *more
    )
    assert (status, err) == (0, "")
    first = json.loads(said)["methods"][0]["columns"]
    assert first["conservation"]["mean"] < 1e-4
    assert first["id"]["mean"] > 0.1


def test_all_metrics_that_the_data_allows(command, tmp_path):
    x, y, mask = shapes.make(1, 3)
    np.savez(tmp_path / "d.npz", x=x)
    arguments = ("--composites", "epsilon-plus", "--metrics", "all")
    status, said, err = command("evaluate", VGG, tmp_path / "d.npz", *arguments)
    assert (status, err) == (0, "")
    assert "left out for want of labels or masks: pointing-game, relevance-mass" in said
    assert "randomisation_" in said
    np.savez(tmp_path / "d.npz", x=x, y=y, mask=mask)
    status, said, err = command("evaluate", VGG, tmp_path / "d.npz", *arguments)
    assert (status, err) == (0, "")
    assert "left out" not in said


def test_the_same_metric_twice(command, arrays):
    metrics = "insertion:steps=3,insertion:steps=4,sparseness"
    status, said, err = command(
        "evaluate", VGG, arrays, "--composites", "epsilon", "--metrics", metrics, "--limit", 1
    )
    assert (status, err) == (0, "")
    assert "insertion (steps=3)" in said
    assert "insertion (steps=4)" in said


def peak_memory(data, out):
    """Peak resident memory of a whole run, in bytes."""
    code = (
        "import sys; from onnxlrp.cli import main\n"
        "assert main(sys.argv[1:]) == 0\n"
        "lines = open('/proc/self/status').read().splitlines()\n"
        "print('peak', next(line.split()[1] for line in lines if line.startswith('VmHWM:')))"
    )
    words = ["evaluate", VGG, str(data), "--composites", "epsilon", "-o", str(out)]
    words += ["--metrics", "id:steps=2,sparseness", "--batch-size", "4"]
    run = subprocess.run(
        [sys.executable, "-c", code, *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return int(run.stdout.rsplit("peak", 1)[1]) * 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's own figure")
@pytest.mark.parametrize("kind", ["arrays", "pictures"])
def test_memory_does_not_grow_with_the_samples(tmp_path, kind):
    x, y, mask = shapes.make(6, 3)
    peaks = []
    for count in (20, 200):
        pick = np.arange(count) % 6
        if kind == "arrays":
            data = tmp_path / f"{count}.npz"
            np.savez(data, x=x[pick], y=y[pick], mask=mask[pick])
        else:
            data = tmp_path / str(count)
            data.mkdir()
            for k in range(count):
                pixels = np.rint(x[k % 6].transpose(1, 2, 0) * 255).astype(np.uint8)
                Image.fromarray(pixels).save(data / f"{k:04d}.png")
        peaks.append(peak_memory(data, tmp_path / f"out{count}"))
    assert x[0].nbytes * 180 > 2.5 * MEMORY_ROOM
    assert peaks[1] - peaks[0] < MEMORY_ROOM
