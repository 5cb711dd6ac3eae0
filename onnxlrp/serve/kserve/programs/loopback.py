"""KServe's model server on one address, with a limit on the length of a request."""

from collections.abc import Awaitable, Callable, MutableMapping
from concurrent import futures
from typing import Any

import kserve  # type: ignore[import-not-found]
from grpc import aio  # type: ignore[import-untyped]
from kserve.model_server import app  # type: ignore[import-not-found]
from kserve.protocol.grpc import (  # type: ignore[import-not-found]
    grpc_predict_v2_pb2_grpc as stubs,
)
from kserve.protocol.grpc.interceptors import (  # type: ignore[import-not-found]
    ExceptionToStatusInterceptor,
)
from kserve.protocol.grpc.server import GRPCServer  # type: ignore[import-not-found]
from kserve.protocol.grpc.servicer import InferenceServicer  # type: ignore[import-not-found]

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_TOO_LONG = b'{"error": "the request is too long"}'


class Server(kserve.ModelServer):  # type: ignore[misc]
    """A model server that listens on one address; KServe's own listens on all."""

    def __init__(self, host: str, most: int, **options: Any) -> None:
        self.host, self.most = host, most
        super().__init__(**options, enable_grpc=False)
        app.add_middleware(BodyLimit, most=most)

    async def _serve(self) -> None:
        self._rest_server.config.host = self.host
        address = f"{self.host}:{self.grpc_port}"
        extension = self.model_repository_extension
        self._grpc_server = Grpc(address, self.most, self.dataplane, extension)
        self.servers.append(self._grpc_server.start(self.max_threads))
        await super()._serve()


class Grpc(GRPCServer):  # type: ignore[misc]
    """KServe's gRPC server on one address."""

    def __init__(self, address: str, most: int, dataplane: Any, extension: Any) -> None:
        super().__init__(0, dataplane, extension, kwargs={})
        self.address, self.most = address, most

    async def start(self, workers: int) -> None:
        """Listen until the server is stopped."""
        lengths = ("grpc.max_send_message_length", "grpc.max_receive_message_length")
        self._server = aio.server(
            futures.ThreadPoolExecutor(max_workers=workers),
            interceptors=(ExceptionToStatusInterceptor(),),
            options=[(name, self.most) for name in lengths],
        )
        servicer = InferenceServicer(self._data_plane, self._model_repository_extension)
        stubs.add_GRPCInferenceServiceServicer_to_server(servicer, self._server)
        self._server.add_insecure_port(self.address)
        await self._server.start()
        await self._server.wait_for_termination()


class BodyLimit:
    """Refuses requests over HTTP that are longer than a limit, before they are read."""

    def __init__(self, inner: Any, most: int) -> None:
        self.inner, self.most = inner, most

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Pass the request on, or refuse it."""
        headers = dict(scope.get("headers", ()))
        length = headers.get(b"content-length", b"")
        chunked = b"transfer-encoding" in headers
        if scope["type"] != "http" or (not chunked and self._fits(length)):
            await self.inner(scope, receive, send)
            return
        status = 411 if chunked else 413
        kind = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": kind})
        await send({"type": "http.response.body", "body": _TOO_LONG})

    def _fits(self, length: bytes) -> bool:
        return not length or (length.isdigit() and int(length) <= self.most)
