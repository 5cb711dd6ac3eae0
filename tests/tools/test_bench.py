"""The benchmarks run and print what they promise; no test looks at a time."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image

from tools.bench import explain, load, memory, op_times, sweep, worker
from tools.bench.nets import NETS, PUBLISHED, SMALL, build, draw, first_classes, image_shape, specs
from tools.bench.plot import straight
from tools.bench.process import Outcome, run_worker
from tools.bench.records import Engine, Setting, lines, summary

PRESETS = ("epsilon", "epsilon-plus")
QUICK = ["--rounds", "1", "--repeats", "2", "--threads", "1"]


def printed_lines(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_explain(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    options = [*QUICK, "--no-peers", "--out", str(out)]
    assert (
        explain.main(["--models", "mlp", "--presets", *PRESETS, "--batch", "1", "3", *options]) == 0
    )
    printed = capsys.readouterr().out
    found = printed_lines(printed)
    assert [(line["preset"], line["batch"]) for line in found] == [
        (preset, batch) for batch in (1, 3) for preset in ("", *PRESETS)
    ]
    assert all(0 < line["ms_min"] <= line["ms_median"] for line in found)
    assert all(line["peak_mib"] > 0 and line["nodes"] > 0 for line in found)
    assert [line["limit"] for line in found] == 2 * [None, 2.0, 2.0]
    assert found[0]["ratio"] == found[3]["ratio_median"] == 1
    assert all(line["new_bytes"] < 2**16 for line in found)
    assert printed_lines(out.read_text()) == found
    table = [line for line in printed.splitlines() if not line.startswith("{")]
    assert len(table) == 1 + len(found)
    assert [row.split()[3] for row in table[1:4]] == ["forward", *PRESETS]


def test_other_compilations(capsys: pytest.CaptureFixture[str]) -> None:
    options = [*QUICK, "--no-peers", "--weights", "recompute", "--without", "cancel"]
    assert explain.main(["--models", "mlp", "--presets", "epsilon", *options]) == 0
    found = printed_lines(capsys.readouterr().out)
    assert {line["variant"] for line in found} == {"recompute, without cancel"}


def test_peers_need_their_packages() -> None:
    assert explain.importable(sys.executable, "json")
    assert not explain.importable(sys.executable, "no_such_package")


def test_peers_have_our_presets() -> None:
    known = {preset.name for preset in explain.PRESETS}
    ours = {name for presets in explain.OTHERS.values() for name in presets}
    asked = {*explain.ZENNIT, *explain.CAPTUM, *explain.LXT, *explain.DEFAULT_PRESETS, *ours}
    assert asked <= known
    assert explain.OTHERS.keys() <= NETS.keys()


def job(tmp_path: Path, **given: Any) -> dict[str, Any]:
    plain = build("mlp")
    onnx.save(plain, tmp_path / "m.onnx")
    usual: dict[str, Any] = {
        "engine": "ort",
        "model": str(tmp_path / "m.onnx"),
        "preset": "",
        "feeds": specs(plain),
        "batches": [1],
        "repeats": 2,
        "seconds": 60,
        "skip_s": 60,
        "threads": 1,
        "provider": "cpu",
        "precision": "fp32",
    }
    return usual | given


def test_worker_measures_every_batch(tmp_path: Path) -> None:
    first, second = worker.measure(job(tmp_path, batches=[1, 2]))
    assert [first["batch"], second["batch"]] == [1, 2]
    assert all(len(item["times"]) == 2 for item in (first, second))
    assert first["load_s"] > 0


def test_worker_leaves_out_what_takes_too_long(tmp_path: Path) -> None:
    first, second = worker.measure(job(tmp_path, batches=[1, 2], skip_s=0))
    assert len(first["times"]) == 2
    assert second.keys() == {"batch", "skipped"}


def test_worker_without_time_has_the_first_run(tmp_path: Path) -> None:
    (found,) = worker.measure(job(tmp_path, seconds=0))
    assert found["times"] == [found["first_ms"]]


def test_worker_only_loads(tmp_path: Path) -> None:
    (found,) = worker.measure(job(tmp_path, batches=[]))
    assert found["batch"] == 0
    assert found["load_s"] > 0
    assert "loaded_mib" in found


def test_inputs_and_outputs_bound_to_a_device(tmp_path: Path) -> None:
    session = ort.InferenceSession(job(tmp_path)["model"])
    (spec,) = specs(build("mlp"))
    assert worker.bound(session, {"image": draw(spec, 2)}, "cpu")() is None


def test_a_session_that_is_not_on_the_gpu(tmp_path: Path) -> None:
    if "CUDAExecutionProvider" not in ort.get_available_providers():
        with pytest.raises(AssertionError, match="not on CUDA"):
            list(worker.measure(job(tmp_path, provider="cuda")))


def test_half_precision(capsys: pytest.CaptureFixture[str]) -> None:
    options = [*QUICK, "--no-peers", "--precision", "fp16"]
    assert explain.main(["--models", "mlp", "--presets", "epsilon", *options]) == 0
    found = printed_lines(capsys.readouterr().out)
    assert [(line["precision"], line["raises"]) for line in found] == 2 * [("fp16", "")]


def test_a_process_that_raises(tmp_path: Path) -> None:
    outcome = run_worker(sys.executable, job(tmp_path, model=str(tmp_path / "none.onnx")), 60)
    assert outcome.results == ()
    assert outcome.raises.startswith("NoSuchFile: ")
    assert "\n" not in outcome.raises


def test_a_process_that_takes_too_long(tmp_path: Path) -> None:
    assert run_worker(sys.executable, job(tmp_path), 0.01).raises == "not done after 0 s"


def engine(name: str, preset: str = "", limit: float | None = None) -> Engine:
    return Engine(engine=name, preset=preset, model=Path("m"), python="", limit=limit)


def ran(*times: float, batch: int = 1) -> Outcome:
    same = {"load_s": 1.0, "load_peak_mib": 9.0, "peak_mib": 8.0, "first_ms": 50.0}
    return Outcome(({"batch": batch, "times": list(times), **same},))


def test_lines() -> None:
    found = {
        engine("ort"): [ran(10, 12), ran(11, 20)],
        engine("ort", "epsilon", 2.0): [ran(30, 24)],
        engine("zennit", "epsilon"): [Outcome((), "TypeError: no rule")],
        engine("captum", "epsilon"): [Outcome(({"batch": 1, "skipped": "about 99 s a run"},))],
    }
    setting = Setting(model="m", provider="cpu", precision="fp32", commit="c")
    plain, ours, raising, skipped = lines(setting, [1], found)
    assert (plain.ms_min, plain.ms_median, plain.runs) == (10, 11.5, 4)
    assert (ours.ratio, ours.ratio_median, ours.over_limit) == (2.4, round(27 / 11.5, 4), 1.2)
    assert (ours.forward_ms, ours.peak_mib, ours.first_ms) == (10, 8, 50)
    assert (raising.raises, raising.ms_min) == ("TypeError: no rule", None)
    assert skipped.raises == "skipped: about 99 s a run"
    table = summary([plain, ours, raising, skipped])
    assert "raises: TypeError: no rule" in table[3]


def test_op_times(capsys: pytest.CaptureFixture[str]) -> None:
    assert op_times.main(["mlp", "epsilon", "--repeats", "2", "--threads", "1"]) == 0
    first, *rows = capsys.readouterr().out.splitlines()
    assert first.startswith("mlp epsilon:")
    assert {"Gemm", "Mul"} <= {row.split()[0] for row in rows}


@pytest.mark.parametrize("name", SMALL)
def test_nets(name: str) -> None:
    plain = build(name, bias=False)
    assert image_shape(plain, 5)[0] == 5
    assert not any("bias" in tensor.name for tensor in plain.graph.initializer)
    assert name not in PUBLISHED


def test_what_is_fed() -> None:
    ids = {"name": "ids", "shape": ["N", 7], "dtype": "int64", "high": 5}
    assert draw(ids, 3).shape == (3, 7)
    assert 0 <= draw(ids, 3).min() <= draw(ids, 3).max() < 5
    assert (draw({**ids, "high": 0}, 3) == 1).all()
    (image,) = specs(build("small_cnn"))
    assert image["shape"] == ["N", 3, 20, 20]
    drawn = draw(image, 2)
    assert (drawn.shape, drawn.dtype) == ((2, 3, 20, 20), np.float32)
    np.testing.assert_array_equal(drawn, draw(image, 2))


def test_first_classes() -> None:
    plain = build("mlp")
    few = first_classes(plain, 3)
    onnx.checker.check_model(few, full_check=True)
    assert few.graph.output[0].type.tensor_type.shape.dim[1].dim_value == 3


def test_memory(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--batch", "1", "2", "--presets", "epsilon", "--threads", "1"]
    assert memory.main(["--models", "mlp", *options]) == 0
    found = [line for line in printed_lines(capsys.readouterr().out) if line["engine"] == "ort"]
    assert [(line["preset"], line["batch"]) for line in found] == [
        ("", 1), ("", 2), ("epsilon", 1), ("epsilon", 2)
    ]  # fmt: skip
    assert all(line["peak_mib"] > 0 and line["kind"] == "memory" for line in found)


def test_load(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--presets", "epsilon-plus", "--rounds", "1", "--threads", "1"]
    assert load.main(["--models", "small_cnn", *options]) == 0
    plain, fold, again = printed_lines(capsys.readouterr().out)
    assert [line["weights"] for line in (plain, fold, again)] == ["", "fold", "recompute"]
    assert (plain["forms"], again["forms"]) == (0, 0)
    assert fold["forms"] > 0
    assert fold["derived"] > 0


def test_sweep(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    options = ["--batch", "1", "2", "3", "--sides", "16", "20", "--presets", "epsilon"]
    options += ["--rounds", "1", "--repeats", "1", "--threads", "1", "--out", str(out)]
    assert sweep.main(["--models", "small_cnn", *options, "--plots", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    found = printed_lines(printed)
    assert [(line["over"], line["preset"], line["batch"], line["side"]) for line in found] == [
        *(("batch", preset, batch, 224) for preset in ("", "epsilon") for batch in (1, 2, 3)),
        *(("pixels", preset, 1, side) for side in (16, 20) for preset in ("", "epsilon")),
    ]
    said = [line for line in printed.splitlines() if not line.startswith("{")]
    assert [text.split(": ")[:2] for text in said] == [
        [over, f"small_cnn {what}"]
        for over in ("batch", "pixels")
        for what in ("forward", "epsilon")
    ]
    again = tmp_path / "again"
    again.mkdir()
    assert sweep.main(["--draw", str(out), "--plots", str(again)]) == 0
    for name in sweep.NAMES.values():
        with Image.open(tmp_path / name) as one, Image.open(again / name) as other:
            assert len(one.convert("RGB").getcolors(1 << 16) or []) > 3
            assert one.tobytes() == other.tobytes()


def test_straight() -> None:
    line = straight([(1, 12), (2, 22), (4, 42)])
    assert (line.slope, line.start) == (pytest.approx(10), pytest.approx(2))
    assert line.worst == pytest.approx(0, abs=1e-9)
    assert straight([(1, 1), (2, 4), (3, 9)]).worst == pytest.approx(2 / 3 / 9)
