"""What is counted and logged about one connection: how its handshake was answered, and how it ended."""

from __future__ import annotations

import logging
import secrets
from typing import Any

from realtime.engine.monitoring.logs import ACCESS, event, log_refusal
from realtime.engine.protocol.connection import BY_APPLICATION, Connection
from realtime.engine.protocol.state import State

__all__ = ["ConnectionMetrics"]

#: Closes that somebody should look at, if there are many of them: the peer broke a rule or could not keep up.
NOTABLE_CODES = frozenset({1002, 1003, 1007, 1008, 1009, 1013})


class ConnectionMetrics:
    """Counts and logs the stages of a connection. A server that keeps records of its own overrides ``record()``.

    Attributes:
        id: stands in every log line of the connection.
    """

    __slots__ = ("_client", "_is_answered", "_is_open", "_path", "_scope", "_since", "id")

    def __init__(self, scope: dict[str, Any], now: float) -> None:
        self.id = secrets.token_hex(6)  # 48 bits: unique in practice
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
            by = connection.closed_by
            connection.traffic.closed(code, by)
            level = logging.WARNING if code in NOTABLE_CODES and by == "server" else logging.INFO
            fields = {"code": code, "reason": reason, "by": by, "seconds": now - self._since, "path": self._path}
            event(ACCESS, level, "closed", connection=self.id, **fields)

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
