"""The endpoints of the HTTP server: a request in, an answer within the limits out."""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from anyio import to_thread
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from onnxlrp.errors import DataError, Error, InputError
from onnxlrp.runtime import Explainer, Result
from onnxlrp.runtime.jobs import Request as Asking
from onnxlrp.serve.folder import package_files
from onnxlrp.serve.http.answers import json_answer, refusal
from onnxlrp.serve.http.batch import Batcher
from onnxlrp.serve.http.body import read_body
from onnxlrp.serve.http.limits import (
    BAD_REQUEST,
    BROKEN,
    BUSY,
    FORBIDDEN,
    TIMED_OUT,
    Limits,
    Refused,
)
from onnxlrp.serve.http.metrics import Metrics
from onnxlrp.serve.http.picture import PictureModel
from onnxlrp.serve.http.protocol import HEADER_LENGTH, describe, make_answer, read_request

Work: TypeAlias = Callable[[Request, bytes], Awaitable[Response]]
Endpoint: TypeAlias = Callable[[Request], Awaitable[Response]]

PAGE: Final = {
    "http/page/index.html": "",
    "http/page/page.js": "page.js",
    "page/style.css": "style.css",
}
"""Files of the page in the package, and their addresses."""

_KINDS: Final = {"": "text/html", "page.js": "text/javascript", "style.css": "text/css"}
_INDEX: Final = re.compile(r"-?[0-9]{1,15}")
_POLICY: Final = (
    "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, kw_only=True)
class Service:
    """What the server serves.

    Attributes:
        explain: Runs the graph.
        name: Name of the model in addresses.
        limits: What one request may cost.
        pictures: How pictures are read and drawn; None for a model that takes none.
        hosts: Names that a request may call the server by; empty: any.
    """

    explain: Explainer
    name: str
    limits: Limits = field(default_factory=Limits)
    pictures: PictureModel | None = None
    hosts: Sequence[str] = ()


class Desk:
    """The endpoints, and what they share."""

    def __init__(self, service: Service) -> None:
        self._service, self._limits = service, service.limits
        self._metrics = Metrics()
        self._active = 0
        self._open = True
        seen = self._metrics.samples.observe
        limits = service.limits
        self._batcher = Batcher(
            service.explain,
            size=limits.batch,
            queue=limits.queue,
            patience=limits.timeout,
            seen=seen,
        )
        self._files = package_files(PAGE)

    @asynccontextmanager
    async def lifespan(self, _: Starlette) -> AsyncIterator[None]:
        """Serve until the block ends, then finish what waits."""
        # Reading JSON and pictures takes memory: as many at once as there are cores.
        to_thread.current_default_thread_limiter().total_tokens = max(os.cpu_count() or 1, 2)
        yield
        self._open = False
        await run_in_threadpool(self._batcher.close)

    def file(self, name: str) -> Endpoint:
        """Return the endpoint of a file of the page."""
        policy = {"Content-Security-Policy": _POLICY}

        async def answer(_: Request) -> Response:
            return Response(self._files[name], media_type=_KINDS[name], headers=policy)

        return answer

    async def server(self, _: Request) -> Response:
        """Say what the server is."""
        extensions = ["binary_tensor_data"]
        return json_answer({"name": "onnxlrp", "version": "2", "extensions": extensions})

    async def model(self, _: Request) -> Response:
        """Say what the model takes and gives."""
        return json_answer(describe(self._service.name, self._service.explain.signature))

    async def live(self, _: Request) -> Response:
        """Say that the process lives."""
        return json_answer({"live": True})

    async def ready(self, _: Request) -> Response:
        """Say whether requests are taken."""
        return json_answer({"ready": self._open}, 200 if self._open else BUSY)

    async def metrics_text(self, _: Request) -> Response:
        """Return the numbers for Prometheus."""
        return Response(self._metrics.text(), media_type="text/plain; version=0.0.4")

    async def about(self, _: Request) -> Response:
        """Return what the page shows before a picture came."""
        pictures, metadata = self._service.pictures, self._service.explain.metadata
        return json_answer(
            {
                "model": self._service.name,
                "composite": metadata.composite.get("name", ""),
                "target": metadata.target,
                "pictures": pictures is not None,
                "chooses": pictures is not None and pictures.chooses,
                "labels": list(pictures.labels) if pictures else [],
                "notes": list(pictures.port.notes) if pictures else [],
            }
        )

    async def infer(self, request: Request, body: bytes) -> Response:
        """Answer a request of the Open Inference Protocol."""
        signature = self._service.explain.signature
        header = request.headers.get(HEADER_LENGTH)
        asked = await run_in_threadpool(read_request, body, header, signature)
        result = await self._result(asked.request)
        content, length = await run_in_threadpool(make_answer, self._service.name, asked, result)
        if length is None:
            return Response(content, media_type="application/json")
        headers = {HEADER_LENGTH: str(length)}
        return Response(content, media_type="application/octet-stream", headers=headers)

    async def explain(self, request: Request, body: bytes) -> Response:
        """Explain a picture."""
        pictures = self._service.pictures
        if pictures is None:
            raise DataError("this model takes no picture: use the infer address")
        target = _target(request.query_params.get("target", ""))
        if target and not pictures.chooses:
            raise InputError("this graph has its own target: compile it with --target input")
        array, shown = await run_in_threadpool(pictures.read, body, self._limits.pixels)
        result = await self._result(pictures.request(array, target))
        if pictures.chooses and not target:
            result = await self._result(pictures.request(array, pictures.best(result)))
        if request.url.path.endswith(".png"):
            page = await run_in_threadpool(pictures.page, result, shown)
            return Response(page, media_type="image/png")
        return json_answer(await run_in_threadpool(pictures.answer, result, shown))

    def post(self, route: str, work: Work) -> Endpoint:
        """Return an endpoint that reads the body and answers within the limits."""

        async def endpoint(request: Request) -> Response:
            start, status = time.monotonic(), BROKEN
            self._metrics.active.inc()
            self._active += 1
            try:
                response = await self._admitted(request, work)
                status = response.status_code
            finally:
                self._active -= 1
                self._metrics.active.dec()
                self._metrics.requests.labels(route, str(status)).inc()
                self._metrics.seconds.labels(route).observe(time.monotonic() - start)
            return response

        return endpoint

    async def _admitted(self, request: Request, work: Work) -> Response:
        try:
            if request.headers.get("sec-fetch-site") == "cross-site":
                raise Refused(FORBIDDEN, "a page of another site may not ask this server")
            if self._active > self._limits.queue:
                raise Refused(BUSY, f"{self._limits.queue} requests are under way: try later")
            return await work(request, await read_body(request, self._limits))
        except Refused as error:
            return refusal(error.status, str(error))
        except (InputError, DataError) as error:
            return refusal(BAD_REQUEST, str(error))
        except Error as error:
            return refusal(BROKEN, str(error))
        except MemoryError:
            return refusal(BUSY, "out of memory: send fewer samples")
        except ClientDisconnect:
            return refusal(BAD_REQUEST, "the client went away")

    async def _result(self, asked: Asking) -> Result:
        future: Future[Result] = await run_in_threadpool(self._batcher.submit, asked)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._limits.timeout)
        except TimeoutError as error:
            text = f"no answer within {self._limits.timeout:g} seconds"
            raise Refused(TIMED_OUT, text) from error
        finally:
            self._batcher.abandon(future)


def _target(text: str) -> tuple[int, ...]:
    parts = text.split(",") if text else []
    if not all(_INDEX.fullmatch(part) for part in parts):
        raise InputError(f"target is an index such as 243 or 3,17, got '{text[:80]}'")
    return tuple(int(part) for part in parts)
