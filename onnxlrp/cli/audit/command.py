"""`onnxlrp audit`: a model and data in, artifacts and a verdict per pixel out."""

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from onnxlrp.cli.detect import is_explanation_graph
from onnxlrp.cli.fields import add_fields, list_samples
from onnxlrp.cli.files import make_folder, write_bytes
from onnxlrp.cli.options import (
    Commands,
    add_preprocess,
    add_provider,
)
from onnxlrp.cli.progress import Progress
from onnxlrp.cli.table import format_table
from onnxlrp.data import Preprocessing
from onnxlrp.data.boxes import make_boxes
from onnxlrp.data.datasets.items import ItemReader
from onnxlrp.data.datasets.listing import Listing
from onnxlrp.data.pictures import load_picture
from onnxlrp.errors import DataError, InputError
from onnxlrp.runtime.providers import check_providers

if TYPE_CHECKING:
    from onnxlrp.audit import Audit, Options, Remedies, Samples, Subject

SYNTHETIC = "synthetic"


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "tell facts from artifacts of the model in its relevance maps"
    parser = commands.add_parser("audit", parents=[common], help=text, description=text)
    parser.add_argument("model", metavar="MODEL", nargs="?", help="an ONNX model of one input")
    parser.add_argument(
        "data",
        metavar="DATA",
        nargs="?",
        help="a .npz (x, y), a folder of pictures, a folder per class, images.csv, a gridded file "
        "(.nc, .zarr, .grib), or synthetic (one deciding box, two distractors, 100 x 100)",
    )
    parser.add_argument("-o", "--out", metavar="DIR", help="folder for report.html and audit.json")
    parser.add_argument(
        "--self-test",
        action="store_true",
        help="audit small nets with known artifacts on the synthetic task; takes no MODEL, DATA",
    )
    _add_method(parser)
    _add_remedies(parser)
    _add_data(parser)
    add_fields(parser)
    parser.set_defaults(run=run)


