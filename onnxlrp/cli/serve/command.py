"""`onnxlrp serve`: what an inference server, a laptop or a browser needs; one file per server."""

import argparse
from typing import Final, Protocol

from onnxlrp.cli.options import Commands
from onnxlrp.cli.serve import http, kserve, triton, web


class Server(Protocol):
    """A file that adds one server to the command."""

    def add(self, commands: Commands, common: argparse.ArgumentParser) -> None:
        """Add the sub-command."""


_SERVERS: Final[tuple[Server, ...]] = (triton, kserve, http, web)


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the command."""
    text = "write what a server needs: triton, kserve, http (a small server), web (a page)"
    parser = commands.add_parser("serve", parents=[], help=text, description=text)
    servers = parser.add_subparsers(dest="server", required=True, metavar="SERVER")
    for server in _SERVERS:
        server.add(servers, common)
