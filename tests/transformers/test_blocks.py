"""AttnLRP and CP-LRP on a ViT, a BERT and a Llama against the float64 reference."""

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto

import onnxlrp
from models import transformer
from models.transformer import LOWEST, Size
from tests.engine import Session
from tests.transformers import profiles, reference

TINY = Size(depth=1)

AGREES = 1e-5
"""Of max|R|: float32 against float64."""

CLOSED = 1e-5
"""Of sum|in|: the ledger's unexplained rest."""

COMPOSITES = ("attnlrp", "cp-lrp")
STEADY = 2e-6
"""What rounding does to the formulas themselves, of max|R|: seeds with more are not used, for there
a denominator is near 0 (an unsigned stabiliser does not keep it away)."""

SEEDS = {"vit": (0, 1, 4), "bert": (1, 2, 4), "llama": (0, 1, 2)}
PROFILE_SEEDS = {
    "chefer": (("vit", 6), ("vit", 276), ("bert", 1), ("bert", 7), ("llama", 0), ("llama", 3)),
    "dynamic-lrp": (
        ("vit", 88),
        ("vit", 277),
        ("bert", 1),
        ("bert", 2),
        ("llama", 0),
        ("llama", 3),
    ),
}
BATCH, LENGTH, CLASS = 2, 7, 2
MASKED = (LOWEST, -np.inf, -1e9, -1e4)
NO_NUMBER = ("bert", -np.inf)

Feeds = dict[str, np.ndarray]


def drawn(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(100 + seed).standard_normal(shape).astype(np.float32)


def mask() -> np.ndarray:
    kept = np.ones((BATCH, LENGTH), np.int64)
    kept[1, 5:] = 0
    return kept


def vit(seed: int, masked: float) -> tuple[ModelProto, Feeds]:
    side = TINY.picture
    return transformer.vit(size=TINY, seed=seed), {"image": drawn(seed, BATCH, 3, side, side)}


def bert(seed: int, masked: float) -> tuple[ModelProto, Feeds]:
    words = drawn(seed, BATCH, LENGTH, TINY.width)
    model = transformer.bert(size=TINY, seed=seed, masked=masked, embedded=True)
    return model, {"inputs_embeds": words, "attention_mask": mask()}


def llama(seed: int, masked: float) -> tuple[ModelProto, Feeds]:
    model = transformer.llama(size=TINY, seed=seed, masked=masked, embedded=True)
    return model, {"inputs_embeds": drawn(seed, BATCH, LENGTH, TINY.width)}


BLOCKS: dict[str, Callable[[int, float], tuple[ModelProto, Feeds]]] = {
    "vit": vit,
    "bert": bert,
    "llama": llama,
}


def walk_of(composite: str) -> reference.Walk:
    """The reference of a composite."""
    walks = {"chefer": profiles.Chefer, "dynamic-lrp": profiles.Dynamic}
    return walks.get(composite, reference.Walk)(cp=composite == "cp-lrp")


def expected(
    name: str,
    model: ModelProto,
    feeds: Feeds,
    masked: float,
    composite: str,
    dtype: type = np.float64,
) -> tuple[np.ndarray, np.ndarray]:
    """Logits and relevance of the reference."""
    walk, p = walk_of(composite), reference.Weights(model, dtype)
    first = next(iter(feeds.values())).astype(dtype)
    size = {"depth": TINY.depth, "heads": TINY.heads}
    if name == "vit":
        source, logits = reference.vit(walk, p, first, **size)
    elif name == "bert":
        source, logits = reference.bert(walk, p, first, feeds["attention_mask"], masked, **size)
    else:
        epsilon = 1e-5 if "block0.norm1.epsilon" in p else 0.0
        source, logits = reference.llama(walk, p, first, masked, epsilon=epsilon, **size)
    seed = np.zeros_like(logits.value)
    where = np.index_exp[:, -1, CLASS] if name == "llama" else np.index_exp[:, CLASS]
    seed[where] = 1 if composite == "chefer" else logits.value[where]
    walk.explain(logits, seed)
    return logits.value, source.relevance


def explain(
    name: str, model: ModelProto, feeds: Feeds, composite: str, **options: object
) -> dict[str, np.ndarray]:
    target = f"{LENGTH - 1},{CLASS}" if name == "llama" else CLASS
    first = next(iter(feeds))
    graph = onnxlrp.compile(
        model, composite=composite, target=target, inputs=[first], ledger=True, **options
    ).model
    onnx.checker.check_model(graph, full_check=True)
    outputs = Session(graph)(feeds)
    return {key: value.astype(np.float64) for key, value in outputs.items()} | {
        "relevance": outputs[f"relevance/{first}"].astype(np.float64)
    }


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """The largest max|difference| / max|R| of a sample."""
    pairs = zip(found, wanted, strict=True)
    return max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs)


