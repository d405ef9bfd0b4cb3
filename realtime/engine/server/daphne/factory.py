"""Daphne's HTTP factory with this project's channels and requests, and how a Daphne server ends."""

from __future__ import annotations

import asyncio
import atexit
import logging
import sys
import threading
from collections.abc import Mapping
from typing import Any

import daphne.http_protocol
import daphne.server
from daphne.access import AccessLogGenerator
from twisted.internet.defer import Deferred
from twisted.web.http import _GenericHTTPChannelProtocol

from realtime.engine.monitoring.logs import log_action, redact, without_query
from realtime.engine.server.daphne.http_channel import WireChannel
from realtime.engine.server.daphne.request import WireRequest
from realtime.engine.server.drain import DRAIN, GRACE

logger = logging.getLogger("realtime.wire")

#: A reload of the development server waits no longer than this for its sockets.
RELOAD_DRAIN_SECONDS = 1.0


class WireHTTPFactory(daphne.http_protocol.HTTPFactory):
    """Builds the protocol of each client connection, and prepares the end of the server."""

    # ``install()`` sets these.
    trusted_proxies = 0
    max_request_body = 2_621_440

    #: Twisted's switch between HTTP/1.1 and HTTP/2 (where that is installed), with this project's HTTP/1.1.
    protocol = staticmethod(lambda: _GenericHTTPChannelProtocol(WireChannel()))

    def __init__(self, server: Any) -> None:
        super().__init__(server)
        _clean_access_log(server)
        _read_forwarded_headers(server)
        # Twisted calls this when its reactor is stopped, as SIGTERM and SIGINT do. Daphne's own stops at the first
        # connection that has no application, such as a request that was sent by half, and cancels what could finish.
        server.kill_all_applications = lambda: Deferred.fromFuture(asyncio.ensure_future(_drain(server, DRAIN.seconds)))
        if not server.signal_handlers:  # in a thread under the autoreloader; the loop does not run yet
            self.reactor.callLater(0, _drain_at_exit, server)

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = WireRequest
        return protocol


def install(*, drain_seconds: float, trusted_proxies: int = 0, max_request_body: int = 2_621_440) -> None:
    """Let every Daphne server that is started from now on serve WebSockets by this package.

    ``Server.run()`` looks its HTTP factory up in its module; that name is replaced, and the one from which it is
    imported. So it stays replaced when ``daphne.server`` is loaded anew, as ``daphne.testing`` and Channels' live
    server do.

    Args:
        drain_seconds: over how long a stopping server closes its sockets.
        trusted_proxies: number of reverse proxies in front, with or without ``daphne --proxy-headers``.
        max_request_body: bytes of a request's body; more is answered with 413.
    """
    DRAIN.seconds = drain_seconds
    WireHTTPFactory.trusted_proxies = trusted_proxies
    WireHTTPFactory.max_request_body = max_request_body
    daphne.http_protocol.HTTPFactory = daphne.server.HTTPFactory = WireHTTPFactory


def _read_forwarded_headers(server: Any) -> None:
    """Do what ``--proxy-headers`` does where the project trusts proxies: both say the same, and one may be forgotten.

    The option alone believes one proxy. ``Daphne-Root-Path`` is believed with the option only.
    """
    server.believes_root_path = bool(server.proxy_forwarded_address_header)
    if server.proxy_forwarded_address_header and not WireHTTPFactory.trusted_proxies:
        logger.warning("--proxy-headers is given and REALTIME_TRUSTED_PROXIES is 0: set it to the number of proxies")
    if WireHTTPFactory.trusted_proxies and not server.proxy_forwarded_address_header:
        server.proxy_forwarded_address_header = "X-Forwarded-For"
        server.proxy_forwarded_port_header = "X-Forwarded-Port"
        server.proxy_forwarded_proto_header = "X-Forwarded-Proto"


def _clean_access_log(server: Any) -> None:
    """Let a server's access log show paths only, and no secret in one.

    Lines for standard output, where Daphne writes by default, become log records like all others, in
    whatever format the project has chosen. ``daphne --access-log file`` still writes Daphne's own format.
    """
    write = server.action_logger
    if isinstance(write, AccessLogGenerator) and write.stream is sys.stdout:
        write = log_action

    def log(protocol: str, action: str, details: Mapping[str, Any]) -> None:
        if write is not None:
            write(protocol, action, {**details, "path": redact(without_query(details["path"]))})

    server.log_action = log


def _drain_at_exit(server: Any) -> None:
    """Let a server in a thread end in order when the process exits: the autoreloader calls ``sys.exit()``.

    ``threading._register_atexit`` runs before thread pools are shut down, which a consumer's ``disconnect()`` may need
    for the database; plain ``atexit`` runs after. Call it within the server's event loop.
    """
    loop = asyncio.get_running_loop()

    def drain() -> None:
        if not loop.is_running():
            return
        seconds = min(DRAIN.seconds, RELOAD_DRAIN_SECONDS)
        ending = asyncio.run_coroutine_threadsafe(_drain(server, seconds), loop)
        try:
            ending.result(seconds + 2 * GRACE)
        except TimeoutError:
            logger.warning("The server did not end within %s s", seconds + 2 * GRACE)

    getattr(threading, "_register_atexit", atexit.register)(drain)


async def _drain(server: Any, seconds: float) -> None:
    requests = [
        instance
        for details in server.connections.values()
        if (instance := details.get("application_instance")) is not None and not instance.done()
    ]
    logger.info("Stopping: %d WebSockets, %d requests in %s s", len(DRAIN.connections), len(requests), seconds)
    await asyncio.gather(DRAIN.run(seconds), _finish(requests, seconds))


async def _finish(requests: list[asyncio.Future[Any]], seconds: float) -> None:
    if not requests:
        return
    _, late = await asyncio.wait(requests, timeout=seconds)
    for request in late:
        request.cancel()
    if late:
        await asyncio.wait(late, timeout=GRACE)
