"""Daphne's bookkeeping of a connection that the wire serves."""

from __future__ import annotations

from typing import Any

from realtime.engine.policy import Limits
from realtime.engine.protocol.http import Request

__all__ = ["Books"]


class Books:
    """One entry in ``Server.connections``, and the access log (``realtime.engine.server.asgi_connection.Observer``).

    Args:
        server: Daphne's server.
        request: the handshake request.
        client: host and port of the client, None for a UNIX socket.
    """

    __slots__ = ("_details", "_server")

    def __init__(self, server: Any, request: Request, client: list[Any] | None) -> None:
        self._server = server
        # The path without the query: tokens stay out of the log.
        self._details = {
            "path": request.path.decode("ascii"),
            "client": None if client is None else f"{client[0]}:{client[1]}",
        }
        server.protocol_connected(self)
        self._log("connecting")

    def __repr__(self) -> str:
        return f"<WebSocket client={self._details['client']!r} path={self._details['path']!r}>"

    def connection_options(self) -> dict[str, Any]:
        """Return the options of a ``Connection`` that Daphne's command line sets."""
        server = self._server
        return {
            "defaults": _limits(server),
            "answer_timeout": _positive(server.websocket_connect_timeout),
            "lifetime": _positive(server.websocket_timeout),
            "headers": ((b"Server", server.server_name.encode("latin-1")),) if server.server_name else (),
        }

    def accepted(self) -> None:
        """See ``Observer``."""
        self._log("connected")

    def refused(self, status: int) -> None:
        """See ``Observer``."""
        self._log("rejected")

    def ended(self) -> None:
        """See ``Observer``."""
        self._server.protocol_disconnected(self)
        self._log("disconnected")

    # Called by Daphne's loops for everything in ``Server.connections``; the session keeps its own time.

    def check_timeouts(self) -> None:
        """Do nothing."""

    def handle_exception(self, exception: BaseException) -> None:
        """Do nothing."""

    def _log(self, action: str) -> None:
        self._server.log_action("websocket", action, self._details)


def _positive(seconds: float | None) -> float | None:
    return None if seconds is None or seconds <= 0 else seconds


def _limits(server: Any) -> Limits:
    """Return the limits for an application that accepts without a policy."""
    limits: Limits | None = getattr(server, "wire_limits", None)
    if limits is None:
        limits = server.wire_limits = Limits(
            # 1 MiB each without the options; 0 is no limit.
            max_message_size=server.websocket_max_message_size or None,
            max_frame_size=server.websocket_max_frame_size or None,
            ping_interval=_positive(server.ping_interval),
            ping_timeout=_positive(server.ping_timeout) or Limits().ping_timeout,
        )
    return limits