def rounding(
    name: str, model: ModelProto, feeds: Feeds, masked: float, composite: str
) -> list[np.ndarray]:
    """The formulas in float32, and for an input that differs by what float32 rounds away."""
    first = next(iter(feeds))
    found = [expected(name, model, feeds, masked, composite, np.float32)[1]]
    for seed in range(3):
        change = np.random.default_rng(seed).uniform(-1e-7, 1e-7, feeds[first].shape)
        near = feeds | {first: feeds[first].astype(np.float64) * (1 + change)}
        found.append(expected(name, model, near, masked, composite)[1])
    return found


def assert_agrees(name: str, seed: int, composite: str, masked: float) -> None:
    model, feeds = BLOCKS[name](seed, masked)
    logits, wanted = expected(name, model, feeds, masked, composite)
    rounded = rounding(name, model, feeds, masked, composite)
    assert max(distance(r, wanted) for r in rounded) <= STEADY, "this seed measures rounding"
    found = explain(name, model, feeds, composite)
    size = np.abs(logits).max()
    np.testing.assert_allclose(found["logits"], logits, rtol=0, atol=AGREES * size)
    assert distance(found["relevance"], wanted) <= AGREES
    ledger = found["ledger"]
    assert np.all(np.isfinite(ledger))
    assert np.abs(ledger[:, :, 7]).max() <= CLOSED * np.abs(ledger[:, :, 0]).max()


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize(
    ("name", "seed"), [(name, seed) for name, seeds in SEEDS.items() for seed in seeds]
)
def test_agrees_with_the_formulas(name: str, seed: int, composite: str) -> None:
    assert_agrees(name, seed, composite, LOWEST)


@pytest.mark.parametrize(
    ("composite", "name", "seed"),
    [(composite, *row) for composite, rows in PROFILE_SEEDS.items() for row in rows],
)
def test_profiles_agree_with_their_formulas(name: str, seed: int, composite: str) -> None:
    assert_agrees(name, seed, composite, LOWEST)


@pytest.mark.parametrize(
    ("name", "masked"),
    # `bert` multiplies by the mask's value: 0 times infinity is no number in the model itself.
    [(name, value) for name in ("bert", "llama") for value in MASKED if (name, value) != NO_NUMBER],
)
@pytest.mark.parametrize("composite", COMPOSITES)
def test_masked_logits_are_harmless(name: str, composite: str, masked: float) -> None:
    assert_agrees(name, SEEDS[name][0], composite, masked)


@pytest.mark.parametrize("name", BLOCKS)
def test_auto_picks_attnlrp(name: str) -> None:
    """With the split of `auto`; the split of the preset gives the preset's map."""
    model, feeds = BLOCKS[name](SEEDS[name][0], LOWEST)
    graph = onnxlrp.compile(model, inputs=[next(iter(feeds))], target="seed")
    composite = graph.metadata.composite
    assert (composite["name"], composite["split"]) == ("auto (attnlrp)", "ratio")
    plain = explain(name, model, feeds, "attnlrp")
    same = explain(name, model, feeds, "auto:split=proportional")
    np.testing.assert_array_equal(plain["relevance"], same["relevance"])
    other = explain(name, model, feeds, "auto")
    assert distance(other["relevance"], plain["relevance"]) > 100 * AGREES


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", BLOCKS)
def test_signed_stabilizer_is_another_convention(name: str, composite: str) -> None:
    """A signed one differs in the order of epsilon / |z|: by more than the agreement at hand."""
    model, feeds = BLOCKS[name](SEEDS[name][0], LOWEST)
    plain = explain(name, model, feeds, composite)["relevance"]
    signed = explain(name, model, feeds, f"{composite}:stabilizer=signed")["relevance"]
    assert 1e-7 < distance(signed, plain) < 1e-2


