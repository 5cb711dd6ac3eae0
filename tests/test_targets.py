"""Where relevance starts, seen from the maps."""

import numpy as np
import onnx
import pytest

from onnxlrp import InputError, RuleError, compile  # noqa: A004
from tests.nets import DIGITS, MLP, RESNET, pictures, run

SAME = 1e-5
"""Of max|R|: one walk linear in its seed, in float32."""


def maps(target, x, **options):
    graph = compile(RESNET, composite="epsilon-plus", target=target, **options)
    return run(graph, {"image": x})["relevance/image"]


def close(found, expected):
    assert np.abs(found - expected).max() <= SAME * np.abs(expected).max()


def softmax(y):
    e = np.exp(y - y.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


@pytest.fixture(scope="module")
def x():
    return pictures()


@pytest.fixture(scope="module")
def logits(x):
    return run(compile(RESNET), {"image": x})["logits"]


def test_argmax_is_the_largest_index(x, logits):
    single = [maps(int(i), x[n : n + 1]) for n, i in enumerate(logits.argmax(axis=1))]
    close(maps("argmax", x), np.concatenate(single))


def test_negative_index_counts_from_the_end(x):
    close(maps(-1, x), maps(5, x))
    close(maps("-1", x), maps("5", x))


@pytest.mark.parametrize("target", ["6", "-7", "1,2", "argmin", "contrast:1", "input:0", "clrp:x"])
def test_targets_that_there_are_not(target):
    with pytest.raises(InputError, match="target"):
        compile(RESNET, target=target)


SEQUENCE = """<ir_version: 10, opset_import: ["" : 21]>
g (float[N,4,3] x) => (float[N,4,3] y) { y = Identity(x) }"""


def test_position_fixes_leading_indices():
    model = onnx.parser.parse_model(SEQUENCE)
    x = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    graph = compile(model, composite="gradient", position=(2,))
    expected = np.zeros_like(x)
    expected[np.arange(2), 2, x[:, 2].argmax(axis=1)] = 1
    assert np.array_equal(run(graph, {"x": x})["relevance/x"], expected)


def test_position_out_of_range_at_run_time_is_nan():
    model = onnx.parser.parse_model(SEQUENCE.replace("N,4,3", "N,L,3"))
    graph = compile(model, composite="gradient", position=(9,))
    assert np.isnan(run(graph, {"x": np.ones((1, 4, 3), np.float32)})["relevance/x"]).any()


@pytest.mark.parametrize("position", [(4,), (-5,), (1, 2)])
def test_positions_that_there_are_not(position):
    with pytest.raises(InputError, match="position"):
        compile(onnx.parser.parse_model(SEQUENCE), position=position)


def test_target_as_input(x):
    graph = compile(RESNET, composite="epsilon-plus", target="input")
    feeds = {"image": x, "target": np.array([4, -1])}
    found = run(graph, feeds)["relevance/image"]
    close(found, np.concatenate([maps(4, x[:1]), maps(5, x[1:])]))


def test_target_out_of_range_at_run_time_is_nan(x):
    graph = compile(RESNET, composite="epsilon-plus", target="input")
    found = run(graph, {"image": x, "target": np.array([6, 1])})["relevance/image"]
    assert np.isnan(found[0]).any()
    assert np.isfinite(found[1]).all()


def test_several_targets_per_sample(x):
    graph = compile(RESNET, composite="epsilon-plus", target="input:3")
    targets = np.array([[0, 1, 2], [3, 4, 5]])
    found = run(graph, {"image": x, "target": targets})["relevance/image"]
    assert found.shape == (2, 3, *x.shape[1:])
    for n in range(2):
        for k in range(3):
            close(found[n, k], maps(int(targets[n, k]), x[n : n + 1])[0])


def test_seed_is_linear(x):
    graph = compile(RESNET, composite="epsilon-plus", target="seed")
    rng = np.random.default_rng(0)
    one, two = rng.normal(size=(2, 2, 6)).astype(np.float32)
    parts = [run(graph, {"image": x, "seed": s})["relevance/image"] for s in (one, two, one + two)]
    close(parts[0] + parts[1], parts[2])


def seeded(x, seed):
    graph = compile(RESNET, composite="epsilon-plus", target="seed")
    return run(graph, {"image": x, "seed": seed.astype(np.float32)})["relevance/image"]


def test_contrast(x, logits):
    seed = np.zeros_like(logits)
    seed[:, 3], seed[:, 1] = logits[:, 3], -logits[:, 1]
    close(maps("contrast:3:1", x), seeded(x, seed))


def test_clrp(x, logits):
    """R_o = -y_t / (K - 1) on the other classes."""
    top = logits.argmax(axis=1)
    own = logits[np.arange(len(x)), top]
    seed = np.repeat(-own[:, None] / 5, 6, axis=1)
    seed[np.arange(len(x)), top] = own
    close(maps("clrp", x), seeded(x, seed))


def test_sglrp(x, logits):
    """R_t = p_t (1 - p_t), R_o = -p_t p_o."""
    p, top = softmax(logits), logits.argmax(axis=1)
    own = p[np.arange(len(x)), top]
    seed = -own[:, None] * p
    seed[np.arange(len(x)), top] = own * (1 - own)
    close(maps("sglrp", x), seeded(x, seed))


@pytest.mark.parametrize("start", ["logit", "one", "probability"])
def test_start(x, logits, start):
    value = {"logit": logits, "one": np.ones_like(logits), "probability": softmax(logits)}[start]
    seed = np.zeros_like(logits)
    seed[:, 2] = value[:, 2]
    close(maps(2, x, start=start), seeded(x, seed))


def with_tail(op, **attributes):
    model = onnx.load(RESNET)
    model.graph.node.append(onnx.helper.make_node(op, ["logits"], ["p"], name="tail", **attributes))
    del model.graph.output[:]
    model.graph.output.append(onnx.helper.make_tensor_value_info("p", 1, ["N", 6]))
    return model


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax", "Sigmoid"])
def test_final_softmax_is_stepped_over(x, op):
    graph = compile(with_tail(op), composite="epsilon-plus", target=2)
    assert graph.metadata.explained == "logits"
    close(run(graph, {"image": x})["relevance/image"], maps(2, x))


def test_final_softmax_is_kept_on_request(x):
    graph = compile(with_tail("Softmax"), composite="gradient", target=2, keep_softmax=True)
    assert graph.metadata.explained == "p"
    slope = run(compile(RESNET, composite="gradient", target="seed"), {
        "image": x, "seed": jacobian_row(run(graph, {"image": x})["p"], 2)
    })["relevance/image"]  # fmt: skip
    close(run(graph, {"image": x})["relevance/image"], slope)


def jacobian_row(p, index):
    row = -p[:, index : index + 1] * p
    row[:, index] += p[:, index]
    return row.astype(np.float32)


def test_another_output_and_input():
    with pytest.raises(InputError, match="output 'nope' is not one of logits"):
        compile(RESNET, output="nope")
    with pytest.raises(InputError, match="input 'nope' is not one of image"):
        compile(RESNET, inputs=["nope"])


def test_no_path_is_an_error_that_names_the_stops():
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 21]> g (float[N,3] x) => (float[N,3] y)'
        " { y = Floor(x) }"
    )
    with pytest.raises(RuleError, match=r"no float path .* 'Floor_0' \(Floor\)"):
        compile(model)


