"""The connections of this process, in memory. Consumers add theirs; nothing is written or sent here.

``realtime.engine.connections.reporter`` watches the registry and writes what has changed to the database, in batches.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realtime.engine.auth.rights import Rights
    from realtime.engine.auth.sessions import LoginSession

__all__ = ["Connection", "Registry", "registry"]


@dataclass(frozen=True, slots=True)
class Connection:
    """One accepted WebSocket connection."""

    channel: str
    """Its name in the channel layer."""
    user_id: Any
    """Primary key of its user; None for an anonymous one."""
    endpoint: str
    """The path, without the query, which may hold a ticket."""
    address: str
    """The client's address, of IPv6 its /64 network; empty on a UNIX socket."""
    since: datetime.datetime
    generation: int = 0
    """How often everything of its user had been revoked when the user was identified."""
    rights: Rights | None = field(default=None, repr=False)
    """The user's rights then; None for an anonymous one."""
    session: LoginSession | None = None
    """The login session that opened it; None for a token and for an anonymous user."""


class Registry:
    """The open connections. For use in one event loop.

    Attributes:
        connections: the connections by channel name; to be read only.
        watchers: called after each addition; they must be quick and not raise.
    """

    def __init__(self) -> None:
        self.connections: dict[str, Connection] = {}
        self.watchers: list[Callable[[], None]] = []

    def add(self, connection: Connection) -> None:
        """Store a connection, or its new user."""
        self.connections[connection.channel] = connection
        for watcher in self.watchers:
            watcher()

    def discard(self, channel: str) -> None:
        """Forget a connection that has ended; harmless for an unknown one."""
        self.connections.pop(channel, None)


#: The registry of this process.
registry = Registry()
