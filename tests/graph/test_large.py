"""A model of three GiB is compiled beside its weights, not around a second copy of them."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from onnx import ModelProto, TensorProto, helper

ROOT = Path(__file__).parents[2]
GIB = 1 << 30
SIZE = 3 * GIB
LAYERS = 12
MOST_MEMORY = 1.3
"""Times the size of the model, as promised."""

MOST_SECONDS = 60
MOST_BYTES = 4096 * 2 * LAYERS + (64 << 10)
"""What a graph may add: 4 KiB per source node, and small initializers."""

JOB = """
import json, sys, time
import onnxlrp

def peak():
    # not getrusage: its maximum begins with that of the process that started this one
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))

before, began = peak(), time.perf_counter()
graph = onnxlrp.compile(sys.argv[1], composite=sys.argv[3])
graph.save(sys.argv[2])
after, took = peak(), time.perf_counter() - began
print(json.dumps({"before": before * 1024, "peak": after * 1024, "seconds": took}))
"""


def external(name: str, side: int, offset: int) -> TensorProto:
    """A float matrix whose numbers lie in `w.bin`."""
    size = 4 * side * side
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[side, side])
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", "w.bin"), ("offset", offset), ("length", size)):
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def chain(folder: Path, size: int) -> Path:
    """MatMul and Relu in turn; the file of the weights is full of holes, so it takes no room."""
    side = int((size / 4 / LAYERS) ** 0.5) // 16 * 16
    nodes, weights, x = [], [], "x"
    for k in range(LAYERS):
        weights.append(external(f"w{k}", side, 4 * side * side * k))
        nodes.append(helper.make_node("MatMul", [x, f"w{k}"], [f"m{k}"], name=f"matmul{k}"))
        nodes.append(helper.make_node("Relu", [f"m{k}"], [f"r{k}"], name=f"relu{k}"))
        x = f"r{k}"
    ends = [helper.make_tensor_value_info(name, 1, ["N", side]) for name in ("x", x)]
    graph = helper.make_graph(nodes, "chain", ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path = folder / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with (folder / "w.bin").open("wb") as file:
        file.truncate(4 * side * side * LAYERS)
    return path


def has_room(folder: Path, size: int) -> bool:
    """Room for the model and, where the file system fills the holes, for its bytes."""
    return shutil.disk_usage(folder).free > 1.2 * size


def places(model: ModelProto) -> dict[str, list[tuple[str, str]]]:
    """Where the numbers of each external weight lie."""
    tensors = (t for t in model.graph.initializer if t.data_location == TensorProto.EXTERNAL)
    return {t.name: sorted((e.key, e.value) for e in t.external_data) for t in tensors}


@pytest.mark.slow
@pytest.mark.parametrize("composite", ["epsilon", "epsilon-plus"])
def test_three_gib(composite: str, tmp_path: Path) -> None:
    if not has_room(tmp_path, SIZE):
        pytest.skip("no room on the disk for three GiB")
    path, out = chain(tmp_path, SIZE), tmp_path / "model.lrp.onnx"
    size = (tmp_path / "w.bin").stat().st_size
    assert size > 0.99 * SIZE
    command = [sys.executable, "-c", JOB, str(path), str(out), composite]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env=environment, timeout=600
    )
    found = json.loads(done.stdout)
    assert found["peak"] <= MOST_MEMORY * size
    assert found["seconds"] < MOST_SECONDS
    assert out.stat().st_size - path.stat().st_size <= MOST_BYTES
    made = onnx.load_model(out, load_external_data=False)
    assert len(places(made)) == LAYERS
    assert places(made) == places(onnx.load_model(path, load_external_data=False))
    assert sorted(item.name for item in tmp_path.iterdir()) == [
        "model.lrp.onnx",
        "model.onnx",
        "w.bin",
    ]
    (tmp_path / "w.bin").unlink()


def test_a_file_that_is_too_short_is_refused(tmp_path: Path) -> None:
    """The same chain, small: the last weight ends behind the end of the file."""
    path = chain(tmp_path, 1 << 20)
    with (tmp_path / "w.bin").open("r+b") as file:
        file.truncate((tmp_path / "w.bin").stat().st_size - 1)
    command = [sys.executable, "-c", JOB, str(path), str(tmp_path / "out.onnx"), "epsilon"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment, timeout=600
    )
    assert done.returncode == 1
    assert "ModelError: initializer 'w11'" in done.stderr
    assert not (tmp_path / "out.onnx").exists()
