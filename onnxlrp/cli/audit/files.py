"""What `onnxlrp audit` writes: audit.json, maps.npz, and the text table."""

import argparse
import io
import math
import shlex
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np

from onnxlrp.audit import DETECTORS, Audit, Remedies
from onnxlrp.audit.finding import Finding
from onnxlrp.cli.fields import field_words
from onnxlrp.cli.files import write_bytes
from onnxlrp.cli.table import format_table
from onnxlrp.metadata import LEDGER_COLUMNS

__all__ = ["Json", "as_json", "command_line", "format_audit", "number", "write_maps"]

Json: TypeAlias = "str | int | float | bool | list[Json] | dict[str, Json] | None"


_DEFAULTS: Final = {
    "composite": "auto",
    "split": None,
    "target": "argmax",
    "output": None,
    "keep_softmax": False,
    "draws": 8,
    "compared": 16,
    "seed": 0,
    "time": None,
    "shift": None,
    "first_layer": None,
    "ignore_mask": None,
    "divide_coverage": False,
    "limit": None,
    "per_class": None,
    "shuffle": None,
    "label_file": None,
    "preprocess": None,
    "layout": None,
}


def command_line(options: argparse.Namespace) -> str:
    """Return the command that makes these numbers again."""
    words = ["onnxlrp", "audit", options.model, options.data]
    for name, default in _DEFAULTS.items():
        value = getattr(options, name)
        if value != default:
            words.append(f"--{name.replace('_', '-')}")
            words += [] if value is True else [str(value)]
    return shlex.join([*words, *field_words(options)])


def as_json(audit: Audit, remedies: Remedies, command: str) -> dict[str, Json]:
    """The audit as lists and dicts; numbers that are not known are null."""
    evidence = audit.evidence
    options = evidence.subject.options
    return {
        "command": command,
        "model": evidence.subject.name,
        "digest": evidence.subject.digest,
        "output": evidence.subject.output,
        "composite": str(evidence.composite.get("name", options.composite)),
        "target": options.target,
        "layout": evidence.subject.frame.axes,
        "samples": len(evidence.heat),
        "compared": len(evidence.chosen),
        "draws": options.draws,
        "seed": options.seed,
        "remedies": _remedies(remedies),
        "conservation": _known(audit.conservation),
        "amplification": _known(audit.amplification),
        "losses": _numbers(audit.losses()),
        "verdict": _numbers(audit.judgement.mass),
        "likeness": {name: _numbers(of) for name, of in audit.likeness.items()},
        "coverage": _numbers(asdict(evidence.coverage)),
        "classes": list(evidence.classes.names) if evidence.classes else None,
        "findings": [_finding(k, finding) for k, finding in enumerate(audit.findings, 1)],
        "ledger": _ledger(audit),
        "notes": list(evidence.notes),
    }


def _remedies(remedies: Remedies) -> dict[str, Json]:
    return {
        "shift": remedies.shift,
        "first_layer": remedies.first_layer,
        "ignored_pixels": None if remedies.ignore is None else int(remedies.ignore.sum()),
        "divide_coverage": remedies.divide,
    }


def _finding(number_: int, finding: Finding) -> dict[str, Json]:
    return {
        "number": number_,
        "name": finding.name,
        "source": DETECTORS[number_ - 1].source,
        "verdict": finding.verdict,
        "value": None if finding.number is None else _known(finding.number),
        "threshold": finding.threshold,
        "meaning": finding.meaning,
        "where": finding.where,
        "remedy": finding.remedy,
        "option": finding.option,
        "reason": finding.reason,
    }


def _ledger(audit: Audit) -> list[Json]:
    means = audit.evidence.ledger.mean(axis=0)
    return [
        {"node": name, **_numbers(dict(zip(LEDGER_COLUMNS, row.tolist(), strict=True)))}
        for name, row in zip(audit.evidence.rows, means, strict=True)
    ]


def write_maps(path: Path, audit: Audit) -> None:
    """Write the maps as arrays `[H, W]`."""
    judgement = audit.judgement
    data = io.BytesIO()
    np.savez_compressed(
        data,
        relevance=audit.evidence.heat.mean(axis=0).astype(np.float32),
        share=judgement.share.astype(np.float32),
        structure=audit.evidence.structure.astype(np.float32),
        z_random=judgement.z_random.astype(np.float32),
        z_noise=judgement.z_noise.astype(np.float32),
        verdict=judgement.labels,
    )
    write_bytes(path, data.getvalue())


def format_audit(audit: Audit) -> str:
    """The findings as a table, what is flagged in words, and the verdict."""
    rows = [
        [str(k), f.name, f.verdict, number(f.number), number(f.threshold), f.where or f.reason]
        for k, f in enumerate(audit.findings, 1)
    ]
    head = ("", "artifact", "verdict", "number", "threshold", "where, or why not")
    mass = ", ".join(f"{name} {share:.1%}" for name, share in audit.judgement.mass.items())
    lines = [format_table(head, rows), ""]
    for k, finding in enumerate(audit.findings, 1):
        if finding.verdict == "flagged":
            option = f" [{finding.option}]" if finding.option else ""
            lines.append(f"{k} {finding.name}: {finding.remedy}{option}")
    lines += [
        f"|R| by verdict: {mass}",
        f"sum of relevance / start: {number(audit.conservation)}",
        f"sum of |R| / |start|, median: {number(audit.amplification)}",
        *audit.evidence.notes,
    ]
    return "\n".join(lines)


def number(value: float | None) -> str:
    """A number in four digits; `-` where there is none."""
    return "-" if value is None or not math.isfinite(value) else f"{value:.4g}"


def _numbers(of: Mapping[str, float]) -> dict[str, Json]:
    return {name: _known(float(value)) for name, value in of.items()}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
