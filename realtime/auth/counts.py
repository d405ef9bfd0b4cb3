"""Counts of events in windows of time, which all processes share. Synchronous."""

from __future__ import annotations

import time
from dataclasses import dataclass

from realtime.cache import limit_cache

__all__ = ["Count"]

_PREFIX = "realtime:limits"


@dataclass(frozen=True, slots=True)
class Count:
    """How often something has happened in the current window of time.

    Args:
        name: what is counted, and for whom.
        window: length of the window in seconds.
    """

    name: str
    window: int

    @property
    def seconds_left(self) -> int:
        """Seconds until the next window begins."""
        return self.window - _now() % self.window

    def add(self, by: int = 1) -> int:
        """Count an event, and return how many there are."""
        key, timeout = self._key, 2 * self.window
        # Each of the two is one step, in every cache backend.
        limit_cache.add(key, 0, timeout=timeout)
        try:
            return limit_cache.incr(key, by)
        except ValueError:  # Redis went away between the two
            limit_cache.set(key, by, timeout=timeout)
            return by

    def get(self) -> int:
        """Return how many events there are."""
        return int(limit_cache.get(self._key, 0))

    def forget(self) -> None:
        """Begin at zero again."""
        limit_cache.set(self._key, 0, timeout=2 * self.window)

    @property
    def _key(self) -> str:
        return f"{_PREFIX}:{self.name}:{_now() // self.window}"


def _now() -> int:
    return int(time.time())
