"""Reads the body of a request within the limits."""

import asyncio
from typing import Final

from starlette.requests import Request

from onnxlrp.serve.http.limits import (
    TIMED_OUT_READING,
    TOO_LARGE,
    WRONG_ENCODING,
    Limits,
    Refused,
)

_PATIENCE: Final = 4


async def read_body(request: Request, limits: Limits) -> bytes:
    """Return the body.

    Raises:
        Refused: It is too long, comes too slowly or is encoded.
    """
    if request.headers.get("content-encoding", "identity") != "identity":
        raise Refused(WRONG_ENCODING, "send the body without a content encoding")
    try:
        return await asyncio.wait_for(_read(request, limits.size), limits.timeout)
    except TimeoutError as error:
        text = f"the body did not come within {limits.timeout:g} seconds"
        raise Refused(TIMED_OUT_READING, text) from error


async def _read(request: Request, limit: int) -> bytes:
    """Read a body; one that is a little too long is read to its end, so that its sender listens."""
    said = request.headers.get("content-length", "")
    parts, size = [], 0
    if not said.isdigit() or int(said) <= _PATIENCE * limit:
        async for part in request.stream():
            size += len(part)
            if size <= limit:
                parts.append(part)
            elif size > _PATIENCE * limit:
                break
    if size > limit or (said.isdigit() and int(said) > limit):
        raise Refused(TOO_LARGE, f"the body has more than {limit} bytes")
    return b"".join(parts)
