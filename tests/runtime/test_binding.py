"""The runners of a GPU, on buffers of the CPU: what they return and what they keep."""

import threading

import numpy as np
import pytest

from onnxlrp.errors import ModelError
from onnxlrp.runtime.binding import Bound, Captured, Direct, choose_runner
from onnxlrp.runtime.providers import open_session
from onnxlrp.runtime.settings import Settings
from tests.runtime import graphs
from tests.runtime.cuda import ON_CPU, ON_CUDA, needs_cuda

NAMES = ["y", "relevance/x"]
RNG = np.random.default_rng(0)


def session(providers=ON_CPU):
    return open_session(graphs.explanation(graphs.ARGMAX).SerializeToString(), providers)


def feeds(*sizes):
    return [{"x": RNG.normal(size=(n, 3)).astype(np.float32)} for n in sizes]


@pytest.mark.parametrize("make", [lambda s: Bound(s, "cpu"), lambda s: Captured(s, "cpu")])
def test_buffers_give_what_arrays_give(make):
    opened = session()
    runner, direct = make(opened), Direct(opened)
    given = feeds(2, 2, 5, 2, 5, 1)
    found = [runner.run(NAMES, feed) for feed in given]
    for feed, arrays in zip(given, found, strict=True):
        for got, want in zip(arrays, direct.run(NAMES, feed), strict=True):
            np.testing.assert_array_equal(got, want)
    (alone,) = runner.run(NAMES[1:], given[0])
    np.testing.assert_array_equal(alone, found[0][1])


def test_arrays_that_are_not_contiguous():
    opened = session()
    x = np.asfortranarray(feeds(4)[0]["x"])
    got = Bound(opened, "cpu").run(NAMES, {"x": x})
    np.testing.assert_array_equal(got[0], Direct(opened).run(NAMES, {"x": x})[0])


def test_buffers_of_equal_shapes_are_used_again_and_few_shapes_are_kept():
    runner = Bound(session(), "cpu")
    for size in (1, 2, 1, 2, 1):
        runner.run(NAMES, *feeds(size))
    assert [len(free) for free in runner._free.values()] == [1, 1]
    for size in range(1, 30):
        runner.run(NAMES, *feeds(size))
    assert len(runner._free) == 8


def test_runs_in_several_threads_do_not_mix():
    opened = session()
    runner, direct, wrong = Bound(opened, "cpu"), Direct(opened), []

    def work(feed):
        want = direct.run(NAMES, feed)
        for _ in range(50):
            got = runner.run(NAMES, feed)
            wrong.extend(i for i in (0, 1) if not np.array_equal(got[i], want[i]))

    threads = [threading.Thread(target=work, args=(feed,)) for feed in feeds(2, 2, 2, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_strings_go_without_buffers():
    text = 'g (string[N] x) => (string[N] y, float[N] "relevance/x") {\n y = Identity(x)\n'
    text += ' n = Shape(x)\n "relevance/x" = ConstantOfShape(n)\n}'
    opened = open_session(graphs.explanation(text).SerializeToString(), ON_CPU)
    words = np.array(["a", "b"], dtype=object)
    assert list(Bound(opened, "cpu").run(["y"], {"x": words})[0]) == ["a", "b"]
    with pytest.raises(ModelError, match=r"cuda_graph: 'x' is tensor\(string\)"):
        Captured(opened, "cpu")


def test_the_cpu_needs_no_buffers():
    assert isinstance(choose_runner(session(), Settings()), Direct)


@needs_cuda
def test_cuda_runs_through_buffers():
    opened = session(ON_CUDA)
    runner = choose_runner(opened, Settings())
    assert isinstance(runner, Bound)
    for feed in feeds(2, 2, 5):
        want = Direct(opened).run(NAMES, feed)
        for got, expected in zip(runner.run(NAMES, feed), want, strict=True):
            np.testing.assert_array_equal(got, expected)
