"""Counts of events in windows of time, which all processes share. Synchronous."""

from __future__ import annotations

import time
from dataclasses import dataclass

from realtime.engine.cache import limit_cache

__all__ = ["Count"]

_PREFIX = "realtime:limits"


@dataclass(frozen=True, slots=True)
class Count:
    """How often something has happened in the current window of time, which begins with its first event.

    Args:
        name: what is counted, and for whom.
        window: length of the window in seconds.
    """

    name: str
    window: int

    def add(self, by: int = 1) -> int:
        """Count an event, and return how many there are."""
        key = self._key()
        try:
            return int(limit_cache.incr(key, by))
        except ValueError:  # the first event of the window
            limit_cache.add(key, 0, timeout=2 * self.window)
        try:
            return int(limit_cache.incr(key, by))
        except ValueError:  # Redis went away between the two
            limit_cache.set(key, by, timeout=2 * self.window)
            return by

    def get(self) -> int:
        """Return how many events there are."""
        return int(limit_cache.get(self._key(), 0))

    def forget(self) -> None:
        """Begin at zero again."""
        limit_cache.set(self._key(), 0, timeout=2 * self.window)

    def seconds_left(self) -> int:
        """Return after how many seconds the window ends; 1 at least."""
        return max(1, self._start() + self.window - _now())

    def _key(self) -> str:
        # Of each window its own: an expiry in the middle of a count leaves no number behind that never expires.
        return f"{_PREFIX}:{self.name}:{self._start()}"

    def _start(self) -> int:
        """Return the POSIX time at which the window began; of several first events at once, one begins it."""
        key = f"{_PREFIX}:{self.name}:start"
        start = limit_cache.get(key)
        if start is None:
            limit_cache.add(key, _now(), timeout=self.window)
            start = limit_cache.get(key, _now())
        return int(start)


def _now() -> int:
    return int(time.time())
