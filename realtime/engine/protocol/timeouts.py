"""What the passing of time means to one connection: heartbeat, silence, slowness, and the patience at its ends."""

from __future__ import annotations

from realtime.engine.policy import Limits
from realtime.engine.protocol.deadlines import Deadline, Deadlines
from realtime.engine.protocol.heartbeat import Heartbeat

__all__ = ["LINGER_SECONDS", "Timekeeper"]

#: Seconds that a peer has to read the last bytes and to end the TCP connection.
LINGER_SECONDS = 2.0

#: Deadlines that lapse by the peer's silence; they rest while this side does not read.
_OF_THE_PEER = (Deadline.PONG, Deadline.IDLE, Deadline.MESSAGE)


class Timekeeper(Deadlines):
    """The deadlines of one connection from its handshake to its end.

    Args:
        now: the time in seconds.
        answer_timeout: seconds that the application has to answer the handshake, None for no limit.
        lifetime: seconds after the accept when the connection is closed, None for no limit.

    Attributes:
        last_message: when the peer's last message was complete; written for every message, so there is no call.
        is_timing: whether the peer has a message to finish.
    """

    __slots__ = ("_heartbeat", "_lifetime", "_limits", "_timed", "is_timing", "last_message")

    def __init__(self, now: float, answer_timeout: float | None, lifetime: float | None) -> None:
        super().__init__()
        self._lifetime = lifetime
        self._limits: Limits | None = None
        self._heartbeat: Heartbeat | None = None
        self._timed = 0
        self.is_timing = False
        self.last_message = now
        if answer_timeout is not None:
            self.set(Deadline.ANSWER, now + answer_timeout)

    # The course of a connection

    def answered(self) -> None:
        """Say that the application has begun to answer the handshake."""
        self.clear(Deadline.ANSWER)

    def opened(self, limits: Limits, now: float) -> None:
        """Say that the connection is open.

        Args:
            limits: what was agreed on; intervals and timeouts are taken from it.
            now: the time in seconds.
        """
        self.answered()
        self._limits = limits
        self.last_message = now
        if limits.ping_interval is not None:
            self._heartbeat = Heartbeat(limits.ping_interval, limits.ping_timeout, now)
            self._expect()
        if limits.idle_timeout is not None:
            self.set(Deadline.IDLE, now + limits.idle_timeout)
        if self._lifetime is not None:
            self.set(Deadline.LIFETIME, now + self._lifetime)

    def closing(self, now: float) -> None:
        """Say that a close frame was sent; nothing but the answer to it matters now."""
        self.clear_all()
        assert self._limits is not None
        self.set(Deadline.CLOSE, now + self._limits.close_timeout)

    def lingering(self, now: float) -> None:
        """Say that everything has been said."""
        self.clear_all()
        self.set(Deadline.LINGER, now + LINGER_SECONDS)

    # Messages

    def message_begun(self, number: int, now: float) -> None:
        """Say that the peer is in the middle of a message.

        Args:
            number: of the message; its time began when it was named first.
            now: the time in seconds.
        """
        if self.is_timing and self._timed == number:
            return
        self.is_timing, self._timed = True, number
        assert self._limits is not None
        if self._limits.message_timeout is not None:
            self.set(Deadline.MESSAGE, now + self._limits.message_timeout)

    def message_ended(self) -> None:
        """Say that the peer is in the middle of nothing."""
        self.is_timing = False
        self.clear(Deadline.MESSAGE)

    def is_idle(self, now: float) -> bool:
        """Tell whether the peer has sent no message for too long; if not, the deadline is set anew."""
        assert self._limits is not None
        assert self._limits.idle_timeout is not None
        until = self.last_message + self._limits.idle_timeout
        if until > now:
            self.set(Deadline.IDLE, until)
        return until <= now

    # Pings

    def beat(self, now: float) -> bytes:
        """Return the payload of the ping that is due."""
        assert self._heartbeat is not None
        payload = self._heartbeat.beat(now)
        self._expect()
        return payload

    def pinged(self, payload: bytes, now: float) -> None:
        """Say that the application has sent a ping."""
        if self._heartbeat is None:
            assert self._limits is not None
            self._heartbeat = Heartbeat(None, self._limits.ping_timeout, now)
        self._heartbeat.sent(payload, now)
        self._expect()

    def ponged(self, payload: bytes, now: float) -> float | None:
        """Take a pong; return the seconds since its ping, None for a pong that answers none."""
        if self._heartbeat is None:
            return None
        latency = self._heartbeat.answered(payload, now)
        self._expect()
        return latency

    def _expect(self) -> None:
        assert self._heartbeat is not None
        for deadline, when in ((Deadline.PING, self._heartbeat.next_ping), (Deadline.PONG, self._heartbeat.overdue)):
            if when is None:
                self.clear(deadline)
            else:
                self.set(deadline, when)

    # What is due

    def take_due(self, now: float, *, is_reading: bool = True) -> list[Deadline]:
        """Remove and return the deadlines that have come, the earliest first.

        Args:
            now: the time in seconds.
            is_reading: whether this side reads. While it does not, the peer's answer may be waiting unread, and what
                lapses by the peer's silence is put off.
        """
        due = super().take_due(now)
        if is_reading:
            return due
        for deadline in due:
            if deadline in _OF_THE_PEER:
                self.set(deadline, now + LINGER_SECONDS)
        return [deadline for deadline in due if deadline not in _OF_THE_PEER]