@pytest.mark.parametrize("name", BLOCKS)
def test_attention_takes_part_in_attnlrp_only(name: str) -> None:
    """The two presets differ by what flows through the softmax."""
    model, feeds = BLOCKS[name](SEEDS[name][0], LOWEST)
    maps = [explain(name, model, feeds, composite)["relevance"] for composite in COMPOSITES]
    assert distance(*maps) > 100 * AGREES


def test_gamma_at_the_patches() -> None:
    model, feeds = vit(SEEDS["vit"][0], LOWEST)
    maps = [explain("vit", model, feeds, f"attnlrp:gamma={gamma}") for gamma in (0, 0.25, 100)]
    relevance = [found["relevance"] for found in maps]
    np.testing.assert_array_equal(
        relevance[0], explain("vit", model, feeds, "attnlrp")["relevance"]
    )
    assert distance(relevance[1], relevance[0]) > 100 * AGREES
    assert distance(relevance[2], relevance[1]) > 100 * AGREES


@pytest.mark.parametrize("composite", [*COMPOSITES, *PROFILE_SEEDS])
@pytest.mark.parametrize("name", BLOCKS)
def test_a_sample_alone_has_the_same_map(name: str, composite: str) -> None:
    model, feeds = BLOCKS[name](SEEDS[name][0], LOWEST)
    together = explain(name, model, feeds, composite)["relevance"]
    for k in range(BATCH):
        one = explain(name, model, {key: v[k : k + 1] for key, v in feeds.items()}, composite)
        assert distance(one["relevance"], together[k : k + 1]) <= AGREES


@pytest.mark.parametrize("composite", COMPOSITES)
def test_several_targets_are_several_maps(composite: str) -> None:
    model, feeds = vit(SEEDS["vit"][0], LOWEST)
    run = Session(onnxlrp.compile(model, composite=composite, target="input:2").model)
    targets = np.array([[CLASS, 0], [1, CLASS]])
    found = run(feeds | {"target": targets})["relevance/image"]
    alone = explain("vit", model, feeds, composite)["relevance"]
    both = np.stack([found[0, 0], found[1, 1]])
    assert distance(both, alone) <= AGREES


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize("name", BLOCKS)
def test_norms_as_primitives(name: str, composite: str) -> None:
    """Eight nodes are one LayerNorm, six one root mean square norm, with their own epsilon."""
    seed = SEEDS[name][1]
    feeds = BLOCKS[name](seed, LOWEST)[1]
    options = {} if name == "vit" else {"embedded": True}
    model = getattr(transformer, name)(size=TINY, seed=seed, norm="primitives", **options)
    _, wanted = expected(name, model, feeds, LOWEST, composite)
    rounded = rounding(name, model, feeds, LOWEST, composite)
    assert max(distance(r, wanted) for r in rounded) <= STEADY
    found = explain(name, model, feeds, composite)["relevance"]
    assert distance(found, wanted) <= AGREES


@pytest.mark.parametrize("composite", COMPOSITES)
@pytest.mark.parametrize(("name", "seed"), [("bert", 3), ("llama", 3)])
def test_token_ids_get_the_sum_of_their_channels(name: str, seed: int, composite: str) -> None:
    model = getattr(transformer, name)(size=TINY, seed=seed)
    ids = np.random.default_rng(seed).integers(0, TINY.vocabulary, (BATCH, LENGTH))
    rest = {"attention_mask": mask()} if name == "bert" else {}
    embedded = {"inputs_embeds": reference.Weights(model)["words"][ids]} | rest
    _, wanted = expected(name, model, embedded, LOWEST, composite)
    rounded = rounding(name, model, embedded, LOWEST, composite)
    assert max(distance(r.sum(-1), wanted.sum(-1)) for r in rounded) <= STEADY
    found = explain(name, model, {"input_ids": ids} | rest, composite)["relevance"]
    assert found.shape == (BATCH, LENGTH)
    assert distance(found, wanted.sum(-1)) <= AGREES
