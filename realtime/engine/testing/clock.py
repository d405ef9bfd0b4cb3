"""Time that stands until a test moves it."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import AsyncIterator, Callable

from realtime.engine.services.clock import Clock

__all__ = ["ManualClock"]


class _Timer:
    """A call at a time of a ``ManualClock``."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Do not make the call."""
        self.callback = None


class ManualClock(Clock):
    """A clock of connections for tests: rates, timeouts and expiries follow it."""

    def __init__(self) -> None:
        self._time = 0.0
        self._numbers = itertools.count()
        self._timers: list[tuple[float, int, _Timer]] = []
        self.now = lambda: self._time

    def call_later(self, seconds: float, callback: Callable[[], None]) -> _Timer:
        """Call ``callback`` when the clock has been moved by so many seconds."""
        timer = _Timer(callback)
        heapq.heappush(self._timers, (self._time + seconds, next(self._numbers), timer))
        return timer

    @contextlib.asynccontextmanager
    async def timeout(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Do what ``asyncio.timeout()`` does, by this clock."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(None) as scope:
            timer = self.call_later(seconds, lambda: scope.reschedule(loop.time()))
            try:
                yield scope
            finally:
                timer.cancel()

    def advance(self, seconds: float) -> None:
        """Move the clock forward, and make the calls that are due by then, in their order."""
        end = self._time + seconds
        while self._timers and self._timers[0][0] <= end:
            self._time, _, timer = heapq.heappop(self._timers)
            if timer.callback is not None:
                timer.callback()
        self._time = end
