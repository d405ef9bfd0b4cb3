"""The times at which something is due on a connection: pings, their answers, and the limits on waiting."""

from __future__ import annotations

import enum
import math
import os
from dataclasses import KW_ONLY, InitVar, dataclass, field
from operator import itemgetter

from realtime.engine.protocol.policy import Limits

#: Seconds that a peer has to read the last bytes and to end the TCP connection.
LINGER_SECONDS = 2.0

#: Unanswered pings that are remembered; the oldest is forgotten.
MAX_OUTSTANDING = 16

#: Length in bytes of the random payload of the server's own pings.
PING_SIZE = 4


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
        timed_message: number of the message that the peer has to finish, None for none.
    """

    now: InitVar[float]
    _limits: Limits
    _: KW_ONLY
    answer_timeout: InitVar[float | None]
    lifetime: float | None
    next: float = math.inf
    last_message: float = 0
    timed_message: int | None = None
    _times: dict[Deadline, float] = field(default_factory=dict)
    _pings: dict[bytes, float] = field(default_factory=dict)  # when each unanswered one was sent, the oldest first

    def __post_init__(self, now: float, answer_timeout: float | None) -> None:
        self.set(Deadline.ANSWER, now, answer_timeout)

    def set(self, what: Deadline, now: float, seconds: float | None) -> None:
        """Let something be due after some seconds, None for never."""
        if seconds is None:
            self._times.pop(what, None)
        else:
            self._times[what] = now + seconds
        self.next = min(self._times.values(), default=math.inf)

    def clear(self) -> None:
        self._times.clear()
        self.next = math.inf

    def take_due(self, now: float, *, is_reading: bool = True) -> list[Deadline]:
        """Remove and return the deadlines that have come, the earliest first.

        While this side does not read, the peer's answer may be waiting unread, and its deadlines are put off.
        """
        due = [what for what, when in sorted(self._times.items(), key=itemgetter(1)) if when <= now]
        for deadline in due:
            is_put_off = deadline in _OF_THE_PEER and not is_reading
            self.set(deadline, now, LINGER_SECONDS if is_put_off else None)
        return [deadline for deadline in due if deadline not in self._times]

    # The stages of a connection

    def opened(self, limits: Limits, now: float) -> None:
        self._limits = limits
        self.last_message = now
        self.set(Deadline.ANSWER, now, None)
        self.set(Deadline.PING, now, limits.ping_interval)
        self.set(Deadline.IDLE, now, limits.idle_timeout)
        self.set(Deadline.LIFETIME, now, self.lifetime)

    def closing(self, now: float) -> None:
        """Wait for nothing but the answer to the close frame that was sent."""
        self.clear()
        self.set(Deadline.CLOSE, now, self._limits.close_timeout)

    def lingering(self, now: float) -> None:
        """Wait for nothing but the end of the TCP connection."""
        self.clear()
        self.set(Deadline.LINGER, now, LINGER_SECONDS)

    # Messages

    def time_message(self, number: int | None, now: float) -> None:
        """Time a message that has not arrived as a whole, None for none."""
        self.timed_message = number
        self.set(Deadline.MESSAGE, now, None if number is None else self._limits.message_timeout)

    def is_idle(self, now: float) -> bool:
        """Return whether the peer has sent no message for too long; if not, the deadline is set anew."""
        assert self._limits.idle_timeout is not None
        is_idle = self.last_message + self._limits.idle_timeout <= now
        if not is_idle:
            self.set(Deadline.IDLE, self.last_message, self._limits.idle_timeout)
        return is_idle

    # Pings

    def next_ping(self, now: float) -> bytes | None:
        """Return the payload of the server's own ping that is due, None while another one waits for its answer."""
        self.set(Deadline.PING, now, self._limits.ping_interval)
        if self._pings:
            return None
        payload = os.urandom(PING_SIZE)
        self.ping_sent(payload, now)
        return payload

    def ping_sent(self, payload: bytes, now: float) -> None:
        self._pings.setdefault(payload, now)
        if len(self._pings) > MAX_OUTSTANDING:
            del self._pings[next(iter(self._pings))]
        self._expect_pong()

    def pong_received(self, payload: bytes, now: float) -> float | None:
        """Return the seconds since the ping that a pong answers, None when it answers none.

        The earlier pings are answered too: a peer may answer only the most recent one (RFC 6455, 5.5.3).
        """
        sent = self._pings.get(payload)
        if sent is None:
            return None
        while payload in self._pings:
            del self._pings[next(iter(self._pings))]
        self._expect_pong()
        return now - sent

    def _expect_pong(self) -> None:
        oldest = min(self._pings.values(), default=None)
        self.set(Deadline.PONG, oldest or 0, None if oldest is None else self._limits.ping_timeout)
