"""Runs `onnxlrp paths`."""

import argparse
from collections.abc import Sequence
from pathlib import Path as File
from typing import Final

from onnxlrp.cli.files import check_no_overwrite
from onnxlrp.cli.options import plan_keywords, target_keywords
from onnxlrp.cli.paths.answer import Answer
from onnxlrp.cli.paths.files import check_folder, files_of, write_folder
from onnxlrp.data import Preprocessing, Sample, expand, load_labels, load_sample
from onnxlrp.errors import InputError
from onnxlrp.neurons.explore import Explorer, Found
from onnxlrp.neurons.network import best_paths, path_network, widest_path
from onnxlrp.neurons.policy import Policy
from onnxlrp.neurons.search import LIMIT, Choice
from onnxlrp.neurons.selection import Question
from onnxlrp.plan import Request
from onnxlrp.runtime.providers import check_providers

SHOWN: Final = 8
MOST_SHOWN: Final = 16


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    out = File(options.out)
    check_folder(out)
    check_providers(options.provider or ())
    if options.paths < 1:
        raise InputError(f"--paths must be at least 1, got {options.paths}")
    sources = expand([options.source])
    check_no_overwrite(out, options.model, *sources)
    labels = load_labels(options.labels) if options.labels else ()
    explorer = Explorer(options.model, _question(options), _shown(options), options.provider)
    sample = _sample(options, sources, explorer)
    found = explorer(sample.inputs)
    label = labels[found.target[-1]] if found.target and found.target[-1] < len(labels) else ""
    graph = path_network(found, label)
    answer = Answer(
        sample=sample,
        explorer=explorer,
        found=found,
        graph=graph,
        paths=best_paths(graph, options.paths),
        widest=widest_path(graph),
        label=label,
        choice=_choice(options, explorer, sample, found),
        deconv=options.deconv,
        data=_data(options, explorer),
    )
    write_folder(out, files_of(answer))
    _report(answer, options.out)
    return 0


def _question(options: argparse.Namespace) -> Question:
    target = target_keywords(options)
    return Question(
        request=Request(**plan_keywords(options)),
        target=target["target"],
        position=target["position"],
        start=target["start"],
        layers=tuple(options.layers or ()),
        policy=_policy(options),
    )


def _policy(options: argparse.Namespace) -> Policy:
    by_share = options.mass is not None or options.threshold is not None
    return Policy(
        k=None if by_share else SHOWN if options.top_k is None else options.top_k,
        m=1.0 if options.mass is None else options.mass,
        theta=0.0 if options.threshold is None else options.threshold,
        ranking="positive" if options.positive else "size",
        conserve=not options.plain,
        flow=options.flow,
    )


def _shown(options: argparse.Namespace) -> int:
    """How many nodes of a layer have edges."""
    return SHOWN if options.top_k is None else min(max(options.top_k, 1), MOST_SHOWN)


def _sample(options: argparse.Namespace, sources: Sequence[str], explorer: Explorer) -> Sample:
    if len(sources) != 1:
        raise InputError(f"'{options.source}' holds {len(sources)} files: give one sample")
    steps = Preprocessing.parse(options.preprocess) if options.preprocess else None
    return load_sample(sources[0], explorer.select.ports, steps, options.layout)


def _data(options: argparse.Namespace, explorer: Explorer) -> tuple[Sample, ...]:
    """The samples in which the best ones are looked for; each of one name."""
    if options.data is None:
        return ()
    steps = Preprocessing.parse(options.preprocess) if options.preprocess else None
    return tuple(
        load_sample(file, explorer.select.ports, steps, options.layout)
        for file in expand([options.data])
    )


def _choice(
    options: argparse.Namespace, explorer: Explorer, sample: Sample, found: Found
) -> Choice | None:
    if options.search is None and not options.greedy:
        return None
    limit = LIMIT if options.search is None else options.search
    return explorer.choose(sample.inputs, found, limit, greedy=options.greedy)


def _report(answer: Answer, out: str) -> None:
    for note in answer.sample.notes:
        print(note)
    found = answer.found
    kept = sum(int(layer.kept.sum()) for layer in found.layers)
    every = sum(len(layer.kept) for layer in found.layers)
    print(f"output '{found.output}', target {answer.target}, relevance {found.start:.5g}")
    print(f"{kept} of {every} nodes of {len(found.layers)} layers kept")
    for name, what in (("F1", "nodes"), ("F2", "output"), ("F3", "map")):
        print(f"{name} {what}: MSE {found.mse[what]:.4g}, SMAPE {found.smape[what]:.4g} %")
    for path in answer.paths[:1]:
        print(f"best path: {' <- '.join(path.nodes)}")
    if answer.choice is not None:
        few = sum(int(mask.sum()) for mask in answer.choice.kept.values())
        print(f"search: m = {answer.choice.m:.4g}, {few} nodes")
    print(f"wrote {out}")
