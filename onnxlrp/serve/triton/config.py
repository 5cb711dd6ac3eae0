"""The configuration of a model in Triton, with nothing left to guess."""

import json
from typing import Final

from onnxlrp.errors import InputError
from onnxlrp.runtime.settings import CPU, CUDA, TENSORRT, Settings, with_options
from onnxlrp.runtime.signature import Port
from onnxlrp.serve.artefact import Artefact
from onnxlrp.serve.datatypes import DATATYPES
from onnxlrp.serve.triton.layout import Layout
from onnxlrp.serve.triton.pbtxt import Field, Word, parameters

LABELS: Final = "labels.txt"


def model_config(artefact: Artefact, layout: Layout) -> dict[str, Field]:
    """Return the configuration of the model, with every dim written out.

    With `max_batch_size: 0` the batch is a dim like others, so that nothing is cut or reshaped;
    batching is on where each input and output has a free batch on axis 0 and a second axis.
    """
    most = layout.max_batch if layout.max_batch > 1 and can_batch(artefact) else 0
    config: dict[str, Field] = {
        "name": artefact.name,
        "backend": layout.backend,
        "max_batch_size": most,
        "version_policy": {"latest": {"num_versions": 1}},
        "input": [model_port(port, most) for port in artefact.required],
        "output": [_output(artefact, port, most) for port in artefact.outputs],
        "instance_group": [{"count": layout.instances, "kind": _kind(layout.device)}],
    }
    if layout.backend == "python":
        extra = artefact.signature.extra
        optional = [extra[name] for name in extra if name in artefact.signature.optional]
        config["input"] = [
            *(model_port(port, most) for port in artefact.required),
            *({**model_port(port, 0), "optional": True} for port in optional if not most),
        ]
        _check_numpy(artefact)
    if most:
        config["dynamic_batching"] = {"max_queue_delay_microseconds": layout.delay}
    if layout.backend == "onnxruntime" and layout.device in ("cuda", "tensorrt"):
        config["optimization"] = _accelerators(layout)
    config["parameters"] = parameters(_settings(layout))
    warmup = _warmup(artefact, most)
    return config | ({"model_warmup": [warmup]} if warmup else {})


def can_batch(artefact: Artefact) -> bool:
    """Tell whether the server may put the samples of several requests into one run."""
    ports = (*artefact.required, *artefact.outputs)
    return all(len(port.shape) > 1 and not isinstance(port.shape[0], int) for port in ports)


def model_port(port: Port, batched: int = 0) -> dict[str, Field]:
    """Return an input or output with every dim; without the first where requests are batched.

    Raises:
        InputError: Triton has no such type.
    """
    if port.kind not in DATATYPES:
        raise InputError(f"'{port.name}' ({port}): Triton has no such type")
    kind = DATATYPES[port.kind].replace("BYTES", "STRING")
    dims = [dim if isinstance(dim, int) else -1 for dim in port.shape][1 if batched else 0 :]
    entry: dict[str, Field] = {
        "name": port.name,
        "data_type": Word(f"TYPE_{kind}"),
        "dims": dims or [1],
    }
    return entry if dims else entry | {"reshape": {"shape": []}}


def _output(artefact: Artefact, port: Port, batched: int) -> dict[str, Field]:
    entry = model_port(port, batched)
    if artefact.labels and port.name == artefact.metadata.output:
        entry["label_filename"] = LABELS
    return entry


def _check_numpy(artefact: Artefact) -> None:
    for port in (*artefact.required, *artefact.outputs):
        if port.dtype is None:
            raise InputError(f"'{port.name}' ({port}): the Python backend has no such type")


def _kind(device: str) -> Word:
    return Word({"auto": "KIND_AUTO", "cpu": "KIND_CPU"}.get(device, "KIND_GPU"))


def _accelerators(layout: Layout) -> dict[str, Field]:
    cuda = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"}
    tensorrt = {"precision_mode": "FP16" if layout.fp16 else "FP32"}
    if layout.engines:
        cache = {"trt_engine_cache_enable": "1", "trt_engine_cache_path": layout.engines}
        tensorrt.update(cache)
    wanted = {"tensorrt": tensorrt} if layout.device == "tensorrt" else {}
    entries: list[Field] = [
        {"name": name, "parameters": [{"key": k, "value": v} for k, v in options.items()]}
        for name, options in (wanted | {"cuda": cuda}).items()
    ]
    return {"execution_accelerators": {"gpu_execution_accelerator": entries}}


def _settings(layout: Layout) -> dict[str, str]:
    threads = {"intra_op_thread_count": str(layout.threads)}
    if layout.backend == "onnxruntime":
        return threads
    names = {"cpu": [CPU], "tensorrt": [TENSORRT, CUDA, CPU]}.get(layout.device, [CUDA, CPU])
    given = with_options(names, Settings(fp16=layout.fp16, engines=layout.engines))
    providers = [(each, {}) if isinstance(each, str) else each for each in given]
    most = str(layout.limits.max_elements)
    return threads | {"providers": json.dumps(providers), "max_elements": most}


def _warmup(artefact: Artefact, batched: int) -> dict[str, Field] | None:
    """A run on zeros when the model is loaded; None where a size other than the batch is free."""
    inputs: list[Field] = []
    for port in artefact.required:
        dims = [1 if not isinstance(dim, int) else dim for dim in port.shape]
        if any(not isinstance(dim, int) for dim in port.shape[1:]) or port.kind == "string":
            return None
        entry = model_port(port, batched)
        value = {"data_type": entry["data_type"], "dims": dims[1 if batched else 0 :] or [1]}
        inputs.append({"key": port.name, "value": {**value, "zero_data": True}})
    return {"name": "zeros", "batch_size": 1, "inputs": inputs}