def test_stop_where_the_user_says():
    with pytest.raises(InputError, match="--stop nope"):
        compile(MLP, stops=["nope"])


def test_probes_conserve_along_the_network(x):
    graph = compile(RESNET, composite="epsilon-plus", target=1, probes=["*relu*", "*add*"])
    outputs = run(graph, {"image": x})
    assert set(graph.metadata.probes) == {
        name.removeprefix("relevance/") for name in outputs if name.startswith("relevance/")
    } - {"image"}
    assert len(graph.metadata.probes) > 5


def test_mask_of_ones_changes_nothing_and_zeros_everything(x):
    graph = compile(RESNET, composite="epsilon-plus", target=1, masks=["*layer2.0*relu*"])
    masks = [item.name for item in graph.model.graph.input if item.name.startswith("mask/")]
    assert masks
    close(run(graph, {"image": x})["relevance/image"], maps(1, x))
    name = masks[0]
    channels = next(t.dims[1] for t in graph.model.graph.initializer if t.name == name)
    parts = []
    for half in (slice(0, channels // 2), slice(channels // 2, None)):
        mask = np.zeros((len(x), channels), np.float32)
        mask[:, half] = 1
        parts.append(run(graph, {"image": x, name: mask})["relevance/image"])
    close(parts[0] + parts[1], maps_through(graph, x, name, channels))


def maps_through(graph, x, name, channels):
    ones, zeros = (np.full((len(x), channels), v, np.float32) for v in (1, 0))
    through, around = (
        run(graph, {"image": x, name: mask})["relevance/image"] for mask in (ones, zeros)
    )
    return through + around


def test_digits_with_kept_batch_norms_start():
    x = np.random.default_rng(0).uniform(size=(3, 1, 8, 8)).astype(np.float32)
    graph = compile(DIGITS, composite="otsuki", ledger=True)
    outputs = run(graph, {"image": x})
    assert outputs["ledger"].shape == (3, len(graph.metadata.ledger), 8)
    start = outputs["ledger"][:, 0, 0]
    assert np.allclose(start, softmax(outputs["logits"]).max(axis=1), atol=1e-6)
