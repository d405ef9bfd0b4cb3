"""The connections of this process, in memory. Consumers report here; nothing is written or sent on the way.

``realtime.live.reporter`` watches the registry and writes what has changed to the database, in batches.
"""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

__all__ = ["Connection", "Registry", "registry"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Connection:
    """One accepted WebSocket connection.

    Args:
        channel: its name in the channel layer.
        user_id: primary key of its user; None for a visitor.
        endpoint: the path, without the query, which may hold a ticket.
        address: the client's address; empty on a UNIX socket.
        since: when its user was identified.
    """

    channel: str
    user_id: int | None
    endpoint: str
    address: str
    since: datetime.datetime


class Registry:
    """What connections there are. For use in one event loop."""

    def __init__(self) -> None:
        self._connections: dict[str, Connection] = {}
        self._by_user: Counter[int] = Counter()
        self._by_address: Counter[str] = Counter()
        self._watchers: list[Callable[[], None]] = []

    @property
    def connections(self) -> Mapping[str, Connection]:
        """The connections by channel name; a live view."""
        return MappingProxyType(self._connections)

    def add(self, connection: Connection) -> None:
        """Note a connection, or that it has another user now."""
        self._uncount(self._connections.get(connection.channel))
        self._connections[connection.channel] = connection
        self._by_address[connection.address] += 1
        if connection.user_id is not None:
            self._by_user[connection.user_id] += 1
        self._changed()

    def discard(self, channel: str) -> None:
        """Note that a connection has ended; harmless for an unknown one."""
        connection = self._connections.pop(channel, None)
        if connection is not None:
            self._uncount(connection)
            self._changed()

    def count_user(self, user_id: int) -> int:
        """Return how many connections of this process a user has."""
        return self._by_user[user_id]

    def count_address(self, address: str) -> int:
        """Return how many connections of this process come from an address."""
        return self._by_address[address]

    def watch(self, changed: Callable[[], None]) -> None:
        """Have ``changed`` called after every change; it must be quick and not raise."""
        self._watchers.append(changed)

    def unwatch(self, changed: Callable[[], None]) -> None:
        """Undo ``watch()``."""
        self._watchers.remove(changed)

    def _uncount(self, connection: Connection | None) -> None:
        if connection is None:
            return
        _decrement(self._by_address, connection.address)
        if connection.user_id is not None:
            _decrement(self._by_user, connection.user_id)

    def _changed(self) -> None:
        for watcher in self._watchers:
            watcher()


def _decrement(counter: Counter[T], key: T) -> None:
    counter[key] -= 1
    if counter[key] <= 0:
        del counter[key]


#: The registry of this process.
registry = Registry()
