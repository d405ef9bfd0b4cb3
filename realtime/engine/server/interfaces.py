"""What a session asks of an adapter and tells a server."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

__all__ = ["Application", "Observer", "Receive", "Send", "Transport"]

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Application = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


class Transport(Protocol):
    """What an adapter does for a session. None of it waits, and none of it raises."""

    def write(self, data: bytes) -> None:
        """Send bytes; when too many are pending, the adapter calls ``pause_writing()``."""

    def pending(self) -> int:
        """Return how many bytes it was given and has not sent, as far as it can know."""

    def pause_reading(self) -> None:
        """Stop reading from the peer."""

    def resume_reading(self) -> None:
        """Read from the peer again."""

    def finish(self) -> None:
        """End this side of the connection after the pending bytes; go on reading where that is possible."""

    def abort(self) -> None:
        """End the connection at once."""


class Observer(Protocol):
    """Whoever keeps books on connections, as Daphne's server does."""

    def accepted(self) -> None:
        """The handshake was answered with 101."""

    def refused(self, status: int) -> None:
        """The handshake was answered with an HTTP error."""

    def ended(self) -> None:
        """The transport is gone."""
