"""How the zoo's PyTorch networks become files: both exporters, any opset, seeded weights."""

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import ml_dtypes
import onnx
import torch
from torch import Tensor, nn

from tools.peers.zoo_job import SEED, Feeds, Job, Written

__all__ = ["Network", "cast", "jobs", "known", "prepared", "thin"]

LEGACY, DYNAMO = "torchscript", "dynamo"
OPSETS = {LEGACY: (17, 13, 20), DYNAMO: (21, 18, 23)}
"""Opsets by exporter, the one of a quick run first."""

TYPED = ("resnet_basic", "deit", "berteager", "lstm_last", "transformer_encoder", "branchscript")
TYPES = {"half": torch.float16, "bfloat": torch.bfloat16, "double": torch.float64}

BATCH_NORM = nn.modules.batchnorm._BatchNorm
NORMS = (BATCH_NORM, nn.LayerNorm)

Axes = Mapping[str, Mapping[int, str]]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One network of the zoo.

    Attributes:
        name: Its name.
        family: What it belongs to.
        build: Makes the module; the random seed is set before it is called.
        sample: Makes the inputs by name, in the order of the arguments.
        axes: Symbolic axes that every input has unless `own` says otherwise.
        own: Symbolic axes of single inputs.
        exporters: Which exporters are asked.
        variant: Tells apart two configurations of one network.
        dtype: Type of its weights and of its floating-point inputs.
    """

    name: str
    family: str
    build: Callable[[], nn.Module]
    sample: Callable[[], dict[str, Tensor]]
    axes: Mapping[int, str] = field(default_factory=lambda: {0: "batch"})
    own: Axes = field(default_factory=dict)
    exporters: tuple[str, ...] = (LEGACY, DYNAMO)
    variant: str = ""
    dtype: torch.dtype = torch.float32

    def axes_of(self, name: str) -> dict[int, str]:
        """Symbolic axes of one input."""
        return dict(self.own.get(name, self.axes))


def jobs(networks: Iterator[Network], *, quick: bool) -> Iterator[Job]:
    """Yield a job per network, exporter and opset; some networks in other float types too."""
    for network in known(networks):
        for exporter in network.exporters:
            for opset in OPSETS[exporter][: 1 if quick else None]:
                yield Job(
                    name=network.name,
                    family=network.family,
                    exporter=exporter,
                    opset=opset,
                    variant=network.variant,
                    write=_writer(network, exporter, opset),
                )


def known(networks: Iterator[Network]) -> list[Network]:
    """The networks, and some of them in other float types too."""
    found = list(networks)
    return found + [
        replace(network, dtype=dtype, variant=suffix)
        for network in found
        if f"{network.name}{network.variant}" in TYPED
        for suffix, dtype in TYPES.items()
    ]


def _writer(network: Network, exporter: str, opset: int) -> Callable[[Path], Written]:
    def write(path: Path) -> Written:
        module, sample = prepared(network)
        note = _export(module, sample, network, path, exporter, opset)
        return Written(feeds_of(sample), note)

    return write


def prepared(network: Network) -> tuple[nn.Module, dict[str, Tensor]]:
    """The module that is exported and its inputs, the same at every call."""
    warnings.simplefilter("ignore")
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    torch.backends.mha.set_fastpath_enabled(False)
    module, sample = network.build(), network.sample()
    module.eval()
    if not isinstance(module, torch.jit.ScriptModule):
        _shake(module)
        _settle(module, sample)
    module.to(network.dtype)
    return module, cast(sample, network.dtype)


def cast(sample: Mapping[str, Tensor], dtype: torch.dtype) -> dict[str, Tensor]:
    """The inputs, those in floating point in one type."""
    return {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in sample.items()
    }


def feeds_of(sample: Mapping[str, Tensor]) -> Feeds:
    """The inputs as arrays."""
    return {
        name: tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
        if tensor.dtype == torch.bfloat16
        else tensor.numpy()
        for name, tensor in sample.items()
    }


def _shake(module: nn.Module) -> None:
    """Give normalisations scales that are not one, and last layers weights that are not zero."""
    for part in module.modules():
        if isinstance(part, NORMS) and part.weight is not None:
            nn.init.uniform_(part.weight, 0.5, 1.5)
            if part.bias is not None:
                nn.init.normal_(part.bias, std=0.1)
        elif isinstance(part, nn.Linear) and not part.weight.any():
            nn.init.xavier_uniform_(part.weight)


def _settle(module: nn.Module, sample: Mapping[str, Tensor]) -> None:
    """Let batch normalisations see the inputs, so that values neither vanish nor explode."""
    parts = [part for part in module.modules() if isinstance(part, BATCH_NORM)]
    for part in parts:
        part.momentum = 0.5
        part.train()
    with torch.no_grad():
        for _ in range(4 if parts else 0):
            module(*sample.values())
    module.eval()


def _export(
    module: nn.Module,
    sample: Mapping[str, Tensor],
    network: Network,
    path: Path,
    exporter: str,
    opset: int,
) -> str:
    """Export with symbolic axes; where that fails with fixed ones, and say so."""
    symbolic = {name: network.axes_of(name) for name in sample}
    call = _with_dynamo if exporter == DYNAMO else _with_torchscript
    with torch.no_grad():
        try:
            call(module, sample, symbolic, path, opset)
        except Exception as error:
            if not any(symbolic.values()):
                raise
            call(module, sample, {}, path, opset)
            return f"fixed shapes: {type(error).__name__}"
    return ""


def _with_torchscript(
    module: nn.Module, sample: Mapping[str, Tensor], axes: Axes, path: Path, opset: int
) -> None:
    torch.onnx.export(
        module,
        tuple(sample.values()),
        str(path),
        input_names=list(sample),
        dynamic_axes={name: dict(each) for name, each in axes.items()},
        opset_version=opset,
        dynamo=False,
    )


def _with_dynamo(
    module: nn.Module, sample: Mapping[str, Tensor], axes: Axes, path: Path, opset: int
) -> None:
    dims = {symbol: torch.export.Dim(symbol) for each in axes.values() for symbol in each.values()}
    shapes = tuple(
        {axis: dims[symbol] for axis, symbol in axes.get(name, {}).items()} for name in sample
    )
    program = torch.onnx.export(
        module,
        tuple(sample.values()),
        input_names=list(sample),
        dynamic_shapes=shapes if dims else None,
        opset_version=opset,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    program.save(str(path), external_data=False)
    onnx.checker.check_model(str(path))


def thin(module: nn.Module, by: int) -> nn.Module:
    """Divide every channel count above ten by a number, rounding up, and draw new weights.

    Concatenations stay right only where every count that they join is a multiple.
    """
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            _thin_conv(part, by)
        elif isinstance(part, nn.Linear):
            part.in_features, part.out_features = (
                less(part.in_features, by),
                less(part.out_features, by),
            )
            part.weight, part.bias = _drawn((part.out_features, part.in_features), part.bias)
        elif isinstance(part, nn.BatchNorm2d):
            width = part.num_features = less(part.num_features, by)
            part.weight, part.bias = (
                nn.Parameter(torch.ones(width)),
                nn.Parameter(torch.zeros(width)),
            )
            part.running_mean, part.running_var = torch.zeros(width), torch.ones(width)
    return module


def less(count: int, by: int) -> int:
    """A channel count divided, or itself where it is small."""
    return count if count <= 10 else -(-count // by)


def _thin_conv(part: nn.Conv2d, by: int) -> None:
    depthwise = part.groups == part.in_channels
    part.in_channels, part.out_channels = less(part.in_channels, by), less(part.out_channels, by)
    if depthwise or part.in_channels % part.groups:
        part.groups = less(part.groups, by)
    shape = (part.out_channels, part.in_channels // part.groups, *part.kernel_size)
    part.weight, part.bias = _drawn(shape, part.bias)


def _drawn(
    shape: tuple[int, ...], bias: nn.Parameter | None
) -> tuple[nn.Parameter, nn.Parameter | None]:
    """A weight that keeps the variance, and a small bias where there was one."""
    weight = nn.Parameter(torch.randn(shape) * (2 / max(1, math.prod(shape[1:]))) ** 0.5)
    return weight, None if bias is None else nn.Parameter(torch.randn(shape[0]) * 0.1)
