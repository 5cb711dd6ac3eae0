"""What a metric is given: scores, maps, masks, boxes, random models; what the journal keeps."""

from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

import onnxlrp
from models import shapes
from onnxlrp.data.datasets.folders import list_data
from onnxlrp.data.datasets.items import ItemReader
from onnxlrp.data.preprocess import PRESETS
from onnxlrp.errors import DataError
from onnxlrp.evaluation.frame import black
from onnxlrp.evaluation.journal import Journal
from onnxlrp.evaluation.measures import Measure
from onnxlrp.evaluation.plain import Plain, open_source
from onnxlrp.evaluation.runner import Job, run
from onnxlrp.metrics import Asked, Metric, Score

MODEL = "models/shapes_resnet.onnx"
METHODS = ("epsilon-plus", "otsuki", "gradient", "gradient-x-input")


@dataclass(frozen=True)
class Nothing:
    pass


def spy(seen, *needs):
    """A metric that keeps the cases."""

    def measure(case, options):
        seen.append(case)
        return Score(values={"sum": float(case.heat.sum())}, curves={"c": np.arange(3.0)})

    metric = Metric(
        name="spy", source="", needs=needs, better={"sum": ""}, options=Nothing, measure=measure
    )
    return Measure(asked=Asked(metric=metric, options=Nothing(), title="spy"))


def job(data, measures, steps=PRESETS["unit"], **keywords):
    source = open_source(MODEL)
    plain = Plain(source)
    listing = list_data(str(data), shapes.LABELS)
    reader = ItemReader.make(listing, plain.frame.port, steps)
    keywords.setdefault("methods", METHODS)
    return Job(
        source=source,
        plain=plain,
        reader=reader,
        measures=measures,
        black=black(plain.frame, steps),
        **keywords,
    )


@pytest.fixture
def arrays(tmp_path):
    x, y, mask = shapes.make(3, 11)
    np.savez(tmp_path / "d.npz", x=x, y=y, mask=mask)
    return tmp_path / "d.npz"


def ran(made, tmp_path):
    journal = Journal(tmp_path / "j.jsonl", {})
    failures = run(made, journal, lambda done, total: None)
    records = list(journal.records())
    journal.close()
    return failures, records


