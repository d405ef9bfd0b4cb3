"""What is counted and logged about one connection: how its handshake was answered, and how it ended."""

from __future__ import annotations

import logging
from typing import Any

from realtime.engine.monitoring.logs import ACCESS, event, log_close, log_refusal, new_connection_id
from realtime.engine.protocol.connection import BY_APPLICATION, Connection
from realtime.engine.protocol.state import State

__all__ = ["ConnectionMetrics"]


class ConnectionMetrics:
    """Counts and logs the stages of a connection. A server that keeps records of its own overrides ``record()``.

    Attributes:
        id: stands in every log line of the connection.
    """

    __slots__ = ("_client", "_is_answered", "_is_open", "_path", "_scope", "_since", "id")

    def __init__(self, scope: dict[str, Any], now: float) -> None:
        self.id = new_connection_id()
        client = scope.get("client")
        self._client = "" if client is None else str(client[0])
        self._path: str = scope["path"]
        self._scope: dict[str, Any] | None = scope  # until the handshake is answered
        self._since = now
        self._is_answered = self._is_open = False

    def update(self, connection: Connection, now: float) -> None:
        """Count and log what the connection's new state means."""
        if not self._is_answered and connection.state not in (State.CONNECTING, State.DENYING):
            self._is_answered = True
            self._answered(connection)
            self._scope = None
        if self._is_open and connection.closed_with is not None:
            self._is_open = False
            code, reason = connection.closed_with
            connection.traffic.closed(code, connection.closed_by)
            log_close(self.id, self._path, code, reason, connection.closed_by, now - self._since)

    def _answered(self, connection: Connection) -> None:
        if connection.refusal is not None:
            status, cause = connection.refusal
            connection.traffic.answered(str(status))
            if cause is not BY_APPLICATION:
                assert self._scope is not None
                log_refusal(status, cause, self._scope["raw_path"], self._scope["headers"], connection=self.id)
            self.record("rejected")
        elif connection.state is State.CLOSED:
            connection.traffic.answered("abandoned")
        else:
            # Not only OPEN: a peer's close frame may have waited for the accept.
            self._is_open = True
            connection.traffic.opened()
            event(ACCESS, logging.INFO, "opened", connection=self.id, path=self._path, client=self._client)
            self.record("connected")

    def record(self, action: str) -> None:
        """Take note of ``connected`` or ``rejected``, and of ``disconnected``, by Daphne's names of actions."""
