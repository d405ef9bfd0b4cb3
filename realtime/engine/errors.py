"""The exceptions of the engine.

::

    RealtimeError
    ├── PolicyError            a SocketPolicy was declared with an impossible value
    ├── NotTextError           as_str() was called on a message that is not text
    ├── HandshakeRejected      the answer to a handshake is an HTTP status, not 101
    ├── TokenRejected          a token, ticket or session does not authenticate anybody
    ├── InvalidMessage         a client's message is not what the endpoint understands
    ├── PeerViolation          a peer's bytes break RFC 6455 or a limit of the endpoint
    ├── ProtocolStateError     an event that is not legal in the state of the connection
    └── UpstreamUnavailable    the Redis server of the channel layer cannot be reached

The first two are mistakes of the programmer, the next four are caused by a client. ``ProtocolStateError`` is a mistake
of the application, by the ASGI specification. The operator mends the cause of the last one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus

__all__ = [
    "HandshakeRejected",
    "InvalidMessage",
    "NotTextError",
    "PeerViolation",
    "PolicyError",
    "ProtocolStateError",
    "RealtimeError",
    "TokenRejected",
    "UpstreamUnavailable",
]


class RealtimeError(Exception):
    """Base of every exception of the engine."""


class PolicyError(RealtimeError, ValueError):
    """A policy was declared with a value that cannot be enforced.

    Args:
        field: name of the ``SocketPolicy`` field.
        problem: what is wrong with its value, and what is allowed.
    """

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"SocketPolicy.{field}: {problem}")
        self.field = field
        self.problem = problem


class NotTextError(RealtimeError, TypeError):
    """``Message.as_str()`` was called on a message that is not text."""


class HandshakeRejected(RealtimeError):
    """The handshake ends with an HTTP response instead of the upgrade.

    Raise it from ``PolicyConsumer.handshake()``. The client gets a body of type
    ``application/problem+json`` (RFC 9457) with ``title``, ``status`` and ``detail``.

    Args:
        status: HTTP status from 400 to 599.
        detail: what was wrong with this request and what to do, for the developer of the client.
        headers: further response headers, for instance ``WWW-Authenticate``.

    Raises:
        ValueError: if ``status`` is not an error status of HTTP.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"HandshakeRejected: status must be from 400 to 599, not {status}")
        self.status = HTTPStatus(status)
        self.detail = detail
        pairs = headers.items() if isinstance(headers, Mapping) else headers
        self.headers: tuple[tuple[str, str], ...] = tuple(pairs)
        super().__init__(f"{self.status.value} {self.status.phrase}: {detail}")


class TokenRejected(RealtimeError):
    """A credential does not authenticate anybody.

    Args:
        detail: why, in words that give nothing away but to the owner of the credential.
    """

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class InvalidMessage(RealtimeError):
    """A message of a client is not what the endpoint understands; the connection lives on.

    Args:
        detail: what is wrong, with the name of the field.
        ref: the client's reference for the message, where it could be read.
    """

    def __init__(self, detail: str, *, ref: str | None = None) -> None:
        super().__init__(detail)
        self.detail = detail
        self.ref = ref


class PeerViolation(RealtimeError):
    """A peer's bytes break RFC 6455 or a limit of the endpoint; the connection ends with ``code``.

    Args:
        code: the close code to end the connection with.
        reason: what was wrong, for the close frame.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{int(code)}: {reason}")
        self.code = int(code)
        self.reason = reason


class ProtocolStateError(RealtimeError):
    """An event is not legal in the state of the connection.

    Args:
        state: name of the state.
        event: the ASGI event type or wire event.
    """

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"{event!r} is not legal while the connection is {state}")
        self.state = state
        self.event = event


class UpstreamUnavailable(RealtimeError, ConnectionError):
    """The channel layer's Redis could not be reached, or did not answer in time.

    Args:
        server: the Redis server, without its password.
        cause: what went wrong.
    """

    def __init__(self, server: str, cause: BaseException) -> None:
        super().__init__(f"Redis at {server} cannot be reached: {str(cause) or type(cause).__name__}")
        self.server = server
