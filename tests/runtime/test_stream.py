import threading

import numpy as np
import pytest

from onnxlrp.errors import InputError, ModelError
from onnxlrp.runtime import Explainer, Request
from tests.runtime import graphs
from tests.runtime.cuda import ON_CPU

RNG = np.random.default_rng(0)
WAIT = 10.0  # seconds after which an event that never comes fails a test


@pytest.fixture(autouse=True)
def no_thread_is_left():
    before = set(threading.enumerate())
    yield
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not left


def explainer(text=graphs.ARGMAX, **metadata):
    return Explainer(graphs.explanation(text, **metadata), ON_CPU)


def items(*sizes):
    return [{"x": RNG.normal(size=(n, 3)).astype(np.float32)} for n in sizes]


def counted(explain):
    """Let an Explainer note how many samples each run has."""
    sizes, run = [], explain._runner.run

    def noted(names, feed):
        sizes.append(len(feed["x"]))
        return run(names, feed)

    explain._runner.run = noted
    return sizes


def assert_equal(got, want):
    np.testing.assert_allclose(got.relevance["x"], want.relevance["x"], rtol=1e-6)
    np.testing.assert_allclose(got.outputs["y"], want.outputs["y"], rtol=1e-6)
    np.testing.assert_array_equal(got.target, want.target)
    assert got.relevance["x"].shape == want.relevance["x"].shape


@pytest.mark.parametrize("batch_size", [1, 3, 4, 32])
@pytest.mark.parametrize("text", [graphs.ARGMAX, graphs.SINGLES, graphs.ANONYMOUS])
def test_results_are_those_of_single_calls_in_order(text, batch_size):
    explain = explainer(text)
    given = items(1, 1, 2, 1, 9, 1, 1, 1, 3)
    found = list(explain.stream(iter(given), batch_size=batch_size, workers=3))
    assert len(found) == len(given)
    for got, item in zip(found, given, strict=True):
        assert_equal(got, explain(item))


def test_items_of_equal_shape_run_together_up_to_the_batch_size():
    explain = explainer()
    sizes = counted(explain)
    list(explain.stream(items(1, 1, 1, 2, 2, 1), batch_size=4))
    assert sizes == [3, 4, 1]


def test_items_of_other_shapes_run_apart():
    text = """
    g (float[N,L] x) => (float[N] y, float[N,L] "relevance/x") {
      one = Constant<value = int64[1] {1}>()
      y = ReduceSum<keepdims = 0>(x, one)
      "relevance/x" = Identity(x)
    }"""
    explain = explainer(text)
    sizes = counted(explain)
    given = [{"x": np.ones((1, n), np.float32)} for n in (3, 3, 5, 5, 5, 3)]
    found = [result.relevance["x"].shape for result in explain.stream(given)]
    assert found == [item["x"].shape for item in given]
    assert sizes == [2, 3, 1]


def test_targets_seeds_and_masks():
    explain = explainer(graphs.TARGET, target="input")
    given = items(1, 2, 1)
    for got, item in zip(explain.stream(given, target=1), given, strict=True):
        assert_equal(got, explain(item, target=1))
    asked = [Request(inputs=item, target=t) for item, t in zip(given, (0, [1, 0], 1), strict=True)]
    for got, request in zip(explain.stream(asked), asked, strict=True):
        assert_equal(got, explain(request.inputs, target=request.target))
    several = [Request(inputs=item, target=np.zeros((len(item["x"]), 2), int)) for item in given]
    assert [r.relevance["x"].shape for r in explain.stream(several)] == [
        (1, 2, 3),
        (2, 2, 3),
        (1, 2, 3),
    ]
    mixed = [1, np.zeros((1, 1), int), np.zeros((1, 2), int), 0]
    asked = [Request(inputs=items(1)[0], target=target) for target in mixed]
    for got, request in zip(explain.stream(asked), asked, strict=True):
        assert_equal(got, explain(request.inputs, target=request.target))
    seeded = explainer(graphs.SEEDED, target="seed")
    asked = [
        Request(inputs=item, seed=RNG.normal(size=2), masks={"h": RNG.normal(size=3)})
        for item in given
    ]
    for got, request in zip(seeded.stream(asked), asked, strict=True):
        want = seeded(request.inputs, seed=request.seed, masks=request.masks)
        np.testing.assert_allclose(got.relevance["x"], want.relevance["x"], rtol=1e-5)


def test_axes_of_the_batch_that_are_not_the_first():
    explain = explainer(graphs.STATEFUL)
    given = [
        {"x": item["x"], "state": RNG.normal(size=(2, len(item["x"]), 3)), "scale": 2.0}
        for item in items(1, 2, 1)
    ]
    given = [{**item, "state": item["state"].astype(np.float32)} for item in given]
    for got, item in zip(explain.stream(given), given, strict=True):
        want = explain(item)
        for name, array in want.outputs.items():
            np.testing.assert_allclose(got.outputs[name], array, rtol=1e-6)


