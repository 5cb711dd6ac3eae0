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
        rate: Show how many steps a second were done so far, and the minutes that are left.
        began: Time and steps of the first call.
    """

    label: str
    stream: IO[str] = field(default_factory=lambda: sys.stderr)
    shown: float = field(default_factory=time.monotonic)
    rate: bool = False
    began: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show that `done` of `total` steps are done."""
        self.began = self.began or (time.monotonic(), done)
        rate = self._rate(done, total)
        if self.stream.isatty():
            filled = _WIDTH * done // max(total, 1)
            bar = "#" * filled + "-" * (_WIDTH - filled)
            end = "\r\x1b[K" if done >= total else ""
            self.stream.write(f"\r\x1b[K{self.label} [{bar}] {done}/{total}{rate}{end}")
            self.stream.flush()
        elif time.monotonic() - self.shown >= _EVERY_SECONDS:
            self.shown = time.monotonic()
            self.stream.write(f"{self.label}: {done} of {total}{rate}\n")
            self.stream.flush()

    def _rate(self, done: int, total: int) -> str:
        began, before = self.began or (0.0, done)
        if not self.rate or done <= before:
            return ""
        rate = (done - before) / max(time.monotonic() - began, 1e-3)
        return f", {rate:.1f} per second, {(total - done) / rate / 60:.0f} min left"