def _add_method(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("what is audited")
    group.add_argument("--composite", metavar="NAME|FILE", default="auto", help="the method (auto)")
    group.add_argument("--split", metavar="NAME", help="how an Add shares relevance out")
    group.add_argument(
        "--target", metavar="T", default="argmax", help="argmax (default), index or contrast:A:B"
    )
    group.add_argument("--output", metavar="NAME", help="the explained output")
    group.add_argument(
        "--keep-softmax", action="store_true", help="explain behind a final softmax or sigmoid"
    )
    group.add_argument(
        "--draws", metavar="K", type=int, default=8, help="random models, shuffled inputs (8)"
    )
    group.add_argument(
        "--compared", metavar="M", type=int, default=16, help="samples that these explain (16)"
    )
    group.add_argument("--seed", metavar="S", type=int, default=0, help="of all chance (0)")
    group.add_argument(
        "--time", choices=("columns", "rows"), help="the steps of a recurrent net (as found)"
    )


def _add_remedies(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("remedies, applied before the audit")
    group.add_argument(
        "--shift",
        metavar="C",
        type=float,
        help="explain x + C in a model with b - W C: same output",
    )
    group.add_argument(
        "--first-layer",
        metavar="RULE",
        help="flat, wsquare or zbox:low=L,high=H in the first layer",
    )
    group.add_argument(
        "--ignore-mask",
        metavar="FILE",
        help=".npy or picture [H, W]: pixels that are not 0 take no relevance, the rest is scaled",
    )
    group.add_argument(
        "--divide-coverage", action="store_true", help="divide maps by the structure map"
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data and running")
    group.add_argument("--limit", metavar="N", type=int, help="at most N samples")
    group.add_argument("--per-class", metavar="N", type=int, help="at most N samples of a class")
    group.add_argument("--shuffle", metavar="SEED", type=int, help="choose these at random")
    group.add_argument("--labels", metavar="FILE", help="class names, one per line")
    group.add_argument("--label-file", metavar="FILE", help="labels of a folder of pictures")
    add_preprocess(group)
    group.add_argument("--layout", metavar="L", help="layout of the input: nchw, nhwc, nhw, ...")
    group.add_argument(
        "--show", metavar="M", type=int, default=3, help="single samples in the report (3)"
    )
    group.add_argument(
        "--batch-size", metavar="B", type=int, default=32, help="samples per run (32)"
    )
    add_provider(group)
    group.add_argument("--json", action="store_true", help="print audit.json")


def run(options: argparse.Namespace) -> int:
    """Run the command."""
    check_providers(options.provider or ())
    if options.self_test:
        return _self_test(options)
    if options.model is None or options.data is None:
        raise InputError("audit takes MODEL and DATA, or --self-test")
    if options.show < 0:
        raise InputError(f"--show must not be negative, got {options.show}")
    if is_explanation_graph(options.model):
        raise InputError(f"'{options.model}' is compiled already: pass the source model")
    from onnxlrp.audit import audit, open_subject

    subject = open_subject(options.model, _options(options), options.layout)
    samples, notes = _read(options, subject)
    remedies = _remedies(options)
    if options.out is not None:
        make_folder(Path(options.out))
    found = audit(subject, samples, remedies, Progress(label="auditing"))
    _finish(options, _noted(found, notes), remedies)
    return 0


def _options(options: argparse.Namespace) -> "Options":
    from onnxlrp.audit import Options

    return Options(
        composite=options.composite,
        split=options.split,
        target=options.target,
        output=options.output,
        keep_softmax=options.keep_softmax,
        draws=options.draws,
        compared=options.compared,
        seed=options.seed,
        time=options.time,
        batch_size=options.batch_size,
        providers=options.provider,
    )


def _remedies(options: argparse.Namespace) -> "Remedies":
    from onnxlrp.audit import Remedies
    from onnxlrp.audit.remedies import first_layer_row

    if options.first_layer is not None:
        first_layer_row(options.first_layer)
    if options.shift is not None and not np.isfinite(options.shift):
        raise InputError(f"--shift must be a finite number, got {options.shift}")
    mask = None if options.ignore_mask is None else _mask(Path(options.ignore_mask))
    return Remedies(
        shift=options.shift,
        first_layer=options.first_layer,
        ignore=mask,
        divide=options.divide_coverage,
    )


def _mask(path: Path) -> npt.NDArray[np.bool_]:
    if path.suffix.lower() != ".npy":
        return np.asarray(load_picture(path).convert("L")) > 0
    try:
        array = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read the mask '{path}': {error}") from error
    if array.ndim != 2 or array.dtype.kind not in "biuf":
        raise DataError(f"the mask '{path}' must hold numbers [H, W], not {list(array.shape)}")
    return np.asarray(array != 0)


def _read(options: argparse.Namespace, subject: "Subject") -> "tuple[Samples, tuple[str, ...]]":
    """Read the samples, and what was assumed about them in words."""
    from onnxlrp.audit import Samples

    if options.data == SYNTHETIC and not Path(SYNTHETIC).exists():
        return _synthetic(options), ()
    listing = list_samples(options, _is_scalar(subject))
    steps = Preprocessing.parse(options.preprocess) if options.preprocess else None
    x = np.stack(list(_pictures(listing, subject, steps, options.layout)))
    known = [entry.label for entry in listing.entries if entry.label is not None]
    every = np.array(known, np.int64) if len(known) == len(listing.entries) else None
    names = tuple(entry.name for entry in listing.entries)
    return Samples(x=x, labels=every, names=names), listing.notes


def _is_scalar(subject: "Subject") -> bool:
    """Whether the explained output is one score, whose classes are its signs."""
    value = next(o for o in subject.proto.graph.output if o.name == subject.output)
    kind = value.type.tensor_type
    sizes = [dim.dim_value for dim in kind.shape.dim]
    return kind.HasField("shape") and all(size == 1 for size in sizes[subject.frame.batched :])


def _noted(found: "Audit", notes: tuple[str, ...]) -> "Audit":
    """Add what was assumed about the samples."""
    evidence = replace(found.evidence, notes=(*found.evidence.notes, *notes))
    return replace(found, evidence=evidence)


def _pictures(
    listing: Listing, subject: "Subject", steps: Preprocessing | None, layout: str | None
) -> Iterator[npt.NDArray[np.float32]]:
    reader = ItemReader.make(listing, subject.frame.port, steps, layout)
    for entry in listing.entries:
        yield subject.frame.to_case(reader.read(entry).x)


def _synthetic(options: argparse.Namespace) -> "Samples":
    from onnxlrp.audit.selftest import PER_CLASS, synthetic_samples

    if options.limit is not None and options.limit < 1:
        raise DataError(f"--limit must be at least 1, got {options.limit}")
    data = make_boxes(max(PER_CLASS, -(-(options.limit or 0) // 2)), options.seed)
    return synthetic_samples(data, slice(options.limit))


def _finish(options: argparse.Namespace, found: "Audit", remedies: "Remedies") -> None:
    from onnxlrp.cli.audit.files import as_json, command_line, format_audit

    entries = as_json(found, remedies, command_line(options))
    if options.out is not None:
        _write(Path(options.out), found, remedies, command_line(options), options.show)
    print(json.dumps(entries, indent=2, allow_nan=False) if options.json else format_audit(found))
    if options.out is not None and not options.json:
        print(f"wrote {Path(options.out) / 'report.html'}, audit.json, audit.png, maps.npz")


def _write(folder: Path, found: "Audit", remedies: "Remedies", command: str, show: int) -> None:
    from onnxlrp.audit.pictures import draw_sheet, panels
    from onnxlrp.cli.audit.files import as_json, write_maps
    from onnxlrp.cli.audit.page import make_report
    from onnxlrp.render import save

    entries = as_json(found, remedies, command)
    shown = ("digest", "output", "composite", "target", "layout", "samples", "compared", "draws")
    settings = {name: entries[name] for name in (*shown, "seed", "remedies")}
    text = json.dumps(entries, indent=2, allow_nan=False) + "\n"
    write_bytes(folder / "audit.json", text.encode())
    write_bytes(folder / "report.html", make_report(found, settings, command, show))
    flagged = [f.name for f in found.findings if f.verdict == "flagged"]
    subtitle = f"{entries['composite']}; flagged: {', '.join(flagged) or 'nothing'}"
    title = f"Audit of {found.evidence.subject.name}"
    save(draw_sheet(panels(found), title, subtitle), folder / "audit.png")
    write_maps(folder / "maps.npz", found)


def _self_test(options: argparse.Namespace) -> int:
    """Audit nets with known artifacts; 1 where an expectation does not hold."""
    from onnxlrp.audit import Remedies
    from onnxlrp.audit.selftest import CASES, checks, run_case

    if options.out is not None:
        make_folder(Path(options.out))
    rows, wrong = [], 0
    progress = Progress(label="self-test")
    for done, case in enumerate(CASES, 1):
        found = run_case(case, options.seed)
        if options.out is not None:
            folder = Path(options.out) / case.name.replace(", ", "-").replace(" ", "-")
            make_folder(folder)
            command = f"onnxlrp audit --self-test --seed {options.seed}"
            _write(folder, found, Remedies(), command, options.show)
        for check in checks(case, found):
            wrong += not check.holds
            kind = "false alarm" if check.alarm else "miss"
            rows.append([case.name, check.what, "yes" if check.holds else kind])
        progress(done, len(CASES))
    if options.json:
        names = ("case", "expected", "holds")
        print(json.dumps([dict(zip(names, line, strict=True)) for line in rows], indent=2))
    else:
        print(format_table(("net", "expected", "holds"), rows))
        print(f"{len(rows) - wrong} of {len(rows)} hold")
    return 1 if wrong else 0