def test_results_do_not_hold_on_to_their_batch():
    found = list(explainer().stream(items(1, 1, 1)))
    assert all(result.relevance["x"].base is None for result in found)


def decode(item):
    if isinstance(item, Exception):
        raise item
    return {"x": np.full((1, 3), item, np.float32)}


def test_an_error_is_raised_in_its_place():
    stream = explainer().stream([1, 2, OSError("torn"), 4], decode=decode, batch_size=4)
    assert [next(stream).outputs["y"][0, 0] for _ in range(2)] == [9, 18]
    with pytest.raises(OSError, match="torn"):
        next(stream)


def test_errors_may_be_skipped_or_answered():
    explain, given = explainer(), [1, OSError("torn"), 3, ValueError("odd")]
    skipped = explain.stream(given, decode=decode, on_error="skip")
    assert [result.outputs["y"][0, 0] for result in skipped] == [9, 27]
    seen, other = [], explain({"x": np.zeros((1, 3))})

    def answer(index, error):
        seen.append((index, str(error)))
        return other if index == 1 else None

    found = list(explain.stream(given, decode=decode, on_error=answer))
    assert [result.outputs["y"][0, 0] for result in found] == [9, 0, 27]
    assert seen == [(1, "torn"), (3, "odd")]


def test_a_run_that_fails_blames_the_item_and_no_other():
    text = """
    g (int64[N] x) => (float[N] y, float[N] "relevance/x") {
      table = Constant<value = float[3] {1, 2, 3}>()
      y = Gather(table, x)
      "relevance/x" = Identity(y)
    }"""
    explain = explainer(text)
    given = [{"x": np.array([k])} for k in (0, 7, 2)]
    found = list(explain.stream(given, on_error=lambda index, error: None))
    assert [result.outputs["y"].tolist() for result in found] == [[1], [3]]
    with pytest.raises((InputError, ModelError), match="ONNX Runtime cannot run"):
        list(explain.stream(given))


def test_items_that_are_no_inputs():
    with pytest.raises(InputError, match=r"item 1 of the stream is str.*pass decode="):
        list(explainer().stream([*items(1), "picture.png"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"on_error": "ignore"}, "on_error='ignore' is not raise, skip"),
    ],
)
def test_wrong_options_are_refused_at_once(options, message):
    with pytest.raises(InputError, match=message):
        explainer().stream([], **options)


def test_an_empty_stream():
    assert list(explainer().stream([])) == []


def test_closing_early_ends_the_threads_and_decodes_no_more():
    drawn = []

    def endless():
        while True:
            drawn.append(1)
            yield 1

    stream = explainer().stream(endless(), decode=decode, batch_size=2, workers=2)
    next(stream)
    stream.close()
    assert len(drawn) < 30


def test_an_interrupt_of_the_consumer_ends_the_threads():
    def consume():
        for _ in explainer().stream(iter(range(100)), decode=decode, batch_size=2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        consume()


def test_few_items_are_held():
    lock, held, most = threading.Lock(), 0, 0

    def opened(item):
        nonlocal held, most
        with lock:
            held += 1
            most = max(most, held)
        return decode(item)

    count, batch, workers = 300, 4, 2
    for _ in explainer().stream(range(count), decode=opened, batch_size=batch, workers=workers):
        with lock:
            held -= 1
    assert held == 0
    # ahead of the runs, and in the two runs under way
    assert most <= 2 * batch + workers + 2 * batch


def test_items_are_decoded_in_several_threads_at_once():
    together = threading.Barrier(3, timeout=WAIT)

    def meet(item):
        together.wait()
        return decode(item)

    assert len(list(explainer().stream(range(6), decode=meet, workers=3))) == 6


def test_the_next_items_are_decoded_while_a_batch_runs():
    explain = explainer()
    run, running, decoded = explain._runner.run, threading.Event(), threading.Event()

    def slow(names, feed):
        running.set()
        assert decoded.wait(WAIT)
        return run(names, feed)

    def later(item):
        if item == 3:
            assert running.wait(WAIT)
            decoded.set()
        return decode(item)

    explain._runner.run = slow
    assert len(list(explain.stream(range(4), decode=later, batch_size=1, workers=1))) == 4


def test_a_batch_runs_while_the_consumer_works():
    explain = explainer()
    run, second = explain._runner.run, threading.Event()
    calls = []

    def noted(names, feed):
        calls.append(1)
        if len(calls) == 2:
            second.set()
        return run(names, feed)

    explain._runner.run = noted
    stream = explain.stream(range(3), decode=decode, batch_size=1)
    next(stream)
    assert second.wait(WAIT)
    stream.close()
