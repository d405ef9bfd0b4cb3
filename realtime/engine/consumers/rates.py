"""A token bucket for the messages of one connection."""

from __future__ import annotations

__all__ = ["MessageRate"]


class MessageRate:
    """Allows ``per_second`` messages on average and a burst.

    Args:
        per_second: messages per second; under 1 the burst is one message.
        now: monotonic time in seconds.
        burst: messages that may come at once; one second's worth by default.
    """

    __slots__ = ("_burst", "_tokens", "_updated", "per_second")

    def __init__(self, per_second: float, now: float, *, burst: float | None = None) -> None:
        self.per_second = per_second
        self._burst = max(1.0, per_second if burst is None else burst)
        self._tokens = self._burst
        self._updated = now

    def allows(self, now: float) -> bool:
        """Count one message at monotonic time ``now``, and return whether it is within the rate."""
        self._tokens = min(self._burst, self._tokens + (now - self._updated) * self.per_second)
        self._updated = now
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True