def test_a_case_is_what_the_explainer_says(arrays, tmp_path):
    seen = []
    failures, records = ran(job(arrays, (spy(seen),)), tmp_path)
    assert failures == {}
    x, y, mask = shapes.make(3, 11)
    assert len(seen) == len(records) == len(METHODS) * 3
    for k, (case, record) in enumerate(zip(seen, records, strict=True)):
        method, sample = METHODS[k // 3], k % 3
        graph = onnxlrp.compile(MODEL, composite=method, target="input", heatmap=True)
        result = onnxlrp.Explainer(graph)({"image": x[[sample]]}, target=[case.predicted])
        np.testing.assert_array_equal(case.x, x[sample])
        np.testing.assert_array_equal(case.heat, result.heatmap["image"][0])
        np.testing.assert_allclose(case.scores, result.outputs["logits"][0], rtol=1e-4, atol=1e-4)
        np.testing.assert_array_equal(case.mask, mask[sample])
        assert case.total == pytest.approx(float(result.relevance["image"].sum()), rel=1e-5)
        assert case.predicted == case.explained == int(case.scores.argmax())
        assert (case.label, record.label) == (y[sample], y[sample])
        assert (record.sample, record.method, record.predicted) == (sample, method, case.predicted)
        assert record.values == {"sum": float(case.heat.sum())}
        assert record.curves == {"c": [0, 1, 2]}


def test_what_should_have_started(arrays, tmp_path):
    seen = []
    ran(job(arrays, (spy(seen),)), tmp_path)
    powers = np.exp(seen[0].scores - seen[0].scores.max())
    score, share = seen[0].scores.max(), (powers / powers.sum()).max()
    starts = [seen[3 * k].start for k in range(len(METHODS))]
    assert starts == [
        pytest.approx(score),
        pytest.approx(share),
        None,
        pytest.approx(score),
    ]


def test_seeds_belong_to_samples(arrays, tmp_path):
    seen = []
    ran(job(arrays, (spy(seen),), methods=METHODS[:2]), tmp_path)
    seeds = [case.seed for case in seen]
    assert seeds[:3] == seeds[3:]
    assert len(set(seeds)) == 3


def test_the_same_method_again_and_on_random_models(arrays, tmp_path):
    seen = []
    ran(job(arrays, (spy(seen, "randomised"),), methods=METHODS[:1]), tmp_path)
    case = seen[1]
    target = np.array([case.explained, 0])
    both = case.explain(np.stack([case.x, case.x]), target)
    assert both.shape == (2, 64, 64)
    np.testing.assert_allclose(both[0], case.heat, atol=1e-5 * np.abs(case.heat).max())
    assert not np.allclose(both[0], both[1])
    assert list(case.randomised) == ["last third", "last two thirds", "all"]
    for explain in case.randomised.values():
        other = explain(case.x[None], target[:1])[0]
        assert np.isfinite(other).all()
        assert not np.allclose(other, case.heat)


def test_random_models_are_made_only_where_they_are_asked_for(arrays, tmp_path):
    seen = []
    ran(job(arrays, (spy(seen),), methods=METHODS[:1]), tmp_path)
    assert seen[0].randomised == {}


def test_the_label_is_explained(arrays, tmp_path):
    seen = []
    made = job(arrays, (spy(seen),), methods=METHODS[:1], explain="label")
    made.check()
    ran(made, tmp_path)
    assert [case.explained for case in seen] == [0, 1, 2]


def test_pictures_with_masks_and_boxes(tmp_path):
    x, _, mask = shapes.make(1, 11, 128)
    pixels = np.rint(x[0].transpose(1, 2, 0) * 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    Image.fromarray(mask[0]).save(tmp_path / "m.png")
    v, u = np.nonzero(mask[0])
    (tmp_path / "images.csv").write_text(
        f"file,label,mask,box\na.png,circle,m.png,{u.min()} {v.min()} {u.max() + 1} {v.max() + 1}\n"
    )
    seen = []
    ran(job(tmp_path, (spy(seen),), methods=METHODS[:1]), tmp_path)
    (case,) = seen
    assert case.x.shape == (3, 64, 64)
    np.testing.assert_array_equal(case.mask, mask[0, 1::2, 1::2])
    ((left, top, right, bottom),) = case.boxes
    inside = np.zeros((64, 64), bool)
    inside[top:bottom, left:right] = True
    assert case.mask[inside].sum() >= 0.97 * case.mask.sum()
    assert case.black.tolist() == [0, 0, 0]


def test_labels_are_checked_against_the_model(tmp_path):
    x, _, _ = shapes.make(2, 11)
    np.savez(tmp_path / "d.npz", x=x, y=np.array([0, 6]))
    with pytest.raises(DataError, match="label 6 of '1': the model has classes 0 to 5"):
        job(tmp_path / "d.npz", ()).check()
    np.savez(tmp_path / "e.npz", x=x)
    with pytest.raises(DataError, match="sample '0' has no label"):
        job(tmp_path / "e.npz", (), explain="label").check()
    for name in ("a", "b"):
        (tmp_path / "f" / name).mkdir(parents=True)
        Image.new("RGB", (64, 64)).save(tmp_path / "f" / name / "1.png")
    listing = list_data(str(tmp_path / "f"))
    plain = Plain(open_source(MODEL))
    made = Job(
        source=open_source(MODEL),
        plain=plain,
        reader=ItemReader.make(listing, plain.frame.port),
        methods=METHODS,
        measures=(),
        black=black(plain.frame, None),
    )
    with pytest.raises(DataError, match="has 2 classes by their sorted names, the model 6"):
        made.check()


def test_a_mask_that_does_not_fit(tmp_path):
    x, _, _ = shapes.make(1, 11)
    np.savez(tmp_path / "d.npz", x=x, mask=np.ones((1, 8, 8)))
    with pytest.raises(DataError, match=r"the mask has shape \[8, 8\], the input \[64, 64\]"):
        ran(job(tmp_path / "d.npz", (spy([]),), methods=METHODS[:1]), tmp_path)


GREY = "u = Unsqueeze(x, {})  t = Concat<axis = 1>(u, u, u)"
FORMS = {
    "NHWC": ("N,16,16,3", "N,4", "t = Transpose<perm = [0,3,1,2]>(x)", "y = Softmax(z)"),
    "CHW": ("3,16,16", "4", "t = Unsqueeze(x, k)", "y = Squeeze(z, k)"),
    "NHW": ("N,16,16", "N,4", GREY.format("one"), "y = Identity(z)"),
    "NCW": ("N,3,256", "N,4", "t = Reshape(x, square)", "y = Identity(z)"),
    "HW": ("16,16", "N,4", GREY.format("two"), "y = Identity(z)"),
}


def other_form(path, axes):
    """The same network behind another form of the input."""
    given, made, before, after = FORMS[axes]
    text = f"""
    <ir_version: 10, opset_import: ["" : 21]>
    net (float[{given}] x) => (float[{made}] y) {{
      k = Constant<value = int64[1] {{0}}>()
      one = Constant<value = int64[1] {{1}}>()
      two = Constant<value = int64[2] {{0, 1}}>()
      square = Constant<value = int64[4] {{-1, 3, 16, 16}}>()
      {before}
      c = Conv<pads = [1,1,1,1]>(t, w)
      a = Relu(c)
      p = GlobalAveragePool(a)
      f = Flatten(p)
      z = Gemm(f, v)
      {after}
    }}"""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(0)
    for name, shape in (("w", (6, 3, 3, 3)), ("v", (6, 4))):
        values = rng.normal(size=shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    onnx.save(model, path)
    return str(path)


@pytest.mark.parametrize("axes", FORMS)
def test_other_forms_of_input(tmp_path, axes):
    """Relevance of a bias-free network is conserved in every form; maps lie where pixels do."""
    path = other_form(tmp_path / "net.onnx", axes)
    per_sample = axes.replace("N", "")
    sizes = {"C": 3, "H": 16, "W": 256 if axes == "NCW" else 16}
    shape = tuple(sizes[axis] for axis in per_sample)
    x = np.random.default_rng(1).normal(size=(2, *shape)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x)
    source = open_source(path)
    plain = Plain(source, layout="ncw" if axes == "NCW" else None)
    assert plain.frame.axes == axes
    listing = list_data(str(tmp_path / "d.npz"))
    seen = []
    made = Job(
        source=source,
        plain=plain,
        reader=ItemReader.make(listing, plain.frame.port),
        methods=("epsilon", "gradient-x-input"),
        measures=(spy(seen),),
        black=black(plain.frame, None),
    )
    made.check()
    failures, records = ran(made, tmp_path)
    assert failures == {}
    assert [record.failed for record in records] == [""] * 4
    for case in seen:
        assert case.heat.shape == case.x.shape[1:]
        assert case.heat.sum() == pytest.approx(case.scores[case.explained], rel=1e-3)
        assert case.total == pytest.approx(case.start, rel=1e-3)
    assert not np.allclose(seen[0].heat, seen[1].heat)
