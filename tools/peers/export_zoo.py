"""Exports the zoo: small networks with random weights, by many exporters, into a folder.

    python -m tools.peers.export_zoo FOLDER [--only GLOB] [--quick]

Each file `NAME-EXPORTER-OPSET.onnx` has inputs and the runtime's outputs beside it (`.npz`, keys
`in/NAME` and `out/NAME`), and an entry in `manifest.json`; what an exporter cannot do is an entry
with the reason. Families whose packages are missing are left out, and entries of earlier runs
stay, so that the command can run once in each of several environments: one with torch,
torchvision, timm and transformers, one with keras, tensorflow, tf2onnx, scikit-learn and skl2onnx.
"""

import argparse
import importlib
import importlib.metadata
import json
import sys
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tools.peers.zoo_job import Job, Manifest, run  # noqa: E402

FAMILIES = ("zoo_vision", "zoo_recurrent", "zoo_text", "zoo_keras", "zoo_sklearn", "zoo_derived")
"""Modules that yield jobs; the last reads files that the others wrote."""

PACKAGES = (
    "torch", "onnxscript", "torchvision", "timm", "transformers", "keras", "tensorflow",
    "tensorflow-cpu", "tf2onnx", "scikit-learn", "skl2onnx",
)  # fmt: skip


def all_jobs(folder: Path, *, quick: bool) -> Iterator[Job]:
    """Yield the jobs of every family whose packages are there."""
    for family in FAMILIES:
        try:
            module = importlib.import_module(f"tools.peers.{family}")
        except ImportError as error:
            print(f"left out: {family} ({error})")
            continue
        if family == "zoo_derived":
            yield from module.jobs(folder)
        elif family in {"zoo_keras", "zoo_sklearn"}:
            yield from module.jobs(quick=quick)
        else:
            torch_jobs = importlib.import_module("tools.peers.zoo_torch").jobs
            yield from torch_jobs(module.networks(), quick=quick)


def _note_versions(folder: Path) -> None:
    """Add the versions of what is installed here to `versions.json`."""
    held = folder / "versions.json"
    versions: dict[str, str] = json.loads(held.read_text()) if held.exists() else {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    held.write_text(json.dumps(versions, indent=1, sort_keys=True) + "\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Export what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="*", help="files that match this glob")
    parser.add_argument("--quick", action="store_true", help="one opset for each exporter")
    parser.add_argument("--missing", action="store_true", help="only files that are not there")
    options = parser.parse_args(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    _note_versions(options.folder)
    manifest = Manifest(options.folder)
    held = {file for file, entry in manifest.entries().items() if not entry.failed}
    for job in all_jobs(options.folder, quick=options.quick):
        there = options.missing and job.file in held
        if there or not fnmatch(job.file, options.only):
            continue
        entry = run(job, options.folder)
        manifest.put(entry)
        state = entry.failed or f"{entry.nodes} nodes, opset {entry.opset}, {entry.size >> 10} KiB"
        print(f"{job.file:44} {entry.seconds:6.1f} s  {state} {entry.note}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
