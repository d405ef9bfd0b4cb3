"""Pings that were sent, and when their answers are due (RFC 6455, 5.5.2 and 5.5.3)."""

from __future__ import annotations

__all__ = ["Heartbeat"]

#: Pings of an application that are remembered at a time; the oldest is forgotten.
MAX_OUTSTANDING = 16

#: Length in bytes of the payload that numbers the server's own pings.
NUMBER_SIZE = 4


class Heartbeat:
    """The pings of one connection.

    Args:
        interval: seconds between two pings of the server; None to send none of its own.
        timeout: seconds that the peer has to answer any ping.
        now: the time in seconds.

    Attributes:
        next_ping: when the server's next ping is due; None while one is unanswered, or without an interval.
    """

    __slots__ = ("_count", "_interval", "_outstanding", "_own", "_timeout", "next_ping")

    def __init__(self, interval: float | None, timeout: float, now: float) -> None:
        self._interval = interval
        self._timeout = timeout
        self._count = 0
        self._own: tuple[bytes, float] | None = None
        self._outstanding: dict[bytes, float] = {}
        self.next_ping = None if interval is None else now + interval

    @property
    def overdue(self) -> float | None:
        """When the oldest unanswered ping has gone unanswered for too long; None without one."""
        oldest = min(self._outstanding.values(), default=None)
        return None if oldest is None else oldest + self._timeout

    def beat(self, now: float) -> bytes:
        """Return the payload of a ping that is sent now; the next one waits for its answer."""
        self._count += 1
        payload = self._count.to_bytes(NUMBER_SIZE, "big")
        self._own = (payload, now)
        self.next_ping = None
        self.sent(payload, now)
        return payload

    def sent(self, payload: bytes, now: float) -> None:
        """Remember a ping."""
        self._outstanding.setdefault(payload, now)
        if len(self._outstanding) > MAX_OUTSTANDING:
            del self._outstanding[next(iter(self._outstanding))]

    def answered(self, payload: bytes, now: float) -> float | None:
        """Take a pong.

        It answers the earlier pings too: a peer may answer only the most recent one (RFC 6455, 5.5.3).

        Returns:
            Seconds since its ping, None for a pong that answers no ping.
        """
        if payload not in self._outstanding:
            return None
        sent = self._outstanding[payload]
        for earlier in list(self._outstanding):
            del self._outstanding[earlier]
            if earlier == payload:
                break
        if self._interval is not None and self._own is not None and self._own[0] not in self._outstanding:
            self.next_ping = max(now, self._own[1] + self._interval)
            self._own = None
        return now - sent
