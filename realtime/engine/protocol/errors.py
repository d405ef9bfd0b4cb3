"""The exceptions of the engine.

The programmer causes ``PolicyError``, ``DeclarationError`` and ``NotTextError``, the application
``ProtocolStateError``, the operator ``UpstreamUnavailable``. A client causes the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus


class RealtimeError(Exception):
    """Base of every exception of the engine."""


class PolicyError(RealtimeError, ValueError):
    """A ``SocketPolicy`` was declared with a value of ``field`` that cannot be enforced."""

    def __init__(self, field: str, problem: str) -> None:
        super().__init__(f"SocketPolicy.{field}: {problem}")
        self.field = field


class NotTextError(RealtimeError, TypeError):
    """``Message.as_str()`` was called on a message that is not text."""


class HandshakeRejected(RealtimeError):
    """The handshake ends with an HTTP response instead of the upgrade.

    Raise it from ``PolicyConsumer.handshake()``. The client gets a body of type
    ``application/problem+json`` (RFC 9457) with ``title``, ``status`` and ``detail``.

    Args:
        status: HTTP status from 400 to 599; ``ValueError`` for others.
        detail: what was wrong with this request and what to do, for the developer of the client.
        headers: further response headers, for instance ``WWW-Authenticate``.
    """

    def __init__(
        self, status: int, detail: str, *, headers: Mapping[str, str] | Sequence[tuple[str, str]] = ()
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"HandshakeRejected: status must be from 400 to 599, not {status}")
        self.status = HTTPStatus(status)
        self.detail = detail
        self.headers = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        super().__init__(f"{self.status.value} {self.status.phrase}: {detail}")


class TokenRejected(RealtimeError):
    """A token, ticket or session authenticates nobody; ``detail`` is for the owner of the credential."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class DeclarationError(RealtimeError, TypeError):
    """A consumer declares its messages in a way that cannot work; raised while its class is being defined."""


class MessageRefused(RealtimeError):
    """A client's message has no effect; the client gets an ``Error``, and the connection lives on.

    Raise it from a handler of ``@on_message``, from a permission or from ``before_message()``.

    Args:
        code: what was wrong, for a client's program: ``"poll_closed"``.
        detail: the same for the developer of the client.
        ref: the client's reference for the message, where it could be read.
    """

    def __init__(self, code: str, detail: str, *, ref: str | None = None) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail
        self.ref = ref


class InvalidMessage(MessageRefused):
    """The endpoint does not understand a client's message: a ``MessageRefused`` with the code ``invalid_message``.

    Args:
        detail: what is wrong, with the name of the field.
        ref: the client's reference for the message, where it could be read.
    """

    def __init__(self, detail: str, *, ref: str | None = None) -> None:
        super().__init__("invalid_message", detail, ref=ref)


class PeerViolation(RealtimeError):
    """A peer's bytes break RFC 6455 or a limit of the endpoint; the connection closes with ``code`` and ``reason``."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{int(code)}: {reason}")
        self.code = int(code)
        self.reason = reason


class ProtocolStateError(RealtimeError):
    """The ASGI or wire event ``event`` is not legal in the connection's state ``state``."""

    def __init__(self, state: str, event: str) -> None:
        super().__init__(f"{event!r} is not legal while the connection is {state}")
        self.state = state
        self.event = event


class UpstreamUnavailable(RealtimeError, ConnectionError):
    """The channel layer's Redis cannot be reached, or does not answer in time; ``server`` is without its password."""

    def __init__(self, server: str, cause: BaseException) -> None:
        super().__init__(f"Redis at {server} cannot be reached: {str(cause) or type(cause).__name__}")
        self.server = server
