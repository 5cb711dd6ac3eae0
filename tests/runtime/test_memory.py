"""What a session holds: derived weights as ONNX Runtime folds them, and the peak of a run."""

import subprocess
import sys

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper

import onnxlrp
from onnxlrp.costs import count
from onnxlrp.metadata import SCOPE
from onnxlrp.runtime import Explainer
from tests.nets import RESNET, VGG, pictures
from tests.runtime.cuda import ON_CPU

PRESETS = ["epsilon", "epsilon-plus", "epsilon-plus-flat", "epsilon-alpha2-beta1"]
SMALL = 2048  # bytes; scalars and biases that the two sides fold in other ways


def folded(model, path) -> dict[str, int]:
    """Bytes of the initializers that ONNX Runtime makes of constants."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    own = {tensor.name for tensor in model.graph.initializer}
    made = [t for t in onnx.load(path).graph.initializer if t.name not in own]
    return {
        t.name: int(np.prod(t.dims)) * helper.tensor_dtype_to_np_dtype(t.data_type).itemsize
        for t in made
    }


@pytest.mark.parametrize("preset", PRESETS)
def test_the_derived_weights_are_those_that_the_runtime_folds(preset, tmp_path):
    model = onnxlrp.compile(VGG, composite=preset).model
    cost = count(model)
    made = {name: size for name, size in folded(model, tmp_path / "o.onnx").items() if size > SMALL}
    listed = {value.name: value.size for value in cost.derived if value.size > SMALL}
    assert listed == made
    assert cost.weights == sum(
        onnx.numpy_helper.to_array(t).nbytes for t in model.graph.initializer
    )


def test_several_targets_do_not_repeat_the_prediction():
    def deployed(graph):
        nodes = [n for n in graph.model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
        return sum(not n.name.startswith(SCOPE) for n in nodes)

    single = onnxlrp.compile(RESNET, composite="epsilon-plus", target="input")
    several = onnxlrp.compile(RESNET, composite="epsilon-plus", target="input:3")
    source = onnx.load(RESNET).graph.node
    wanted = sum(n.op_type in ("Conv", "Gemm", "MatMul") for n in source)
    assert deployed(single) == deployed(several) == wanted
    x = {"image": pictures(2)}
    together = Explainer(several, ON_CPU)(x, target=[[0, 1, 2]] * 2).relevance["image"]
    for k in range(3):
        alone = Explainer(single, ON_CPU)(x, target=k).relevance["image"]
        np.testing.assert_allclose(together[:, k], alone, atol=1e-6 * np.abs(alone).max())


_CHAIN = """
import numpy as np
from onnxlrp.runtime import Explainer
from onnxlrp.runtime.batching import peak_memory, reset_peak, resident_memory
from tests.runtime import graphs
steps, rows = 40, 1 << 21
body = "\\n".join(f"  h{k + 1} = Sin(h{k})" for k in range(steps))
text = 'g (float[N,3] x) => (float[N,3] y, float[N,3] "relevance/x") {{\\n  h0 = Neg(x)\\n{}\\n'
text = text.format(body) + f'  y = Neg(h{steps})\\n  "relevance/x" = Mul(y, x)\\n}}'
explain = Explainer(graphs.explanation(text), ["CPUExecutionProvider"])
x = {"x": np.ones((rows, 3), np.float32)}
reset_peak()
before = resident_memory()
for _ in range(3):
    explain(x, batch_size=rows)
if peak_memory() is not None:
    print((peak_memory() - before) / x["x"].nbytes)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_values_are_freed_as_soon_as_they_are_read():
    """A chain needs two values at a time, and two outputs; memory patterns would add two more."""
    command = [sys.executable, "-c", _CHAIN]
    said = subprocess.run(command, capture_output=True, text=True, check=True)
    if not said.stdout:
        pytest.skip("the system does not tell the peak")
    assert float(said.stdout) < 6
