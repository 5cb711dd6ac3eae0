"""`onnxlrp serve triton`: a model repository for NVIDIA Triton Inference Server."""

import argparse
from pathlib import Path

from onnxlrp.cli.options import Commands
from onnxlrp.cli.serve.model import add_model, artefact_of, limits_of, read_model
from onnxlrp.render import COLORS, Style
from onnxlrp.serve.artefact import find_pictures
from onnxlrp.serve.settings import Limits
from onnxlrp.serve.triton.config import can_batch
from onnxlrp.serve.triton.layout import BACKENDS, DEVICES, Layout
from onnxlrp.serve.triton.repository import write_triton


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "write a model repository for NVIDIA Triton Inference Server"
    parser = commands.add_parser("triton", parents=[common], help=text, description=text)
    parser.add_argument(
        "-o", "--out", metavar="REPO", required=True, help="the repository: new, or one to add to"
    )
    add_model(parser)
    _add_layout(parser)
    _add_ensemble(parser)
    parser.set_defaults(run=run)


def _add_layout(parser: argparse.ArgumentParser) -> None:
    default, option = Layout(), parser.add_argument_group("server").add_argument
    option("--backend", choices=BACKENDS, default=default.backend, help="(onnxruntime)")
    option("--device", choices=DEVICES, default=default.device, help="(auto: what there is)")
    option("--model-version", metavar="V", type=int, default=1, help="number of the version (1)")
    option(
        "--max-batch", metavar="B", type=int, default=default.max_batch, help="0: no batching (8)"
    )
    option(
        "--delay",
        metavar="US",
        type=int,
        default=default.delay,
        help="microseconds a request waits for others (500)",
    )
    option("--instances", metavar="N", type=int, default=1, help="sessions (1)")
    option("--threads", metavar="N", type=int, default=0, help="per operator; 0: all cores (0)")
    option("--fp16", action="store_true", help="TensorRT may use half precision")
    option("--engines", metavar="DIR", help="on the server: where TensorRT keeps its engines")
    option(
        "--max-elements",
        metavar="N",
        type=int,
        default=Limits().max_elements,
        help="most values of one input (Python backend)",
    )


def _add_ensemble(parser: argparse.ArgumentParser) -> None:
    limits, option = Limits(), parser.add_argument_group("pictures").add_argument
    option("--ensemble", action="store_true", help="also: picture in, prediction and heatmap out")
    option("--colors", choices=list(COLORS), default="seismic", help="colour map")
    option("--percentile", metavar="P", type=float, default=99.5, help="full colour from (99.5)")
    option("--max-bytes", metavar="N", type=int, default=limits.max_bytes, help="of a picture")
    option("--max-pixels", metavar="N", type=int, default=limits.max_pixels, help="of a picture")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    layout = _layout(options)
    style = Style(colors=options.colors, percentile=options.percentile)
    out = Path(options.out)
    served = read_model(options)
    artefact = artefact_of(served)
    pictures = None
    if options.ensemble:
        pictures = find_pictures(artefact, served.steps, style)
        for note in pictures.fitted.notes:
            print(note)
    names = write_triton(artefact, served.save, out, layout, pictures)
    print(f"models     {', '.join(names)}")
    print(f"backend    {layout.backend}, {layout.device}")
    batched = layout.max_batch > 1 and can_batch(artefact)
    print(
        f"batching   {f'up to {layout.max_batch} samples' if batched else 'as each request says'}"
    )
    print(f"wrote      {out}")
    return 0


def _layout(options: argparse.Namespace) -> Layout:
    return Layout(
        backend=options.backend,
        device=options.device,
        version=options.model_version,
        max_batch=options.max_batch,
        delay=options.delay,
        instances=options.instances,
        threads=options.threads,
        fp16=options.fp16,
        engines=options.engines,
        limits=limits_of(options),
    )
