"""What is counted and logged about one connection: how its handshake was answered, and how it ended."""

from __future__ import annotations

import logging
from typing import Any

from realtime.engine.monitoring.counters import traffic_of
from realtime.engine.monitoring.logs import ACCESS, event, log_close, new_connection_id
from realtime.engine.protocol.connection import Connection
from realtime.engine.protocol.state import State

__all__ = ["Account"]


class Account:
    """Follows a connection's state.

    Args:
        connection: the connection.
        scope: its ASGI scope.
        now: the time in seconds.

    Attributes:
        id: stands in every log line of the connection.
    """

    __slots__ = ("_client", "_connection", "_is_answered", "_is_open", "_path", "_since", "id")

    def __init__(self, connection: Connection, scope: dict[str, Any], now: float) -> None:
        self.id = new_connection_id()
        self._connection = connection
        client = scope.get("client")
        self._client = "" if client is None else str(client[0])
        self._path: str = scope["path"]
        self._since = now
        self._is_answered = self._is_open = False

    def count_as(self, endpoint: str) -> None:
        """Count the connection under its endpoint; the router calls it once it has found the route.

        Args:
            endpoint: the route; there is a time series for each, so it is never the path.
        """
        self._connection.traffic = traffic_of(endpoint)

    def update(self, now: float) -> None:
        """Count and log what the connection's new state means."""
        connection = self._connection
        if not self._is_answered and connection.state not in (State.CONNECTING, State.DENYING):
            self._is_answered = True
            self._answered()
        if self._is_open and connection.closed_with is not None:
            self._is_open = False
            code, reason = connection.closed_with
            connection.traffic.closed(code, connection.closed_by)
            log_close(self.id, self._path, code, reason, connection.closed_by, now - self._since)

    def _answered(self) -> None:
        connection = self._connection
        if connection.refusal is not None:
            connection.traffic.answered(str(connection.refusal[0]))
        elif connection.state is State.CLOSED:
            connection.traffic.answered("abandoned")
        else:
            # Not only OPEN: a peer's close frame may have waited for the accept.
            self._is_open = True
            connection.traffic.opened()
            event(ACCESS, logging.INFO, "opened", connection=self.id, path=self._path, client=self._client)
