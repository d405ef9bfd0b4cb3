"""What a generated module says of its endpoint, the states of a connection, and the errors of a client."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

from .topics import TopicFields


class RequestRefused(Exception):
    """The server has answered a message with an ``Error``: it had no effect."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code, self.detail = code, detail


class RequestTimeout(TimeoutError):
    """No answer came in time. The message may have had an effect all the same."""


class ConnectionLost(ConnectionError):
    """There is no connection, or it ended before the answer came: the message may have had an effect all the same."""


class HandshakeRefused(ConnectionError):
    """The server has answered the handshake with an HTTP error, and would do so again."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status, self.detail = status, detail


@dataclass(frozen=True)
class Description:
    """What a generated module says of its endpoint."""

    paths: tuple[str, ...]
    subprotocols: tuple[str, ...]
    received: tuple[type[msgspec.Struct], ...]
    replies: Mapping[type[msgspec.Struct], tuple[type[msgspec.Struct], ...]]
    unreferenced: tuple[type[msgspec.Struct], ...]
    topics: TopicFields | None
    close_codes: Mapping[int, str]


@dataclass(frozen=True)
class State:
    """``phase`` is ``idle``, ``connecting``, ``open``, ``waiting`` for the next attempt, or ``stopped`` for good."""

    phase: str
    code: int | None = None
    reason: str = ""
