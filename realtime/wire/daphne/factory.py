"""Daphne's HTTP factory with the wire's channels and requests, and the drain when the server stops."""

from __future__ import annotations

from typing import Any

from daphne.http_protocol import HTTPFactory
from twisted.web.http import _GenericHTTPChannelProtocol

from realtime.wire.daphne.channel import WireChannel
from realtime.wire.daphne.request import WireRequest

__all__ = ["WireHTTPFactory"]


class WireHTTPFactory(HTTPFactory):
    """Builds the protocol of each client connection."""

    #: Twisted's switch between HTTP/1.1 and HTTP/2 (where that is installed), with this project's HTTP/1.1.
    protocol = staticmethod(lambda: _GenericHTTPChannelProtocol(WireChannel()))

    def __init__(self, server: Any) -> None:
        super().__init__(server)

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        """Build the protocol for a new client."""
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = WireRequest
        return protocol
