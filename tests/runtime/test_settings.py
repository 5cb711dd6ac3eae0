import logging

import numpy as np
import pytest

import onnxlrp
from onnxlrp.errors import InputError, ModelError
from onnxlrp.runtime import Explainer, Settings
from onnxlrp.runtime.providers import CPU, CUDA, open_session
from onnxlrp.runtime.settings import TENSORRT, with_options
from tests.nets import VGG, pictures
from tests.runtime import graphs
from tests.runtime.cuda import ON_CPU, ON_CUDA, needs_cuda

X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
AGREEMENT = 1e-3  # cuDNN may use Winograd and FFT convolutions, whose rounding is coarser


def options_of(providers, name, **settings):
    found = with_options(providers, Settings(**settings))
    return dict(p for p in found if not isinstance(p, str))[name]


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, {"use_tf32": "0", "prefer_nhwc": "0", "enable_cuda_graph": "0"}),
        ({"tf32": True}, {"use_tf32": "1"}),
        ({"channels_last": True}, {"prefer_nhwc": "1"}),
        ({"cuda_graph": True}, {"enable_cuda_graph": "1"}),
    ],
)
def test_options_of_cuda(settings, expected):
    assert expected.items() <= options_of([CUDA, CPU], CUDA, **settings).items()


def test_options_given_with_a_provider_win():
    own = options_of([(CUDA, {"use_tf32": "1", "device_id": 2})], CUDA)
    assert (own["use_tf32"], own["device_id"], own["prefer_nhwc"]) == ("1", 2, "0")


def test_other_providers_stay_as_they_are():
    given = [("SomeExecutionProvider", {"a": 1}), CPU]
    assert with_options(given, Settings()) == given


def test_tensorrt_keeps_engines_and_single_precision_and_gets_cuda_behind_it(tmp_path):
    names = [p if isinstance(p, str) else p[0] for p in with_options([TENSORRT, CPU], Settings())]
    assert names == [TENSORRT, CUDA, CPU]
    own = options_of([TENSORRT], TENSORRT, engines=tmp_path)
    assert own["trt_fp16_enable"] == "0"
    assert own["trt_engine_cache_enable"] == own["trt_timing_cache_enable"] == "1"
    assert own["trt_engine_cache_path"] == str(tmp_path)
    assert "trt_engine_cache_path" not in options_of([TENSORRT], TENSORRT)
    assert options_of([TENSORRT], TENSORRT, fp16=True)["trt_fp16_enable"] == "1"


def test_tensorrt_says_that_it_uses_tf32(monkeypatch, caplog):
    with caplog.at_level(logging.WARNING):
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "0")
        with_options([TENSORRT], Settings())
        assert not caplog.text
        monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
        with_options([TENSORRT], Settings())
    assert "NVIDIA_TF32_OVERRIDE=0" in caplog.text


@pytest.mark.parametrize(
    "settings",
    [
        Settings(threads=1),
        Settings(pattern=True),
        Settings(shrink=True),
        Settings(pack=False),
        Settings(trim=False),
    ],
)
def test_settings_do_not_change_results(settings):
    model = graphs.explanation(graphs.ARGMAX)
    plain = Explainer(model, ON_CPU)({"x": X}).relevance["x"]
    other = Explainer(model, ON_CPU, settings=settings)
    for _ in range(3):
        np.testing.assert_array_equal(other({"x": X}).relevance["x"], plain)


def test_settings_reach_the_session():
    session = open_session(
        graphs.explanation(graphs.ARGMAX).SerializeToString(), ON_CPU, Settings(threads=1)
    )
    options = session.get_session_options()
    assert (options.intra_op_num_threads, options.enable_mem_pattern) == (1, False)


def test_no_threads():
    with pytest.raises(InputError, match="threads=0 must be at least 1"):
        Settings(threads=0)


def test_cuda_graph_needs_cuda():
    with pytest.raises(InputError, match=f"cuda_graph needs '{CUDA}', got {CPU}"):
        Explainer(graphs.explanation(graphs.ARGMAX), ON_CPU, settings=Settings(cuda_graph=True))


@pytest.mark.filterwarnings("ignore:Specified provider:UserWarning")
def test_cuda_graph_where_cuda_does_not_work():
    from onnxlrp.runtime.providers import cuda_works

    if cuda_works():
        pytest.skip("CUDA works")
    model = graphs.explanation(graphs.ARGMAX)
    with pytest.raises(ModelError, match="CUDA"):
        Explainer(model, [CUDA], settings=Settings(cuda_graph=True))


@needs_cuda
@pytest.mark.parametrize("settings", [Settings(), Settings(channels_last=True)])
def test_cuda_gives_what_the_cpu_gives(settings):
    graph = onnxlrp.compile(VGG, composite="epsilon-plus")
    here, there = Explainer(graph, ON_CPU), Explainer(graph, ON_CUDA, settings=settings)
    x = {"image": pictures(3)}
    want, got = here(x).relevance["image"], there(x).relevance["image"]
    np.testing.assert_allclose(got, want, atol=AGREEMENT * np.abs(want).max())


@needs_cuda
def test_cuda_takes_the_options():
    session = open_session(graphs.explanation(graphs.ARGMAX).SerializeToString(), ON_CUDA)
    assert session.get_provider_options()[CUDA]["use_tf32"] == "0"


@needs_cuda
def test_cuda_graph_replays_for_other_inputs_and_shapes():
    graph = onnxlrp.compile(VGG, composite="epsilon-plus", target=1)
    plain = Explainer(graph, ON_CUDA)
    replayed = Explainer(graph, ON_CUDA, settings=Settings(cuda_graph=True))
    images = pictures(6)
    for part in (images[:2], images[2:4], images[:1], images[4:], images[1:2]):
        want = plain({"image": part}).relevance["image"]
        got = replayed({"image": part}).relevance["image"]
        np.testing.assert_allclose(got, want, atol=AGREEMENT * np.abs(want).max())
