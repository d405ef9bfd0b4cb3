"""The wire inside Daphne: ``daphne``, ``manage.py runserver`` and ``python -m project`` have it without an option."""

from __future__ import annotations

import daphne.http_protocol
import daphne.server

from realtime.engine.server.daphne.factory import WireHTTPFactory
from realtime.engine.server.drain import DRAIN

__all__ = ["install"]


def install(*, drain_seconds: float, trusted_proxies: int = 0, max_request_body: int = 2_621_440) -> None:
    """Let every Daphne server that is started from now on serve WebSockets by the wire.

    ``Server.run()`` looks its HTTP factory up in its module; that one name is replaced, and the one from which it is
    imported. So the wire stays when ``daphne.server`` is loaded anew, as ``daphne.testing`` and Channels' live server
    do. It is cheap and changes nothing where no Daphne server is started.

    Args:
        drain_seconds: over how long a stopping server closes its sockets.
        trusted_proxies: number of reverse proxies in front, with or without ``daphne --proxy-headers``.
        max_request_body: bytes of a request's body; more is answered with 413.
    """
    DRAIN.seconds = drain_seconds
    WireHTTPFactory.trusted_proxies = trusted_proxies
    WireHTTPFactory.max_request_body = max_request_body
    daphne.http_protocol.HTTPFactory = daphne.server.HTTPFactory = WireHTTPFactory
