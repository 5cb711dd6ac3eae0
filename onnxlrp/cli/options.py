"""Options that several commands share."""

import argparse
from collections.abc import Sequence
from typing import Any, Protocol, TypedDict

from onnxlrp.errors import InputError


class Commands(Protocol):
    """What `ArgumentParser.add_subparsers` returns."""

    def add_parser(
        self,
        name: str,
        *,
        parents: Sequence[argparse.ArgumentParser],
        help: str,  # noqa: A002
        description: str,
    ) -> argparse.ArgumentParser:
        """Add a command."""


class Group(Protocol):
    """What `ArgumentParser.add_argument_group` returns."""

    def add_argument(self, *names: str, **options: Any) -> object:
        """Add an option."""


class PlanKeywords(TypedDict):
    """Keywords of `onnxlrp.compile.plan`: what is explained, by which rules."""

    composite: str
    split: str | None
    output: str | None
    inputs: tuple[str, ...] | None
    keep_softmax: bool
    stops: tuple[str, ...]


class TargetKeywords(TypedDict):
    """Keywords of `onnxlrp.compile.compile` that say where relevance starts."""

    target: str
    start: str | None
    position: tuple[int, ...] | None


class OutputKeywords(TypedDict):
    """Keywords of `onnxlrp.compile.compile` that ask for further outputs."""

    probes: tuple[str, ...]
    masks: tuple[str, ...]
    ledger: bool
    heatmap: bool
    image: bool
    quantize: int | None
    without: tuple[str, ...]
    weights: str


def add_method(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose what is explained, and how."""
    group = parser.add_argument_group("method")
    group.add_argument(
        "--composite",
        metavar="NAME|FILE",
        help="composite or attributor by name, with parameters (epsilon-plus:epsilon=1e-3, agf), "
        "or a .json file (default auto)",
    )
    group.add_argument("--split", metavar="NAME", help="how an Add shares relevance out")
    group.add_argument(
        "--target", metavar="T", help="argmax (default), an index, input, seed, contrast:A:B, ..."
    )
    group.add_argument("--position", metavar="I[,J]", help="leading indices that argmax keeps")
    group.add_argument("--start", metavar="S", help="logit, one or probability")
    group.add_argument("--output", metavar="NAME", help="the explained output")
    group.add_argument(
        "--input", metavar="NAME", action="append", help="an explained input (repeatable)"
    )
    group.add_argument(
        "--stop", metavar="NAME", action="append", help="relevance stops at this node (repeatable)"
    )
    group.add_argument(
        "--keep-softmax", action="store_true", help="explain behind a final softmax or sigmoid"
    )


def add_outputs(parser: argparse.ArgumentParser) -> None:
    """Add the options that ask for further outputs of the graph."""
    group = parser.add_argument_group("further outputs")
    group.add_argument(
        "--probe", metavar="GLOB", action="append", help="relevance of hidden values (repeatable)"
    )
    group.add_argument(
        "--mask", metavar="GLOB", action="append", help="a mask per hidden value (repeatable)"
    )
    group.add_argument("--ledger", action="store_true", help="where relevance went, per node")
    group.add_argument("--heatmap", action="store_true", help="relevance summed over channels")
    group.add_argument("--image", action="store_true", help="coloured heatmaps")
    add_quantize(group)
    group.add_argument(
        "--without", metavar="NAME", action="append", help="leave out an optimisation (repeatable)"
    )
    group.add_argument(
        "--weights",
        metavar="W",
        default="fold",
        help="derived weights: kept in memory (fold, default) or made in every run (recompute)",
    )


def add_quantize(group: Group) -> None:
    """Add the option that asks for a heatmap in few levels."""
    text = "a heatmap in L levels (8 in Otsuki et al. 2024)"
    group.add_argument("--quantize", metavar="L", type=int, help=text)


def add_preprocess(group: Group) -> None:
    """Add the option that says how pictures are prepared."""
    text = "imagenet, unit, raw, tf, caffe or a .json file"
    group.add_argument("--preprocess", metavar="NAME|FILE", help=text)


def add_provider(group: Group) -> None:
    """Add the option that names ONNX Runtime providers."""
    text = "ONNX Runtime provider (repeatable)"
    group.add_argument("--provider", metavar="NAME", action="append", help=text)


def plan_keywords(options: argparse.Namespace) -> PlanKeywords:
    """Return the options that choose what is explained, by which rules."""
    return {
        "composite": options.composite or "auto",
        "split": options.split,
        "output": options.output,
        "inputs": tuple(options.input) if options.input else None,
        "keep_softmax": options.keep_softmax,
        "stops": tuple(options.stop or ()),
    }


def target_keywords(options: argparse.Namespace) -> TargetKeywords:
    """Return the options that say where relevance starts.

    Raises:
        InputError: `--position` is no index.
    """
    position, wanted = options.position, "--position expects indices such as 3 or 3,17"
    return {
        "target": options.target or "argmax",
        "start": options.start,
        "position": None if position is None else _numbers(position, wanted),
    }


def output_keywords(options: argparse.Namespace) -> OutputKeywords:
    """Return the options that ask for further outputs."""
    return {
        "probes": tuple(options.probe or ()),
        "masks": tuple(options.mask or ()),
        "ledger": options.ledger,
        "heatmap": options.heatmap,
        "image": options.image,
        "quantize": options.quantize,
        "without": tuple(options.without or ()),
        "weights": options.weights,
    }


def given_method(options: argparse.Namespace) -> list[str]:
    """Return the method options that the user gave, without `--target`."""
    names = ("composite", "split", "position", "start", "output", "input", "stop", "keep_softmax")
    return [f"--{name.replace('_', '-')}" for name in names if getattr(options, name)]


def refuse_method(options: argparse.Namespace, *others: str, instead: str) -> None:
    """Refuse method options for a graph that is compiled already.

    Args:
        options: What the user gave.
        others: Further options that have no effect on it, where they were given.
        instead: What to do, besides compiling with them.

    Raises:
        InputError: One was given.
    """
    given = [*given_method(options), *others]
    if given:
        raise InputError(
            f"'{options.model}' is compiled already, {given[0]} has no effect: pass it to "
            f"`onnxlrp compile`, or {instead}"
        )


def target_index(text: str) -> tuple[int, ...]:
    """Return the index that `--target` names.

    Raises:
        InputError: It is none.
    """
    return _numbers(text, "--target expects an index such as 243 or 3,17")


def _numbers(text: str, wanted: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise InputError(f"{wanted}, got '{text}'") from error
