"""Answers of the HTTP server as JSON."""

import json
from typing import Final

from starlette.responses import Response

from onnxlrp.serve.http.limits import BUSY

_MOST_LETTERS: Final = 400


def json_answer(content: object, status: int = 200) -> Response:
    """Return an answer."""
    return Response(json.dumps(content), status, media_type="application/json")


def refusal(status: int, text: str) -> Response:
    """Return an answer that says why there is none."""
    headers = {"Retry-After": "1"} if status == BUSY else None
    line = " ".join(text.split())
    short = line if len(line) <= _MOST_LETTERS else f"{line[:_MOST_LETTERS]} ..."
    return Response(json.dumps({"error": short}), status, headers, "application/json")
