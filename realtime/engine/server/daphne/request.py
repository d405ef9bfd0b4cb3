"""Daphne's HTTP request, which becomes a connection of this server when it asks for a WebSocket."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from daphne.http_protocol import WebRequest
from daphne.utils import HEADER_NAME_RE, INVALID_HEADER_VALUE_BYTES, parse_x_forwarded_for
from twisted.internet.interfaces import ISSLTransport

from realtime.engine.monitoring.counters import UNROUTED, traffic_of
from realtime.engine.protocol.connection import Connection
from realtime.engine.protocol.errors import HandshakeRejected
from realtime.engine.protocol.http import Request, build_scope, header_values, upgrade_problem, wants_websocket
from realtime.engine.protocol.policy import Limits
from realtime.engine.server.asgi_connection import ASGIConnection
from realtime.engine.server.connection_metrics import ConnectionMetrics
from realtime.engine.server.daphne.http_channel import raw_headers
from realtime.engine.server.drain import DRAIN, SHUTTING_DOWN
from realtime.engine.server.twisted_transport import can_detach, open_detached, open_in_place

logger = logging.getLogger("realtime.wire")


class WireRequest(WebRequest):
    """One HTTP request."""

    _body_size = 0

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802
        """Keep a part of the body; one without ``Content-Length`` is counted as it comes."""
        self._body_size += len(data)
        if self._body_size > self.channel.factory.max_request_body:
            self.channel.refuse_body()
        else:
            super().handleContentChunk(data)

    def process(self) -> Any:
        """Serve the request; one that asks for a WebSocket leaves HTTP here."""
        self._distrust_headers()
        headers = raw_headers(self)
        if not wants_websocket(headers):
            return super().process()
        problem = self._problem(headers)
        if problem is None:
            self._upgrade(Request(self.uri, headers))
        else:
            traffic_of(UNROUTED).handshakes[str(int(problem.status))] += 1
            self.channel.refuse(problem.status, problem.detail, problem.headers)
        return None

    def _distrust_headers(self) -> None:
        """Drop what only a trusted proxy may say."""
        if not self.server.believes_root_path:
            self.requestHeaders.removeHeader(b"daphne-root-path")
        name = self.server.proxy_forwarded_address_header
        values = self.requestHeaders.getRawHeaders(name) if name else None
        if values:
            # Each proxy appends the address that it saw: what stands further left was sent by the client.
            hops = [hop.strip() for value in values for hop in value.split(",")]
            self.requestHeaders.setRawHeaders(name, [", ".join(hops[-max(1, self.channel.factory.trusted_proxies) :])])

    def _problem(self, headers: list[tuple[bytes, bytes]]) -> HandshakeRejected | None:
        for name, value in headers:
            if not HEADER_NAME_RE.fullmatch(name) or INVALID_HEADER_VALUE_BYTES.intersection(value):
                return HandshakeRejected(400, "A header has characters that are not allowed.")
        if not self.uri.isascii():
            return HandshakeRejected(400, "The request target has characters that are not ASCII.")
        version = self.clientproto.partition(b"/")[2].decode("latin-1")
        problem = upgrade_problem(self.method.decode("latin-1"), version, headers)
        return SHUTTING_DOWN if problem is None and DRAIN.draining else problem

    def _upgrade(self, request: Request) -> None:
        self.channel.upgraded = []
        self.server.protocol_disconnected(self)
        # Bytes behind the request are delivered to the channel after this method returns.
        self.transport.pauseProducing()
        asyncio.get_running_loop().call_soon(self._take_over, request)

    def _take_over(self, request: Request) -> None:
        channel, server = self.channel, self.server
        if channel is None or channel.transport is None or not channel.transport.connected:
            return
        transport, now = channel.transport, asyncio.get_running_loop().time()
        scope = self._scope(request)
        metrics = ConnectionMetrics(scope, now, server.log_action)
        try:
            connection = ASGIConnection(
                Connection(request, now, **_connection_options(server)),
                metrics,
                application_timeout=server.application_close_timeout,
            )
            connection.data_received(channel.leave())
            if can_detach(transport):
                connection.start(server.application, scope, open_detached(transport, connection))
            else:
                open_in_place(transport, connection)
                connection.start(server.application, scope)
        except Exception:
            logger.exception("A connection could not be taken over from Twisted")
            metrics.disconnected()
            transport.abortConnection()

    def _scope(self, request: Request) -> dict[str, Any]:
        server, transport = self.server, self.channel.transport
        peer, host = transport.getPeer(), transport.getHost()
        is_tcp = hasattr(peer, "host")
        client: Any = [str(peer.host), peer.port] if is_tcp else None
        scheme = "https" if ISSLTransport.providedBy(transport) else "http"
        root_path = server.root_path
        if server.proxy_forwarded_address_header:
            client, scheme = parse_x_forwarded_for(
                self.requestHeaders,
                server.proxy_forwarded_address_header,
                server.proxy_forwarded_port_header,
                server.proxy_forwarded_proto_header,
                client,
                scheme,
            )
            root_path = (header_values(request.headers, b"daphne-root-path") or [root_path])[-1]
        return build_scope(
            request,
            scheme="wss" if scheme in ("https", "wss") else "ws",
            client=client,
            server=[str(host.host), host.port] if is_tcp else None,
            root_path=root_path,
        )

    # Daphne's loops call these unguarded, and one exception ends the loop for the whole server.

    def check_timeouts(self) -> None:
        """Enforce ``--http-timeout``, unless the request is over already."""
        if self.finished or self._disconnected or self.channel is None:
            return
        try:
            super().check_timeouts()
        except Exception:
            logger.exception("The time-out of a request failed")

    def handle_exception(self, exception: BaseException) -> None:
        """Answer with 500; half a response that has been sent can only be broken off."""
        if self.finished or self._disconnected or self.channel is None:
            return
        if self._response_started:
            self.channel.loseConnection()
            return
        try:
            super().handle_exception(exception)
        except Exception:
            logger.exception("The answer to a failed request failed")


def _connection_options(server: Any) -> dict[str, Any]:
    """Return the options of a ``Connection`` that Daphne's command line sets."""
    limits: Limits | None = getattr(server, "wire_limits", None)
    if limits is None:
        limits = server.wire_limits = Limits(
            # 1 MiB each without the options; 0 is no limit.
            max_message_size=server.websocket_max_message_size or None,
            max_frame_size=server.websocket_max_frame_size or None,
            ping_interval=_positive(server.ping_interval),
            ping_timeout=_positive(server.ping_timeout) or Limits().ping_timeout,
        )
    return {
        "defaults": limits,
        "answer_timeout": _positive(server.websocket_connect_timeout),
        "lifetime": _positive(server.websocket_timeout),
        "headers": ((b"Server", server.server_name.encode("latin-1")),) if server.server_name else (),
    }


def _positive(seconds: float | None) -> float | None:
    return None if seconds is None or seconds <= 0 else seconds
