"""The points in time at which something has to happen to a connection, and the nearest of them."""

from __future__ import annotations

import enum
import math
from operator import itemgetter

__all__ = ["Deadline", "Deadlines"]


class Deadline(enum.Enum):
    """What is due."""

    ANSWER = "the application answers the handshake"
    LIFETIME = "the connection has lasted as long as the server allows"
    PING = "the next ping is sent"
    PONG = "the peer answers a ping"
    IDLE = "the peer sends a message"
    MESSAGE = "the peer finishes the message it has begun"
    CLOSE = "the peer answers the close frame"
    LINGER = "the peer ends the TCP connection"


class Deadlines:
    """A handful of deadlines of one connection, in seconds of the caller's clock.

    Attributes:
        next: the nearest deadline, infinite when there is none. Read it instead of calling anything: it is looked at
            for every piece of data.
    """

    __slots__ = ("_times", "next")

    def __init__(self) -> None:
        self._times: dict[Deadline, float] = {}
        self.next = math.inf

    def __contains__(self, what: Deadline) -> bool:
        return what in self._times

    def set(self, what: Deadline, when: float) -> None:
        """Set or move one deadline."""
        self._times[what] = when
        self.next = min(self._times.values())

    def clear(self, *what: Deadline) -> None:
        """Forget deadlines; those that are not set are ignored."""
        for deadline in what:
            self._times.pop(deadline, None)
        self.next = min(self._times.values(), default=math.inf)

    def clear_all(self) -> None:
        """Forget every deadline."""
        self._times.clear()
        self.next = math.inf

    def take_due(self, now: float) -> list[Deadline]:
        """Remove and return the deadlines that have come, the earliest first."""
        due = [what for what, when in sorted(self._times.items(), key=itemgetter(1)) if when <= now]
        self.clear(*due)
        return due
