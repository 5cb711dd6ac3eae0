"""The pages of `explain` and `inspect`, and the graph in DOT: complete, escaped, self-contained."""

import base64
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper
from PIL import Image

MODELS = Path(__file__).parents[2] / "models"
NASTY = "<script>alert(\"1\")</script> & \\N 'x'"
VOID = {"meta", "img", "link", "br", "input"}


class Page(HTMLParser):
    """What a browser would see: tags, attributes, texts; a tag left open fails."""

    def __init__(self, path):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(Path(path).read_text(encoding="utf-8"))
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]

    def pictures(self):
        data = [image["src"].removeprefix("data:image/png;base64,") for image in self.all("img")]
        return [Image.open(io.BytesIO(base64.b64decode(part, validate=True))) for part in data]


def opened(path):
    """Read a page that loads nothing and runs nothing."""
    page = Page(path)
    assert not {"script", "link", "iframe", "object", "base"} & {name for name, _ in page.tags}
    for _, attributes in page.tags:
        assert not [name for name in attributes if name.startswith("on")]
        assert attributes.get("src", "data:").startswith("data:")
        assert attributes.get("href", "#").startswith("#")
    ids = {attributes["id"] for _, attributes in page.tags if "id" in attributes}
    assert {link["href"][1:] for link in page.all("a")} <= ids
    assert "url(" not in "".join(page.texts)
    return page


def test_explain_pictures_on_one_page(command, tmp_path):
    out, labels = tmp_path / "out.html", tmp_path / "labels.txt"
    labels.write_text("\n".join(["circle", "square", "triangle", "cross", "ring", NASTY]))
    status, said, err = command(
        "explain", MODELS / "shapes_vgg.onnx", MODELS / "pictures", "-o", out, "--labels", labels
    )
    assert (status, err) == (0, "")
    assert f"wrote {out}" in said
    page = opened(out)
    assert [image.width > 1000 for image in page.pictures()] == [True, True]
    assert f"shapes_star: {NASTY}" in page.texts
    for name, value in (("composite", "auto (epsilon-plus)"), ("target", "5")):
        assert page.texts[page.texts.index(name) + 1] == value
    for text in ("conservation R / f", "explained score f", "output 'logits' (bars: softmax)"):
        assert page.texts.count(text) == 2
    assert sum("assumed preprocessing 'imagenet'" in text for text in page.texts) == 2
    assert {"#sample-0", "#sample-1"} == {link["href"] for link in page.all("a")}


def test_one_sample_with_two_inputs_and_no_classes(command, scalar, tmp_path):
    rng = np.random.default_rng(0)
    name = "<i>x &amp; y"
    np.savez(tmp_path / name, left=rng.normal(size=(1, 5)), right=rng.normal(size=(1, 40)))
    status, _, err = command("explain", scalar, tmp_path / f"{name}.npz", "-o", tmp_path / "o.HTML")
    assert (status, err) == (0, "")
    page = opened(tmp_path / "o.HTML")
    assert len(page.pictures()) == 2
    assert f"Relevance: {name}" in page.texts
    assert not page.all("i")
    assert "score" not in page.texts


def test_a_page_is_the_same_every_time(command, mlp, tmp_path):
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(3, 5)))
    for name in ("a.html", "b.html"):
        assert command("explain", mlp, tmp_path / "x.npy", "-o", tmp_path / name)[0] == 0
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    assert len(opened(tmp_path / "a.html").pictures()) == 3


def test_too_many_samples_for_a_page(command, mlp, tmp_path):
    np.save(tmp_path / "x.npy", np.ones((300, 5)))
    status, _, err = command("explain", mlp, tmp_path / "x.npy", "-o", tmp_path / "o.html")
    assert status == 1
    assert "more than 256 samples" in err
    assert not (tmp_path / "o.html").exists()


def nasty_model(path):
    """x -> Relu -> an operator that nobody knows -> y, with names that want to be markup."""
    names = ["x", f"{NASTY}\n", "y"]
    nodes = [
        helper.make_node("Relu", [names[0]], [names[1]], f'"];{NASTY}'),
        helper.make_node("Frobnicate", [names[1]], [names[2]], "odd", domain="com.example"),
    ]
    values = [helper.make_tensor_value_info(name, 1, ["N", 3]) for name in names]
    graph = helper.make_graph(nodes, "g", values[:1], values[2:], value_info=values[1:2])
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_inspect_page(command, tmp_path):
    out = tmp_path / "o.html"
    model = MODELS / "shapes_resnet.onnx"
    status, said, err = command("inspect", model, "--composite", "epsilon", "--html", out)
    assert (status, err) == (0, "")
    assert f"wrote {out}" in said
    page = opened(out)
    assert "coverage 100.0%, 0 nodes unsupported" in page.texts
    assert any(text.startswith("cost 2.00 forward passes") for text in page.texts)
    for text in ("layer1.0.add", "Proportional(epsilon=1e-06)", "lrp/layer3.1.conv2/Transpose_0"):
        assert text in page.texts
    assert "#node-2" in {link["href"] for link in page.all("a")}
    assert not [row for row in page.all("tr") if row.get("class") == "wrong"]


