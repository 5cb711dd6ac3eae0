"""Progress of long work: a bar on a terminal, plain lines elsewhere."""

import sys
import time
from dataclasses import dataclass, field
from typing import IO, Final

_WIDTH: Final = 30
_EVERY_SECONDS: Final = 10.0


@dataclass(kw_only=True)
class Progress:
    """Shows how far a piece of work is; quiet where it is short.

    Attributes:
        label: What is done.
        stream: Where it is shown.
        shown: When it was last shown.
    """

    label: str
    stream: IO[str] = field(default_factory=lambda: sys.stderr)
    shown: float = field(default_factory=time.monotonic)

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` steps are done."""
        if self.stream.isatty():
            filled = _WIDTH * done // max(total, 1)
            bar = "#" * filled + "-" * (_WIDTH - filled)
            end = "\r\x1b[K" if done >= total else ""
            self.stream.write(f"\r{self.label} [{bar}] {done}/{total}{end}")
            self.stream.flush()
        elif time.monotonic() - self.shown >= _EVERY_SECONDS:
            self.shown = time.monotonic()
            self.stream.write(f"{self.label}: {done} of {total}\n")
            self.stream.flush()
