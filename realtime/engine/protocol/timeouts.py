"""The times at which something is due on a connection: pings, their answers, and the limits on waiting."""

from __future__ import annotations

import enum
import math
from dataclasses import KW_ONLY, InitVar, dataclass, field
from operator import itemgetter

from realtime.engine.protocol.policy import Limits

__all__ = ["LINGER_SECONDS", "MAX_OUTSTANDING", "Deadline", "Timeouts"]

#: Seconds that a peer has to read the last bytes and to end the TCP connection.
LINGER_SECONDS = 2.0

#: Unanswered pings that are remembered; the oldest is forgotten.
MAX_OUTSTANDING = 16

#: Length in bytes of the payload that numbers the server's own pings.
NUMBER_SIZE = 4


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


#: Deadlines that the peer meets by sending something; they are put off while this side does not read.
_OF_THE_PEER = (Deadline.PONG, Deadline.IDLE, Deadline.MESSAGE)


@dataclass(slots=True, eq=False, repr=False)
class Timeouts:
    """The deadlines of one connection, in seconds of the caller's clock.

    Args:
        now: the time in seconds.
        limits: intervals and timeouts until ``opened()`` is given others.
        answer_timeout: seconds that the application has to answer the handshake, None for no limit.
        lifetime: seconds after the accept when the connection is closed, None for no limit.

    Attributes:
        next: the nearest deadline, infinite when there is none.
        last_message: when the peer's last message was complete; the caller writes it.
        is_timing: whether the peer has a message to finish.
    """

    now: InitVar[float]
    _limits: Limits
    _: KW_ONLY
    answer_timeout: InitVar[float | None]
    lifetime: float | None
    next: float = math.inf
    last_message: float = 0
    is_timing: bool = False
    _timed: int = 0
    _times: dict[Deadline, float] = field(default_factory=dict)
    _pings: dict[bytes, float] | None = None  # when each unanswered ping was sent, the oldest first
    _own_ping: tuple[bytes, float] | None = None
    _count: int = 0

    def __post_init__(self, now: float, answer_timeout: float | None) -> None:
        self.last_message = now
        if answer_timeout is not None:
            self.set(Deadline.ANSWER, now + answer_timeout)

    def set(self, what: Deadline, when: float) -> None:
        self._times[what] = when
        self.next = min(self._times.values())

    def clear(self, *what: Deadline) -> None:
        for deadline in what:
            self._times.pop(deadline, None)
        self.next = min(self._times.values(), default=math.inf)

    def clear_all(self) -> None:
        self._times.clear()
        self.next = math.inf

    def take_due(self, now: float, *, is_reading: bool = True) -> list[Deadline]:
        """Remove and return the deadlines that have come, the earliest first.

        While this side does not read, the peer's answer may be waiting unread, and its deadlines are put off.
        """
        due = [what for what, when in sorted(self._times.items(), key=itemgetter(1)) if when <= now]
        self.clear(*due)
        if is_reading:
            return due
        for deadline in due:
            if deadline in _OF_THE_PEER:
                self.set(deadline, now + LINGER_SECONDS)
        return [deadline for deadline in due if deadline not in _OF_THE_PEER]

    # The stages of a connection

    def opened(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self.last_message = now
        self.clear(Deadline.ANSWER)
        for deadline, seconds in (
            (Deadline.PING, limits.ping_interval),
            (Deadline.IDLE, limits.idle_timeout),
            (Deadline.LIFETIME, self.lifetime),
        ):
            if seconds is not None:
                self.set(deadline, now + seconds)

    def closing(self, now: float) -> None:
        """Wait for nothing but the answer to the close frame that was sent."""
        self.clear_all()
        self.set(Deadline.CLOSE, now + self._limits.close_timeout)

    def lingering(self, now: float) -> None:
        """Wait for nothing but the end of the TCP connection."""
        self.clear_all()
        self.set(Deadline.LINGER, now + LINGER_SECONDS)

    # Messages

    def message_begun(self, number: int, now: float) -> None:
        """Time a message that has not arrived as a whole, from the first call with its number on."""
        if self.is_timing and self._timed == number:
            return
        self.is_timing, self._timed = True, number
        if self._limits.message_timeout is not None:
            self.set(Deadline.MESSAGE, now + self._limits.message_timeout)

    def message_ended(self) -> None:
        self.is_timing = False
        self.clear(Deadline.MESSAGE)

    def is_idle(self, now: float) -> bool:
        """Tell whether the peer has sent no message for too long; if not, the deadline is set anew."""
        assert self._limits.idle_timeout is not None
        until = self.last_message + self._limits.idle_timeout
        if until > now:
            self.set(Deadline.IDLE, until)
        return until <= now

    # Pings

    def next_ping(self, now: float) -> bytes:
        """Return the payload of the server's own ping that is due; the next one waits for its answer."""
        self._count += 1
        payload = self._count.to_bytes(NUMBER_SIZE, "big")
        self._own_ping = (payload, now)
        self.ping_sent(payload, now)
        return payload

    def ping_sent(self, payload: bytes, now: float) -> None:
        if self._pings is None:
            self._pings = {}
        self._pings.setdefault(payload, now)
        if len(self._pings) > MAX_OUTSTANDING:
            del self._pings[next(iter(self._pings))]
        self._expect_pong(self._pings)

    def pong_received(self, payload: bytes, now: float) -> float | None:
        """Return the seconds since the ping that a pong answers, None when it answers none.

        The earlier pings are answered too: a peer may answer only the most recent one (RFC 6455, 5.5.3).
        """
        pings = self._pings
        if pings is None or payload not in pings:
            return None
        sent = pings[payload]
        for earlier in list(pings):
            del pings[earlier]
            if earlier == payload:
                break
        self._expect_pong(pings)
        if self._own_ping is not None and self._own_ping[0] not in pings:
            assert self._limits.ping_interval is not None
            self.set(Deadline.PING, max(now, self._own_ping[1] + self._limits.ping_interval))
            self._own_ping = None
        return now - sent

    def _expect_pong(self, pings: dict[bytes, float]) -> None:
        if pings:
            self.set(Deadline.PONG, min(pings.values()) + self._limits.ping_timeout)
        else:
            self.clear(Deadline.PONG)
