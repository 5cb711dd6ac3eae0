"""`tools/gpu_check.py` on a GPU, without one, and as a dry run on the CPU."""

import json
from pathlib import Path

import pytest

from onnxlrp.runtime.providers import cuda_works
from tools import gpu_check

SMALL = ["--models", "mlp", "small_cnn", "--batch", "1", "2", "--repeats", "1"]


@pytest.mark.cuda
@pytest.mark.skipif(not cuda_works(), reason="no GPU that ONNX Runtime can use")
def test_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = ["--models", *gpu_check.SMALL]
    status = gpu_check.main([*models, "--repeats", "3", "-o", str(tmp_path / "gpu.json")])
    assert status == 0, capsys.readouterr().out


@pytest.mark.skipif(cuda_works(), reason="there is a GPU")
def test_no_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(["-o", str(tmp_path / "gpu.json")]) == 1
    printed = capsys.readouterr().out
    assert printed.startswith("error: ONNX Runtime finds no usable GPU")
    assert len(printed.splitlines()) == 1
    assert not (tmp_path / "gpu.json").exists()


def test_dry_run(tmp_path: Path) -> None:
    path = tmp_path / "gpu.json"
    presets = ["--presets", "epsilon", "epsilon-plus-flat"]
    assert gpu_check.main(["--provider", "cpu", *SMALL, *presets, "-o", str(path)]) == 0
    results = json.loads(path.read_text())["results"]
    assert [(item["model"], item["preset"]) for item in results] == [
        ("mlp", "epsilon"),
        ("mlp", "epsilon-plus-flat"),
        ("small_cnn", "epsilon"),
        ("small_cnn", "epsilon-plus-flat"),
    ]
    for item in results:
        assert item["relevance_difference"] == 0
        assert item["assignment"]["counts"]["emitted"] > 0
        assert item["assignment"]["predicted_elsewhere"] == []
        assert set(item["explanation"]) == {"1", "2"}
