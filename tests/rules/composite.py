"""Composites as files: one row per rule under test, the plain rules behind it."""

import json
from pathlib import Path

PLAIN = ("Pass", "Moved", "WinnerTakesAll", "Frozen", "Proportional", "Uniform", "Taylor")


def write(folder: Path, *rows: dict[str, object], **rest: object) -> str:
    """Write the rows, then one for every kind, and return the path."""
    behind = [{"rule": name} for name in PLAIN if name != "Pass"]
    passing = [{"rule": "Pass", "kind": "Pointwise"}, {"rule": "Epsilon"}]
    content = {"name": "test", "rows": [*rows, *passing, *behind], "start": "one", **rest}
    path = folder / "composite.json"
    path.write_text(json.dumps(content))
    return str(path)
