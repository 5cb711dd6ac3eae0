import numpy as np
import pytest

from onnxlrp.errors import InputError
from onnxlrp.runtime import Explainer
from onnxlrp.runtime.batching import Trial, choose_batch, peak_memory, predict
from tests.runtime import graphs
from tests.runtime.cuda import ON_CPU

MIB = 2**20


def machine(overhead, per_sample, base=100, growth=10):
    """A run takes overhead + samples * per_sample."""
    tried = []

    def measure(batch):
        tried.append(batch)
        seconds = overhead + batch * per_sample
        return Trial(batch=batch, seconds=seconds, memory=(base + growth * batch) * MIB)

    return measure, tried


def test_doubles_until_two_doublings_gain_little():
    measure, tried = machine(overhead=1.0, per_sample=1.0)
    choice = choose_batch(measure, limit=1024, memory=None)
    # throughput n / (1 + n): 0.5, 0.667, 0.8, 0.889, 0.941, 0.970 (+3.0 %), 0.985 (+1.5 %)
    assert tried == [1, 2, 4, 8, 16, 32, 64]
    assert choice.batch == 16
    assert "two doublings" in choice.reason
    assert [trial.batch for trial in choice.trials] == tried


def test_a_smaller_share_searches_further():
    measure, _ = machine(overhead=1.0, per_sample=1.0)
    # 64: 0.985 (+1.5 %), 128: 0.992 (+0.8 %); 0.970 is less than 0.992 / 1.02
    assert choose_batch(measure, limit=1024, memory=None, gain=0.02).batch == 64


def test_a_model_that_gains_nothing_keeps_batch_1():
    measure, tried = machine(overhead=0.0, per_sample=1.0)
    assert choose_batch(measure, limit=1024, memory=None).batch == 1
    assert tried == [1, 2, 4]


def test_falling_throughput_does_not_win():
    seconds = {1: 1.0, 2: 1.2, 4: 1.5, 8: 2.0, 16: 6.0, 32: 20.0}
    choice = choose_batch(
        lambda n: Trial(batch=n, seconds=seconds[n], memory=None), limit=1024, memory=None
    )
    assert (choice.batch, len(choice.trials)) == (8, 6)


def test_the_limit_ends_the_search():
    measure, tried = machine(overhead=1000.0, per_sample=1.0)
    choice = choose_batch(measure, limit=24, memory=None)
    assert (choice.batch, tried, choice.reason) == (
        16,
        [1, 2, 4, 8, 16],
        "the limit of 24 is reached",
    )


def test_a_batch_that_would_not_fit_is_not_run():
    measure, tried = machine(overhead=1000.0, per_sample=1.0)
    choice = choose_batch(measure, limit=1024, memory=200 * MIB, start=100 * MIB)
    assert tried == [1, 2, 4, 8]  # 16 samples need 100 + 160 MiB
    assert choice.reason == "batch 16 would need about 260 MiB of 200 MiB"
    assert all(trial.memory <= 200 * MIB for trial in choice.trials)


def test_the_first_prediction_is_careful():
    measure, tried = machine(overhead=1000.0, per_sample=1.0, base=100)
    # from 90 to 110 MiB for one sample: two would need 130
    choice = choose_batch(measure, limit=8, memory=129 * MIB, start=90 * MIB)
    assert (choice.batch, tried) == (1, [1])


def test_prediction_is_a_line():
    trials = [
        Trial(batch=n, seconds=1.0, memory=m * MIB) for n, m in ((1, 500), (2, 110), (4, 130))
    ]
    assert predict(trials, 8, None) == 170 * MIB
    assert predict(trials[:1], 8, None) is None
    assert predict([Trial(batch=1, seconds=1.0, memory=None)], 2, 5) is None


def test_no_batch_at_all():
    measure, _ = machine(overhead=1.0, per_sample=1.0)
    with pytest.raises(InputError, match="no batch fits"):
        choose_batch(measure, limit=0, memory=None)


def test_a_real_search():
    explain = Explainer(graphs.explanation(graphs.ARGMAX), ON_CPU)
    choice = explain.best_batch(limit=8)
    sizes = [trial.batch for trial in choice.trials]
    assert sizes == [1, 2, 4, 8][: len(sizes)]
    assert choice.batch in sizes
    assert all(trial.seconds > 0 for trial in choice.trials)
    given = explain.best_batch({"x": np.ones((1, 3))}, limit=2)
    assert [trial.batch for trial in given.trials] == [1, 2]


def test_a_real_search_with_targets():
    explain = Explainer(graphs.explanation(graphs.TARGET, target="input"), ON_CPU)
    assert explain.best_batch(limit=2).trials
    assert explain.best_batch(target=1, limit=2).trials


@pytest.mark.parametrize(
    ("text", "inputs", "message"),
    [
        (graphs.ARGMAX, {"x": np.ones((2, 3))}, "inputs of one sample"),
        (graphs.SINGLES, None, "a graph with a batch axis"),
    ],
)
def test_what_cannot_be_searched(text, inputs, message):
    with pytest.raises(InputError, match=message):
        Explainer(graphs.explanation(text), ON_CPU).best_batch(inputs)


def test_the_peak_sees_an_array_that_is_gone():
    before = peak_memory()
    if before is None:
        pytest.skip("the system does not tell the peak")
    np.ones(64 * MIB // 8).sum()
    assert peak_memory() >= before
