"""Runs the HTTP server until it is told to stop."""

import ipaddress
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import uvicorn

from onnxlrp.errors import InputError
from onnxlrp.serve.http.app import make_app
from onnxlrp.serve.http.desk import Service

_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1", "[::1]")
_MOST_CONNECTIONS: Final = 512
_STOPS: Final = (signal.SIGTERM, signal.SIGINT)


def serve(service: Service, host: str, port: int, ready: Callable[[int], None]) -> None:
    """Listen until SIGTERM or SIGINT; then take no more, finish what runs, and return.

    Args:
        service: What is served.
        host: Address to listen on.
        port: Port, 0 for a free one.
        ready: Called with the port once connections are taken.

    Raises:
        InputError: The address cannot be listened on.
    """
    config = uvicorn.Config(
        make_app(service),
        log_level="error",
        access_log=False,
        server_header=False,
        ws="none",
        http="h11",  # limits the length of headers
        headers=[("X-Content-Type-Options", "nosniff")],
        limit_concurrency=_MOST_CONNECTIONS,
        timeout_graceful_shutdown=max(int(service.limits.timeout), 1),
    )
    with _listen(host, port) as listener, _signals():
        ready(listener.getsockname()[1])
        uvicorn.Server(config).run(sockets=[listener])


def loopback_names(host: str) -> tuple[str, ...]:
    """Return what requests may call a server that only this machine reaches; empty for others."""
    try:
        inside = host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        inside = False
    return tuple({*_LOOPBACK, host}) if inside else ()


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host.strip("[]"), port), family=family)
    except (OSError, OverflowError) as error:
        raise InputError(f"cannot listen on {host} port {port}: {error}") from error


@contextmanager
def _signals() -> Iterator[None]:
    """The server stops by itself on a signal, and raises it again afterwards: that one is over."""
    before = [signal.signal(number, lambda *_: None) for number in _STOPS]
    try:
        yield
    finally:
        for number, handler in zip(_STOPS, before, strict=True):
            signal.signal(number, handler)
