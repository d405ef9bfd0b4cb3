"""What is counted and logged about one connection: how its handshake was answered, and how it ended."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from realtime.engine.monitoring.logs import ACCESS, event, log_refusal
from realtime.engine.protocol.connection import BY_APPLICATION, Connection
from realtime.engine.protocol.state import State

#: Closes that somebody should look at, if there are many of them: the peer broke a rule or could not keep up.
NOTABLE_CODES = frozenset({1002, 1003, 1007, 1008, 1009, 1013})

_UNANSWERED = (State.CONNECTING, State.DENYING)
_OPEN = (State.OPEN, State.LOST)


class ConnectionMetrics:
    """Counts and logs the stages of a connection.

    Args:
        scope: the ASGI scope.
        now: the time in seconds.
        log_action: a server's own log, called as Daphne does: ``connecting``, then ``connected`` or ``rejected``, then
            ``disconnected``.

    Attributes:
        id: stands in every log line of the connection.
        raw_path: the path as it was received, without the query.
    """

    __slots__ = ("_client", "_headers", "_log_action", "_path", "_since", "id", "raw_path")

    def __init__(
        self,
        scope: Mapping[str, Any],
        now: float,
        log_action: Callable[[str, str, dict[str, Any]], None] | None = None,
    ) -> None:
        self.id = secrets.token_hex(6)  # 48 bits: unique in practice
        self.raw_path: str = scope["raw_path"].decode("latin-1")
        self._client: Any = scope.get("client")
        self._path: str = scope["path"]
        self._headers: Any = scope["headers"]  # until the handshake is answered
        self._since = now
        self._log_action = log_action
        self._record("connecting")

    def update(self, connection: Connection, before: State, now: float) -> None:
        """Count and log what the connection's new state means."""
        state = connection.state
        is_open = before in _OPEN
        if before in _UNANSWERED and state not in _UNANSWERED:
            # Not only for OPEN: a peer's close frame may have waited for the accept.
            is_open = connection.refusal is None and state is not State.CLOSED
            self._answered(connection, is_open=is_open)
        if is_open and connection.closed_with is not None:
            code, reason = connection.closed_with
            by = connection.closed_by
            connection.traffic.closed(code, by)
            level = logging.WARNING if code in NOTABLE_CODES and by == "server" else logging.INFO
            fields = {"code": code, "reason": reason, "by": by, "seconds": now - self._since, "path": self._path}
            event(ACCESS, level, "closed", connection=self.id, **fields)

    def disconnected(self) -> None:
        """Take note of the end of the transport. One that could not be opened may end twice."""
        self._record("disconnected")
        self._log_action = None

    def _answered(self, connection: Connection, *, is_open: bool) -> None:
        if connection.refusal is not None:
            status, cause = connection.refusal
            connection.traffic.handshakes[str(status)] += 1
            if cause is not BY_APPLICATION:
                log_refusal(status, cause, self.raw_path.encode("latin-1"), self._headers, connection=self.id)
            self._record("rejected")
        elif is_open:
            connection.traffic.opened()
            client = "" if self._client is None else str(self._client[0])
            event(ACCESS, logging.INFO, "opened", connection=self.id, path=self._path, client=client)
            self._record("connected")
        else:
            connection.traffic.handshakes["abandoned"] += 1
        self._headers = None

    def _record(self, action: str) -> None:
        if self._log_action is not None:
            client = None if self._client is None else f"{self._client[0]}:{self._client[1]}"
            self._log_action("websocket", action, {"path": self.raw_path, "client": client})
