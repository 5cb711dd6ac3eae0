"""Files made of other files of the zoo by ONNX Runtime: optimised, quantised, in half precision."""

import logging
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization import matmul_nbits_quantizer
from onnxruntime.quantization.shape_inference import quant_pre_process
from onnxruntime.transformers import float16, optimizer
from onnxruntime.transformers.fusion_options import FusionOptions

from tools.peers.zoo_job import Feeds, Job, Written

__all__ = ["jobs"]

Change = Callable[[Path, Path], None]

PLAIN = ("torchscript-17", "dynamo-21")
CNNS = ("resnet18", "resnet_basic", "mobilenet_v2", "mobilenet_v3_small", "unet", "squeezenet1_1")
OPTIMISED = (
    *CNNS, "vgg11_bn", "efficientnet_b0", "densenet", "inception_v3", "convnext", "swin", "vit",
    "deit", "hf_vit", "yolo_v8", "deeplab_v3", "ssd", "bert-sdpa", "bert-eager", "roberta",
    "gpt2-sdpa", "gpt2-eager", "llama-sdpa", "llama-eager", "llama_cache", "qwen3", "gemma2", "t5",
    "bart", "clip", "whisper", "wav2vec2", "mamba", "lstm_tagger", "gru_last", "rnn_last",
    "esn-loop", "esn-scan", "transformer_encoder", "dinov2", "tcn",
)  # fmt: skip
FUSED = {
    "bert-eager": "bert",
    "bert-sdpa": "bert",
    "roberta": "bert",
    "gpt2-eager": "gpt2",
    "gpt2-sdpa": "gpt2",
    "hf_vit": "vit",
    "deit": "vit",
    "clip": "clip",
    "t5": "t5",
    "bart": "bart",
    "swin": "swin",
    "llama-eager": "gpt_neox",
    "qwen3": "qwen3",
    "wav2vec2": "conformer",
}
TRANSFORMERS = ("bert-eager", "deit", "gpt2-eager", "llama-eager", "transformer_encoder")
RECURRENT = ("lstm_tagger", "gru_last", "lstm_two")


def jobs(folder: Path) -> Iterator[Job]:
    """Yield a job for each change of each file that is there."""
    for names, suffix, change in _changes():
        for name in names:
            for stem in PLAIN:
                source = folder / f"{name}-{stem}.onnx"
                if source.exists():
                    yield _job(source, name, stem, suffix, change)
    for source in sorted([*folder.glob("*-qdq.onnx"), *folder.glob("*-qoperator.onnx")]):
        stem, _, how = source.stem.rpartition("-")
        yield _job(source, stem, how, "ort_all", partial(_runtime, level="ALL"))


def _job(source: Path, name: str, stem: str, suffix: str, change: Change) -> Job:
    return Job(
        name=name,
        family=suffix,
        exporter=suffix,
        opset=0,
        variant=stem,
        write=partial(_write, source, change),
    )


def _write(source: Path, change: Change, path: Path) -> Written:
    logging.disable(logging.WARNING)
    change(source, path)
    held = np.load(source.with_suffix(".npz"))
    feeds = {key[3:]: held[key] for key in held.files if key.startswith("in/")}
    wanted = {value.name: value.type for value in onnx.load(path).graph.input}
    cast: Feeds = {
        name: array.astype(np.float16)
        if wanted[name].tensor_type.elem_type == onnx.TensorProto.FLOAT16
        else array
        for name, array in feeds.items()
        if name in wanted
    }
    return Written(cast)


def _changes() -> Iterator[tuple[tuple[str, ...], str, Change]]:
    """Which files, the suffix, and what is done to them."""
    yield OPTIMISED, "ort_extended", partial(_runtime, level="EXTENDED")
    yield OPTIMISED, "ort_all", partial(_runtime, level="ALL")
    for name, kind in FUSED.items():
        yield (name,), "ort_fused", partial(_fused, kind=kind)
    for name in ("bert-eager", "hf_vit", "clip"):
        yield (name,), "ort_mha", partial(_fused, kind=FUSED[name], separate=True)
    for name in ("bert-eager", "hf_vit", "gpt2-eager"):
        yield (name,), "ort_fused_fp16", partial(_fused, kind=FUSED[name], half=True)
    yield CNNS + TRANSFORMERS, "fp16", _half
    yield CNNS + TRANSFORMERS, "qdq", partial(_static, kind="QDQ")
    yield CNNS + TRANSFORMERS, "qoperator", partial(_static, kind="QOperator")
    yield CNNS[:2], "qdq_channels", partial(_static, kind="QDQ", channels=True)
    yield CNNS[:3], "qdq_int16", partial(_static, kind="QDQ", wide=True)
    yield CNNS[:3] + TRANSFORMERS + RECURRENT, "dynamic", _dynamic
    yield ("llama-eager", "bert-eager"), "matmul_4bit", _four_bits


def _runtime(source: Path, path: Path, *, level: str) -> None:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = getattr(
        onnxruntime.GraphOptimizationLevel, f"ORT_ENABLE_{level}"
    )
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])


def _fused(
    source: Path, path: Path, *, kind: str, separate: bool = False, half: bool = False
) -> None:
    options = FusionOptions(kind)
    options.use_multi_head_attention = separate
    found = optimizer.optimize_model(
        str(source),
        kind,
        num_heads=2,
        hidden_size=16,
        opt_level=0,
        optimization_options=options,
        use_gpu=False,
    )
    if half:
        found.convert_float_to_float16(keep_io_types=True)
    found.save_model_to_file(str(path))


def _half(source: Path, path: Path) -> None:
    onnx.save(float16.convert_float_to_float16(onnx.load(source)), path)


class _Reader(quantization.CalibrationDataReader):
    """Calibrates on the inputs that lie beside a file."""

    def __init__(self, source: Path) -> None:
        held = np.load(source.with_suffix(".npz"))
        self.feeds = iter([{k[3:]: held[k] for k in held.files if k.startswith("in/")}])

    def get_next(self) -> Feeds | None:
        """The next inputs."""
        return next(self.feeds, None)


def _static(
    source: Path, path: Path, *, kind: str, channels: bool = False, wide: bool = False
) -> None:
    ready = _ready(source, path)
    types = quantization.QuantType
    quantization.quantize_static(
        str(ready),
        str(path),
        _Reader(source),
        quant_format=quantization.QuantFormat[kind],
        per_channel=channels,
        activation_type=types.QInt16 if wide else types.QUInt8,
        weight_type=types.QInt8,
    )
    ready.unlink()


def _ready(source: Path, path: Path) -> Path:
    """The file as quantisation wants it: shapes inferred, constants folded."""
    ready = path.with_suffix(".ready")
    quant_pre_process(str(source), str(ready), skip_symbolic_shape=True)
    return ready


def _dynamic(source: Path, path: Path) -> None:
    ready = _ready(source, path)
    quantization.quantize_dynamic(str(ready), str(path))
    ready.unlink()


def _four_bits(source: Path, path: Path) -> None:
    found = matmul_nbits_quantizer.MatMulNBitsQuantizer(
        onnx.load(source), block_size=16, accuracy_level=0
    )
    found.process()
    found.model.save_model_to_file(str(path))
