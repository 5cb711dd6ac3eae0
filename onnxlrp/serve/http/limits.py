"""Limits of the HTTP server, and the errors that carry a status."""

from dataclasses import dataclass
from typing import Final

from onnxlrp.errors import Error, InputError

BAD_REQUEST: Final = 400
FORBIDDEN: Final = 403
TIMED_OUT_READING: Final = 408
TOO_LARGE: Final = 413
WRONG_ENCODING: Final = 415
BROKEN: Final = 500
BUSY: Final = 503
TIMED_OUT: Final = 504


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What one request may cost.

    Attributes:
        size: Most bytes of a body.
        pixels: Most pixels of a picture.
        timeout: Seconds that reading a body, and that computing an answer, may take.
        queue: Requests that may be under way at once; further ones are told to come back.
        batch: Most samples per run.
    """

    size: int = 32 * 2**20
    pixels: int = 40_000_000
    timeout: float = 60.0
    queue: int = 64
    batch: int = 16

    def __post_init__(self) -> None:
        for name in ("size", "pixels", "timeout", "queue", "batch"):
            if not getattr(self, name) > 0:
                raise InputError(f"limit '{name}' must be positive, got {getattr(self, name)}")


class Refused(Error):  # noqa: N818 - says what happened to the request
    """A request is not answered; the text says why.

    Attributes:
        status: The HTTP status.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
