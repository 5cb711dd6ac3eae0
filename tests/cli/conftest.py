import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper
from PIL import Image

from onnxlrp.cli import main

CNN = """
<ir_version: 10, opset_import: ["" : 21]>
cnn (float[N,3,16,16] picture) => (float[N,4] scores) {
  c = Conv<pads = [1,1,1,1]>(picture, w, b)
  a = Relu(c)
  p = GlobalAveragePool(a)
  f = Flatten(p)
  logits = Gemm(f, v, d)
  scores = Softmax(logits)
}"""

MLP = """
<ir_version: 10, opset_import: ["" : 21]>
mlp (float[N,5] row) => (float[N,2] y) {
  h = MatMul(row, w)
  a = Relu(h)
  y = MatMul(a, v)
}"""

SCALAR = """
<ir_version: 10, opset_import: ["" : 21]>
two (float[N,5] left, float[N,40] right) => (float[N] y) {
  both = Concat<axis = 1>(left, right)
  h = MatMul(both, w)
  last = Constant<value = int64[1] {1}>()
  y = Squeeze(h, last)
}"""


def build(text, **shapes):
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name, shape in shapes.items():
        values = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.checker.check_model(model, full_check=True)
    return model


@pytest.fixture
def cnn(tmp_path):
    path = tmp_path / "cnn.onnx"
    onnx.save(build(CNN, w=(6, 3, 3, 3), b=(6,), v=(6, 4), d=(4,)), path)
    return str(path)


@pytest.fixture
def mlp(tmp_path):
    path = tmp_path / "mlp.onnx"
    onnx.save(build(MLP, w=(5, 8), v=(8, 2)), path)
    return str(path)


@pytest.fixture
def scalar(tmp_path):
    path = tmp_path / "scalar.onnx"
    onnx.save(build(SCALAR, w=(45, 1)), path)
    return str(path)


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return str(path)


@pytest.fixture
def labels(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_text("cat\ndog\nowl\nbee\n")
    return str(path)


@pytest.fixture
def command(capfd):
    """Run the command line: status, standard output, standard error."""

    def run(*arguments):
        status = main([str(argument) for argument in arguments])
        said = capfd.readouterr()
        return status, said.out, said.err

    return run
