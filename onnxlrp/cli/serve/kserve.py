"""`onnxlrp serve kserve`: a predictor for KServe, with manifest and image."""

import argparse
from pathlib import Path

from onnxlrp.cli.options import Commands
from onnxlrp.cli.serve.model import add_model, artefact_of, limits_of, read_model
from onnxlrp.errors import DataError, InputError
from onnxlrp.render import COLORS, Style
from onnxlrp.serve.artefact import find_pictures
from onnxlrp.serve.kserve.manifest import Service
from onnxlrp.serve.kserve.service import write_kserve
from onnxlrp.serve.settings import Limits


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "write a predictor for KServe: manifest, Dockerfile and program (v2, v1 and :explain)"
    parser = commands.add_parser("kserve", parents=[common], help=text, description=text)
    parser.add_argument("-o", "--out", metavar="DIR", required=True, help="a new folder")
    add_model(parser)
    default, limits = Service(image=""), Limits()
    option = parser.add_argument_group("service").add_argument
    option("--image", metavar="NAME", help="image in a registry (default: the model's name)")
    option("--device", choices=("cpu", "cuda"), default="cpu", help="(cpu)")
    option("--cpu", metavar="N", type=int, default=default.cpu, help="cores (2)")
    option("--memory", metavar="M", default=default.memory, help="memory (2Gi)")
    option("--timeout", metavar="S", type=int, default=default.timeout, help="of a request (60)")
    option("--max-elements", metavar="N", type=int, default=limits.max_elements, help="of an input")
    option("--max-bytes", metavar="N", type=int, default=limits.max_bytes, help="of a picture")
    option("--max-pixels", metavar="N", type=int, default=limits.max_pixels, help="of a picture")
    option("--colors", choices=list(COLORS), default="seismic", help="colour map of heatmaps")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    served = read_model(options)
    service = Service(
        image=options.image or f"{served.name.lower()}:latest",
        device=options.device,
        cpu=options.cpu,
        memory=options.memory,
        timeout=options.timeout,
        limits=limits_of(options),
    )
    artefact = artefact_of(served)
    pictures = None
    try:
        pictures = find_pictures(artefact, served.steps, Style(colors=options.colors))
        notes = list(pictures.fitted.notes)
    except (DataError, InputError) as error:
        notes = [f"arrays only, no pictures: {error}"]
    write_kserve(artefact, served.save, Path(options.out), service, pictures)
    print("\n".join([*notes, f"wrote      {options.out}"]))
    return 0
