"""The answer to a handshake that is refused."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from django.db import InterfaceError, InternalError, OperationalError
from redis.exceptions import RedisError

from realtime.engine.monitoring.logs import log_refusal
from realtime.engine.protocol.close import CloseCode
from realtime.engine.protocol.errors import HandshakeRejected, UpstreamUnavailable
from realtime.engine.protocol.http import problem_response

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]

logger = logging.getLogger("realtime.handshake")

#: What a client without a denial response sees instead of the HTTP status.
CLOSE_CODE_FOR_STATUS = {
    401: CloseCode.UNAUTHORIZED,
    403: CloseCode.FORBIDDEN,
    429: CloseCode.TRY_AGAIN_LATER,
    500: CloseCode.INTERNAL_ERROR,
    503: CloseCode.SERVICE_RESTART,
}

#: Seconds after which a client should come back after an outage.
RETRY_AFTER = 5

#: SQLSTATE of a write to a PostgreSQL server that can only be read, as after a failover (read_only_sql_transaction).
READ_ONLY = "25006"


def is_outage(error: BaseException) -> bool:
    """Return whether the database, the cache or the channel layer is away: another try is worthwhile."""
    if isinstance(error, InternalError):
        return getattr(error.__cause__, "sqlstate", None) == READ_ONLY
    return isinstance(error, (OperationalError, InterfaceError, RedisError, UpstreamUnavailable))


def unavailable(error: BaseException) -> HandshakeRejected:
    """Log an outage, and return the answer to the handshake that met it."""
    logger.error("a handshake needs a service that is away: %s: %s", type(error).__name__, error)
    return HandshakeRejected(
        503,
        "A service that this endpoint needs is not available at the moment; try again.",
        headers=[("Retry-After", str(RETRY_AFTER))],
    )


async def deny(scope: Scope, send: Send, rejection: HandshakeRejected) -> None:
    """Answer a handshake with an HTTP error, and log one line about it.

    Without the ASGI extension ``websocket.http.response`` the answer is a ``websocket.close``, which servers turn
    into a bare 403.
    """
    log_refusal(rejection.status, rejection.detail, scope["path"].encode(), scope["headers"])
    if "websocket.http.response" not in scope.get("extensions", ()):
        code = CLOSE_CODE_FOR_STATUS.get(rejection.status, CloseCode.POLICY_VIOLATION)
        await send({"type": "websocket.close", "code": int(code), "reason": rejection.detail})
        return
    await send_problem(send, rejection, kind="websocket.http")


async def send_problem(send: Send, rejection: HandshakeRejected, *, kind: str = "http") -> None:
    """Send a problem response (RFC 9457) by the events ``<kind>.response.start`` and ``<kind>.response.body``."""
    headers, body = problem_response(rejection.status, rejection.detail, rejection.headers)
    await send({"type": f"{kind}.response.start", "status": int(rejection.status), "headers": headers})
    await send({"type": f"{kind}.response.body", "body": body})


def with_problem_responses(scope: Scope, send: Send) -> Send:
    """Return a ``send`` that turns a ``websocket.close`` before the accept into a problem response.

    The engine's own servers do so themselves. Other servers with denial responses answer a bare 403.
    """
    extensions = scope.get("extensions", {})
    if "websocket.http.response" not in extensions or "websocket.policy" in extensions:
        return send
    is_answered = False

    async def send_or_deny(event: dict[str, Any]) -> None:
        nonlocal is_answered
        is_first, is_answered = not is_answered, True
        if is_first and event["type"] == "websocket.close":
            detail = event.get("reason") or "The application refused the connection."
            await deny(scope, send, HandshakeRejected(403, detail))
        else:
            await send(event)

    return send_or_deny
