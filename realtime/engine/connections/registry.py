"""The connections of this process, in memory. Consumers report here; nothing is written or sent on the way.

``realtime.engine.connections.reporter`` watches the registry and writes what has changed to the database, in batches.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["Connection", "LoginSession", "Registry", "Rights", "registry"]


@dataclass(frozen=True, slots=True)
class LoginSession:
    """The login session that opened a connection.

    Args:
        identity: a keyed hash, the same for all connections of the session; it may be stored and sent.
        user_id: primary key of its user, as sessions write it.
        auth_hash: what Django compares with the user's password.
        key: its key in the session store; None where only the cookie holds it.
        expires_at: POSIX time at which the cookie stops being valid; None where the store knows.
    """

    identity: str
    user_id: str
    auth_hash: str = field(repr=False)
    key: str | None = field(repr=False)
    expires_at: float | None = None


class Rights(NamedTuple):
    """What a user's row said when it was read."""

    password: str
    """The hash, as Django stores it; it never leaves the process."""
    flags: tuple[bool, ...]


@dataclass(frozen=True, slots=True)
class Connection:
    """One accepted WebSocket connection.

    Args:
        channel: its name in the channel layer.
        user_id: primary key of its user; None for a visitor.
        endpoint: the path, without the query, which may hold a ticket.
        address: the client's address, of IPv6 its /64 network; empty on a UNIX socket.
        since: when it began.
        generation: how often everything of its user had been revoked when the user was identified.
        rights: what the user's row said then; None for a visitor.
        session: the login session that opened it; None for a token and for a visitor.
    """

    channel: str
    user_id: int | None
    endpoint: str
    address: str
    since: datetime.datetime
    generation: int = 0
    rights: Rights | None = field(default=None, repr=False)
    session: LoginSession | None = None


class Registry:
    """What connections there are. For use in one event loop."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._watchers: list[Callable[[], None]] = []

    @property
    def connections(self) -> Mapping[str, Connection]:
        """The connections by channel name; a live view."""
        return MappingProxyType(self._connections)

    def add(self, connection: Connection) -> None:
        """Note a connection, or that it has another user now."""
        self._connections[connection.channel] = connection
        self._changed()

    def discard(self, channel: str) -> None:
        """Note that a connection has ended; harmless for an unknown one."""
        if self._connections.pop(channel, None) is not None:
            self._changed()

    def watch(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called after every change; it must be quick and not raise."""
        self._watchers.append(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        """Undo ``watch()``."""
        self._watchers.remove(changed)

    def _changed(self) -> None:
        for watcher in self._watchers:
            watcher()


#: The registry of this process.
registry = Registry()
