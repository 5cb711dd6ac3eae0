"""`onnxlrp paths`: selects neurons of one prediction, draws their graph and its critical paths."""

import argparse

from onnxlrp.cli.options import (
    Commands,
    add_method,
    add_preprocess,
    add_provider,
)


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "select the neurons that matter for a prediction, draw their graph and critical paths"
    parser = commands.add_parser("paths", parents=[common], help=text, description=text)
    parser.add_argument("model", metavar="MODEL", help="an ONNX model")
    parser.add_argument("source", metavar="INPUT", help="one sample: png, npy, npz, csv, json, -")
    parser.add_argument("-o", "--out", metavar="DIR", required=True, help="folder for the results")
    add_method(parser)
    _add_selection(parser)
    _add_data(parser)
    parser.set_defaults(run=run)


def _add_selection(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("selection")
    group.add_argument(
        "--layers", metavar="GLOB", action="append", help="hidden values by name (repeatable)"
    )
    policy = group.add_mutually_exclusive_group()
    policy.add_argument("--top-k", metavar="K", type=int, help="the K largest of each layer (8)")
    policy.add_argument("--mass", metavar="M", type=float, help="the fewest with this share of |R|")
    policy.add_argument("--threshold", metavar="T", type=float, help="those with this share of |R|")
    group.add_argument("--positive", action="store_true", help="only nodes that speak for it")
    group.add_argument(
        "--plain", action="store_true", help="do not give the relevance of the others to the kept"
    )
    group.add_argument(
        "--flow", action="store_true", help="score nodes by what arrives from the kept ones above"
    )
    group.add_argument("--paths", metavar="N", type=int, default=3, help="best paths (3)")
    group.add_argument(
        "--search", metavar="SMAPE", type=float, help="find the fewest that keep the output (5)"
    )
    group.add_argument("--greedy", action="store_true", help="then drop nodes one by one")
    group.add_argument(
        "--data", metavar="FOLDER", help="show what the best path saw in the best of these pictures"
    )
    group.add_argument("--deconv", action="store_true", help="rebuild what the best path saw")


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    add_preprocess(group)
    group.add_argument("--layout", metavar="L", help="layout of the picture input: nchw, nhwc, ...")
    group.add_argument("--labels", metavar="FILE", help="class names, one per line")
    add_provider(group)


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    from onnxlrp.cli.paths.run import run as run_paths

    return run_paths(options)
