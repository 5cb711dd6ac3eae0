"""`onnxlrp compile`: a model in, an explanation graph out."""

import argparse
from pathlib import Path

from onnxlrp.cli.files import check_no_overwrite, check_writable
from onnxlrp.cli.options import (
    Commands,
    add_method,
    add_outputs,
    output_keywords,
    plan_keywords,
    target_keywords,
)
from onnxlrp.data import Preprocessing


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "compile a model into a graph that computes its prediction and the relevance"
    parser = commands.add_parser("compile", parents=[common], help=text, description=text)
    parser.add_argument("model", metavar="MODEL", help="an ONNX model")
    parser.add_argument("-o", "--out", metavar="OUT.onnx", required=True, help="the graph")
    add_method(parser)
    add_outputs(parser)
    parser.add_argument(
        "--preprocess",
        metavar="NAME|FILE",
        help="store how pictures are prepared: imagenet, unit, raw, tf, caffe or a .json file",
    )
    parser.add_argument(
        "--picture",
        action="store_true",
        help="take pictures as they are (uint8 RGB [N, H, W, 3], any size) and add "
        "overlay/<input>, the heat over the picture; needs --preprocess",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    out = Path(options.out)
    steps = Preprocessing.parse(options.preprocess).to_json() if options.preprocess else None
    check_writable(out)
    check_no_overwrite(out, options.model)
    from onnxlrp.compile import compile as compile_model

    graph = compile_model(
        options.model,
        preprocessing=steps,
        **plan_keywords(options),
        **target_keywords(options),
        **output_keywords(options),
    )
    if options.picture:
        from onnxlrp.pictures import with_pictures

        graph = with_pictures(graph, steps)
    graph.save(out)
    metadata = graph.metadata
    inputs = ", ".join(f"'{name}'" for name in metadata.inputs)
    print(f"output     '{metadata.output}'" + _explained(metadata.output, metadata.explained))
    print(f"inputs     {inputs}")
    print(f"composite  {metadata.composite.get('name', '')}")
    print(f"target     {metadata.target}")
    print(f"nodes      {len(graph.model.graph.node)}, {out.stat().st_size / 2**20:.2f} MiB")
    print(f"wrote      {out}")
    return 0


def _explained(output: str, explained: str) -> str:
    return "" if output == explained else f", explained before its activation: '{explained}'"
