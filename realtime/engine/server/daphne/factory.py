"""Daphne's HTTP factory with the wire's channels and requests."""

from __future__ import annotations

from typing import Any

from daphne.http_protocol import HTTPFactory
from twisted.web.http import _GenericHTTPChannelProtocol

from realtime.engine.server.daphne.access_log import clean_access_log
from realtime.engine.server.daphne.http_channel import WireChannel
from realtime.engine.server.daphne.request import WireRequest
from realtime.engine.server.daphne.shutdown import drain_at_exit, drain_before_shutdown
from realtime.engine.server.options import OPTIONS

__all__ = ["WireHTTPFactory"]


class WireHTTPFactory(HTTPFactory):
    """Builds the protocol of each client connection, and prepares the end of the server.

    Args:
        server: Daphne's server; it makes its factory when it starts to run.
    """

    #: Twisted's switch between HTTP/1.1 and HTTP/2 (where that is installed), with this project's HTTP/1.1.
    protocol = staticmethod(lambda: _GenericHTTPChannelProtocol(WireChannel()))

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        clean_access_log(server)
        _read_forwarded_headers(server)
        drain_before_shutdown(server)
        if not server.signal_handlers:  # in a thread under the autoreloader; the loop does not run yet
            self.reactor.callLater(0, drain_at_exit, server)

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        """Build the protocol for a new client."""
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = WireRequest
        return protocol


def _read_forwarded_headers(server: Any) -> None:
    """Do what ``--proxy-headers`` does where the project trusts proxies: both say the same, and one may be forgotten.

    The option alone believes one proxy. ``Daphne-Root-Path`` is believed with the option only.
    """
    server.believes_root_path = bool(server.proxy_forwarded_address_header)
    if OPTIONS.trusted_proxies and not server.proxy_forwarded_address_header:
        server.proxy_forwarded_address_header = "X-Forwarded-For"
        server.proxy_forwarded_port_header = "X-Forwarded-Port"
        server.proxy_forwarded_proto_header = "X-Forwarded-Proto"
