from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from PIL import Image

from models import shapes

FOLDER = Path(shapes.__file__).parent
BAR = {"digits": 0.97, "shapes": 0.95}
SHIPPED = ("digits_mlp", "digits_resnet", "shapes_vgg", "shapes_resnet")
MOST_BYTES = 1_500_000


def heldout(task: str) -> tuple[np.ndarray, np.ndarray]:
    if task == "shapes":
        x, y, _ = shapes.make(300, seed=1234)
        return x, y
    data = pytest.importorskip("sklearn.datasets")
    selection = pytest.importorskip("sklearn.model_selection")
    x, y = data.load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32).reshape(-1, 1, 8, 8)
    _, x, _, y = selection.train_test_split(x, y, test_size=0.2, random_state=0, stratify=y)
    return x, y


def logits(name: str, x: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(FOLDER / f"{name}.onnx")
    return session.run(["logits"], {"image": x})[0]


def picture(path: Path, size: int) -> np.ndarray:
    with Image.open(path) as image:
        pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR), np.float32) / 255
    return pixels.transpose(2, 0, 1)[None]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_model_reaches_its_accuracy(name: str) -> None:
    path, task = FOLDER / f"{name}.onnx", name.partition("_")[0]
    onnx.checker.check_model(onnx.load(path), full_check=True)
    assert path.stat().st_size < MOST_BYTES
    x, y = heldout(task)
    found = logits(name, x)
    assert found.shape[1] == len((FOLDER / f"{task}_labels.txt").read_text().split())
    assert (found.argmax(1) == y).mean() >= BAR[task]


@pytest.mark.parametrize("name", ["shapes_vgg", "shapes_resnet"])
@pytest.mark.parametrize("path", sorted(FOLDER.glob("pictures/shapes_*.png")), ids=lambda p: p.stem)
def test_example_scene_is_recognised(name: str, path: Path) -> None:
    labels = (FOLDER / "shapes_labels.txt").read_text().split()
    assert labels[logits(name, picture(path, 64)).argmax()] == path.stem.removeprefix("shapes_")
