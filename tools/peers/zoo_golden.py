"""Stores part of the zoo in the tests: small files, and gradients that other programs computed.

    python -m tools.peers.zoo_golden ZOO [--only GLOB] [--into tests/zoo/stored]

`ZOO` is the folder of `export_zoo`. For each file of `STORED`: the model without the notes of its
exporter, and an `.npz` with `in/NAME`, `out/NAME` (what ONNX Runtime gives for the source file),
and, where the network is not quantised, `seed` and `golden/NAME`: the gradient of
sum(seed * output) by each explained input, from PyTorch's autograd in float64, from TensorFlow's
`GradientTape` in float64, or from a formula over what scikit-learn fitted. For token ids it is the
gradient by the value that the first lookup gives, under the name of that value. A gradient is
stored only where the program's own output is that of the file. Runs once in each environment, as
`export_zoo` does.
"""

import argparse
import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.peers.zoo_job import Feeds  # noqa: E402

Array = NDArray[np.generic]
Slope = Callable[[str, Feeds, Array], tuple[Array, Feeds]]
"""From a network's name, its inputs and a seed: its output and gradients by input."""

SAME = 2e-3
"""Of max|output|: half precision rounds to 1e-3; another network is of the order of 1."""

TOKENS = "tokens"
"""The name under which a gradient by an embedding is handed over."""

STORED: dict[str, tuple[str, ...]] = {
    "zoo_golden_torch": (
        "vgg11_bn-small-torchscript-13", "resnet18-small-torchscript-17",
        "mobilenet_v3_small-small-dynamo-21", "deit-dynamo-21",
        "deit-torchscript-17-fp16", "hf_vit-torchscript-17-ort_all",
        "lstm_last-half-torchscript-17", "gpt2-eager-torchscript-17-ort_fused",
        "bert-eager-torchscript-17-ort_all", "llama-eager-dynamo-21",
        "wav2vec2-dynamo-21", "mamba-dynamo-21", "whisper-dynamo-21",
        "transformer_encoder-dynamo-21", "branch-double-torchscript-17",
        "lstm_tagger-torchscript-17", "lstm_states-dynamo-21", "gru_two-torchscript-13",
        "rnn_tagger-torchscript-20", "lstm_lengths-torchscript-17", "esn-unrolled-torchscript-17",
        "esn-loop-torchscript-17", "esn-scan-dynamo-21", "loop_lists-torchscript-17",
        "loop_until-torchscript-17", "branch-script-torchscript-17", "branch-cond-dynamo-21",
        "tcn-torchscript-17",
    ),
    "zoo_golden_keras": (
        "keras_cnn-keras", "keras_unet-tf2onnx-17", "keras_lstm-keras", "keras_gru-tf2onnx-13",
        "keras_separable-tf2onnx-18",
    ),
    "zoo_golden_sklearn": (
        "sklearn_logistic-skl2onnx-17", "sklearn_standard-skl2onnx-21",
        "sklearn_ridge_regressor-skl2onnx-13", "sklearn_mlp_tanh-skl2onnx-17",
    ),
    "": (
        "bert-eager-torchscript-17-ort_fused", "unet-torchscript-17-qdq",
        "unet-dynamo-21-qoperator", "deit-dynamo-21-qoperator-ort_all",
        "transformer_encoder-dynamo-21-dynamic", "lstm_tagger-torchscript-17-dynamic",
    ),
}  # fmt: skip
"""What is stored, by the module that has its gradient.

Without one: what is quantised, and what looks tokens up inside of a larger operator.
"""


def bare(model: onnx.ModelProto) -> onnx.ModelProto:
    """Remove the notes that an exporter leaves: traces, its own names and paths of modules."""
    _forget([model, *model.functions])
    for function in model.functions:
        _forget(function.node)
    _bare_graph(model.graph)
    return model


def _bare_graph(graph: onnx.GraphProto) -> None:
    _forget([graph, *graph.node, *graph.initializer])
    _forget([*graph.input, *graph.output, *graph.value_info])
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                _bare_graph(attribute.g)


def _forget(things: Iterable[object]) -> None:
    for thing in things:
        thing.ClearField("doc_string")  # type: ignore[attr-defined]
        thing.ClearField("metadata_props")  # type: ignore[attr-defined]


def store(zoo: Path, stem: str, into: Path, slope: Slope | None) -> str:
    """Write a model and its arrays; return what was written in words."""
    model = bare(onnx.load(zoo / f"{stem}.onnx"))
    with np.load(zoo / f"{stem}.npz") as held:
        arrays: Feeds = {key: held[key] for key in held.files}
    if slope is not None:
        arrays |= _golden(model, stem, arrays, slope)
    (into / f"{stem}.onnx").write_bytes(model.SerializeToString())
    np.savez_compressed(into / f"{stem}.npz", **arrays)
    sizes = [(into / f"{stem}{end}").stat().st_size >> 10 for end in (".onnx", ".npz")]
    golden = [key for key in arrays if key.startswith("golden/")]
    return f"{stem:44} {sizes[0]:4} + {sizes[1]} KiB {' '.join(golden)}"


def _golden(model: onnx.ModelProto, stem: str, arrays: Feeds, slope: Slope) -> Feeds:
    feeds = {key[3:]: array for key, array in arrays.items() if key.startswith("in/")}
    outputs = [key for key in arrays if key.startswith("out/") and arrays[key].dtype.kind in "fV"]
    given = arrays[outputs[0]].astype(np.float64)
    seed = np.random.default_rng(0).normal(size=given.shape).astype(np.float32)
    found, slopes = slope(stem, feeds, seed)
    far = np.abs(found - given).max()
    assert far <= SAME * np.abs(given).max(), f"{stem}: its output is {far:.1e} off"
    named = {_lookup(model, feeds) if name == TOKENS else name: a for name, a in slopes.items()}
    return {"seed": seed} | {f"golden/{name}": a.astype(np.float32) for name, a in named.items()}


def _lookup(model: onnx.ModelProto, feeds: Feeds) -> str:
    """The value that the lookup of the first integer input gives."""
    first = next(name for name, array in feeds.items() if array.dtype.kind == "i")
    ids = {first}
    for node in model.graph.node:
        if node.op_type in {"Cast", "Identity", "Reshape", "Transpose"} and node.input[0] in ids:
            ids.add(node.output[0])
        if node.op_type == "Gather" and node.input[1] in ids:
            return str(node.output[0])
    raise LookupError("no Gather reads the token ids")


def main(arguments: Sequence[str] | None = None) -> int:
    """Store what is asked for and can be computed here."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--only", default="*", help="files that match this glob")
    parser.add_argument("--into", type=Path, default=ROOT / "tests" / "zoo" / "stored")
    options = parser.parse_args(arguments)
    options.into.mkdir(parents=True, exist_ok=True)
    for family, stems in STORED.items():
        wanted = [stem for stem in stems if fnmatch(stem, options.only)]
        try:
            module = importlib.import_module(f"tools.peers.{family}") if family else None
        except ImportError as error:
            print(f"left out: {family} ({error})")
            continue
        for stem in wanted:
            slope = None if module is None else module.slope
            print(store(options.zoo, stem, options.into, slope), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