def test_unsupported_nodes_stand_out(command, tmp_path):
    model = nasty_model(tmp_path / "m.onnx")
    out = tmp_path / "o.html"
    status, said, err = command("inspect", model, "--html", out)
    assert (status, err) == (0, "")
    assert "the cost cannot be told: node 'odd'" in said
    page = opened(out)
    assert [row["class"] for row in page.all("tr") if "class" in row] == ["wrong", "wrong"]
    assert "coverage 50.0%, 1 nodes unsupported" in page.texts
    assert f'"];{NASTY}' in page.texts
    assert f"{NASTY}\n" in page.texts


def test_dot(command, tmp_path):
    out = tmp_path / "o.dot"
    status, _, err = command("inspect", MODELS / "shapes_resnet.onnx", "--dot", out, "--json")
    assert (status, err) == (0, "")
    text = out.read_text()
    assert text.startswith("digraph model {\n")
    assert 'label="layer1.0.add\\nAdd: Sum\\nRatio()"' in text
    assert len(re.findall(r'site\d+ -> site\d+ \[label="layer1.0.add.relu"]', text)) == 2
    assert 'input0 -> site0 [label="image"]' in text
    assert '-> output [label="logits"]' in text


@pytest.mark.skipif(shutil.which("dot") is None, reason="graphviz is not installed")
@pytest.mark.parametrize("name", ["shapes_resnet", "digits_resnet", "nasty"])
def test_graphviz_reads_it(command, tmp_path, name):
    path = nasty_model(tmp_path / "m.onnx") if name == "nasty" else MODELS / f"{name}.onnx"
    out = tmp_path / "o.dot"
    assert command("inspect", path, "--dot", out)[0] == 0
    run = subprocess.run(["dot", "-Tjson", out], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    nodes = json.loads(run.stdout)["objects"]
    assert len(nodes) == len(re.findall(r"^  (input|site|output)\d* \[", out.read_text(), re.M))
    svg = subprocess.run(["dot", "-Tsvg", out], capture_output=True, text=True, check=True).stdout
    if name == "nasty":
        assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; \\N" in svg


def test_nasty_names_are_quoted(command, tmp_path):
    out = tmp_path / "o.dot"
    assert command("inspect", nasty_model(tmp_path / "m.onnx"), "--dot", out)[0] == 0
    line = next(line for line in out.read_text().splitlines() if "Relu" in line)
    quoted = '\\"];<script>alert(\\"1\\")</script> &amp; \\\\N \'x\''
    assert f'[label="{quoted}\\nRelu: Pointwise\\nPass()"' in line


def test_json_with_the_cost(command, cnn, tmp_path):
    status, out, _ = command("inspect", cnn, "--json", "--html", tmp_path / "o.html")
    assert status == 0
    report = json.loads(out)
    assert report["cost_unknown"] is None
    assert report["cost"]["passes"] > 1
    assert report["cost"]["uncounted"] == []
    assert set(report["cost"]["derived"][0]) == {"name", "shape", "size"}
    assert report["rows"][0]["inputs"] == ["picture"]
    assert report["rows"][1]["inputs"] == report["rows"][0]["outputs"]
    status, out, _ = command("inspect", nasty_model(tmp_path / "m.onnx"), "--json")
    report = json.loads(out)
    assert status == 0
    assert report["cost"] is None
    assert "Frobnicate" in report["cost_unknown"]


@pytest.mark.parametrize(("composite", "passes"), [("epsilon", "2.00"), ("epsilon-plus", "3.08")])
def test_cost_is_printed(command, composite, passes):
    status, out, _ = command("inspect", MODELS / "shapes_vgg.onnx", "--composite", composite)
    assert status == 0
    assert f"cost {passes} forward passes: 44,302,720 multiply-adds" in out
    assert "MiB  lrp/conv4_2/Transpose_0" in out
    assert ("smaller ones (--why)" in out) == (composite == "epsilon-plus")
    status, out, _ = command(
        "inspect", MODELS / "shapes_vgg.onnx", "--composite", composite, "--why"
    )
    assert "smaller ones" not in out
